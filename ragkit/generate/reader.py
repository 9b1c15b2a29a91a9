"""The span reader: an encoder with a trained head quotes the answer from the passages, or finds that it is not there.

The adapter is merged into its base and converted for OpenVINO once, into the cache; after that it opens without torch.
How spans are chosen from scores is in `ragkit/span.py`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import openvino
from tokenizers import Tokenizer

from ragkit import adapters, models, span, tensor_access
from ragkit.cache import made_once
from ragkit.errors import ModelError
from ragkit.generate import grounding
from ragkit.generate.stream import OnText, Stream, check_room
from ragkit.span import Calibration, PairEncoder, Scores, Window
from ragkit.types import Decoding, Generation, Prompt, Reading, digest

_FORMAT = 1
"""Part of the cache folder's name: a change of the conversion makes new folders."""
_REMEMBERED = 64
"""Readings that are kept: variants of a comparison share one, and so do a question and its repetition."""
_TOLERANCE = {"bf16": 0.1, "f32": 1e-3}
"""Largest difference to PyTorch's float32 logits on the probe, as a share of their spread (standard deviation) in
bf16, absolute in f32."""
_NOTHING = "The documents do not say."
_PROBE = (
    "In which year was the bridge opened?",
    (
        "The bridge was planned in 1881 and opened in 1889, eight years later. It is 540 metres long.",
        "LoRA adds low-rank matrices to frozen weights.",
        "The ferry, which had carried people over the river before, was given up. " * 12,
    ),
)


class _Scorer(Protocol):
    """Start and end scores for each token of windows."""

    def scores(self, windows: Sequence[Window]) -> tuple[list[Scores], list[Scores]]:
        """For each window the start scores and the end scores, each of shape (its tokens,)."""
        ...


class SpanReader:
    """Reads with the encoder `model` and the adapter of a folder (task extract). One question at a time; others wait.

    The first use of an adapter converts it (some seconds, needs torch) and proves on a probe that nothing is lost;
    where that cannot be, PyTorch reads. Raises ModelError if the adapter is none, or was made for another base.
    """

    def __init__(self, model: str, folder: Path) -> None:
        adapter = adapters.read(folder)
        base = models.resolve(model, "embedder")
        if adapter.task != "extract":
            raise ModelError(f"The adapter {folder} is no reader: its task is {adapter.task}.", "Name a reader.")
        adapters.check_base(adapter, base)
        self.calibration = Calibration.of(adapter.card)
        self.identity = digest([base.sha256, adapter.sha256, self.calibration])
        """Hash of base, adapter and calibration: what decides what is read."""
        name = f"readers/{folder.name}-{digest([base.sha256, adapter.sha256])[:16]}-{_FORMAT}"
        made = made_once(name, lambda target: _convert(base.path, folder, target))
        settings = json.loads((made / "card.json").read_text(encoding="utf-8"))
        self._encoder = PairEncoder(made, settings["max_tokens"])
        self._scorer: _Scorer
        if settings["precision"]:
            self._scorer = _Converted(made, settings, self._encoder.pad)
        else:
            self._scorer = import_module("ragkit.generate.reader_torch").TorchScorer(base.path, folder)
        self._lock = threading.Lock()
        self._read: dict[tuple[str, tuple[str, ...]], Reading | None] = {}

    def read(self, question: str, passages: Sequence[str]) -> Reading | None:
        """The best span of all passages with its confidence; None if there is no text to read."""
        key = (question, tuple(passages))
        with self._lock:
            if key not in self._read:
                if len(self._read) >= _REMEMBERED:
                    self._read.pop(next(iter(self._read)))
                windows = self._encoder.windows(question, passages)
                found = span.read(windows, *self._scorer.scores(windows))
                self._read[key] = span.reading(passages, found, self.calibration)
            return self._read[key]


class ReaderGenerator:
    """Answers with a quotation: the best span of all passages, and the mark of its passage.

    It reads the question and the passages and nothing else of a prompt: no instruction, no worked example. The whole
    answer comes at once; a token is a token of the encoder. `model` is the encoder that the adapter was trained on.
    """

    context_tokens = 8192
    """Of the prompt as others would read it; the reader itself reads any number of passages, in windows."""

    def __init__(self, model: str = "minilm", adapter: str = "") -> None:
        if not adapter:
            raise ModelError("The engine reader needs an adapter.", "Name one whose task is extract, such as 'reader'.")
        self._reader = SpanReader(model, Path(adapter).expanduser())
        self.identity = self._reader.identity
        self._tokenizer = Tokenizer.from_file(str(models.resolve(model, "embedder").path / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def read(self, question: str, passages: Sequence[str]) -> Reading | None:
        """The best span of all passages with its confidence; None if there is no text to read."""
        return self._reader.read(question, passages)

    def count_tokens(self, text: str) -> int:
        """Tokens of the encoder, without special tokens."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def render(self, prompt: Prompt) -> str:
        """The prompt's text as it is, of which the question and the passages are read."""
        return prompt.text

    def generate(self, prompt: Prompt, decoding: Decoding, on_text: OnText) -> Generation:
        """Quote the best span, or say that the documents do not say."""
        stream = Stream(on_text)
        prompt_tokens = self.count_tokens(self.render(prompt))
        check_room(prompt_tokens, decoding, self.context_tokens)
        reading = self.read(_question(prompt), [hit.text for hit in prompt.hits])
        text = grounding.quotation(reading) if reading and reading.answered else _NOTHING
        offsets = self._tokenizer.encode(text, add_special_tokens=False).offsets
        kept = offsets[: decoding.max_tokens]
        stream.token()
        stream.feed(text if len(kept) == len(offsets) else text[: kept[-1][1]])
        made = stream.generation(prompt_tokens, len(kept), at_limit=len(kept) < len(offsets))
        return replace(made, reading=reading)


class _Converted:
    """A converted reader in its folder."""

    def __init__(self, folder: Path, card: Mapping[str, Any], pad: int) -> None:
        core = openvino.Core()
        half = card["precision"] == "bf16" and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        hint = {"INFERENCE_PRECISION_HINT": "bf16" if half else "f32"}
        tensor_access.prepare()
        self._request = core.compile_model(str(folder / "model.xml"), "CPU", hint).create_infer_request()
        self._inputs = list(card["inputs"])
        self._pad = pad

    def scores(self, windows: Sequence[Window]) -> tuple[list[Scores], list[Scores]]:
        """Start scores and end scores of each window."""
        starts: list[Scores] = []
        ends: list[Scores] = []
        for batch in span.batches(windows):
            given = span.tensors(batch, self._pad)
            table = self._request.infer({name: given[name] for name in self._inputs})[0]
            for row, window in zip(np.array(table, dtype=np.float32), batch, strict=True):
                starts.append(row[: len(window.ids), 0])
                ends.append(row[: len(window.ids), 1])
        return starts, ends


def _convert(base: Path, folder: Path, target: Path) -> None:
    """Fill an empty folder: tokenizer, card, and the converted model if it scores as PyTorch's does.

    The card's precision is "bf16" where that is exact enough, else "f32"; empty means that PyTorch must read.
    """
    torch_side = import_module("ragkit.generate.reader_torch").TorchScorer(base, folder)
    tokenizer = folder if (folder / "tokenizer.json").is_file() else base
    if not (tokenizer / "tokenizer.json").is_file():
        raise ModelError(f"{tokenizer} holds no tokenizer.json.", "A reader needs a model with a fast tokenizer.")
    (target / "tokenizer.json").write_bytes((tokenizer / "tokenizer.json").read_bytes())
    card = {"max_tokens": torch_side.max_tokens, "inputs": torch_side.inputs, "precision": ""}
    encoder = PairEncoder(target, torch_side.max_tokens)
    windows = encoder.windows(*_PROBE)
    wanted = torch_side.scores(windows)
    if torch_side.export(target, openvino):
        for precision in _TOLERANCE:
            scorer = _Converted(target, {**card, "precision": precision}, encoder.pad)
            if _same(wanted, scorer.scores(windows), precision):
                card["precision"] = precision
                break
    (target / "card.json").write_text(json.dumps(card, indent=1), encoding="utf-8")


def _same(wanted: tuple[list[Scores], list[Scores]], found: tuple[list[Scores], list[Scores]], precision: str) -> bool:
    """Whether converted scores are those of PyTorch, within the tolerance of the precision."""
    expected, given = (np.concatenate([*starts, *ends]) for starts, ends in (wanted, found))
    unit = float(expected.std()) if precision == "bf16" else 1.0
    return float(np.abs(expected - given).max()) <= _TOLERANCE[precision] * unit


def _question(prompt: Prompt) -> str:
    return "".join(part.text for message in prompt.messages for part in message.segments if part.kind == "question")
