"""Embeddings by OpenVINO: a sentence-transformers model, converted once, then run without torch."""

from __future__ import annotations

import dataclasses
import json
import os
import queue
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Literal

import numpy as np
import openvino
from tokenizers import Tokenizer

from ragkit import models, tensor_access
from ragkit.cache import made_once
from ragkit.errors import ModelError
from ragkit.types import Fingerprint, Vectors

_FORMAT = 1
"""Part of the cache folder's name: a change of the conversion makes new folders."""
_BATCH_TOKENS = 2048
"""Tokens in one inference: as fast as 4,096 on two cores, with less memory and less padding."""
_STEP = 16
"""Batches are padded to multiples of it: OpenVINO prepares each new shape (10 ms), and matrix units take 16 rows at a
time. A fifth faster than padding to the longest text, on texts of all lengths."""
_STREAMS = min(os.cpu_count() or 1, 8)
"""Batches under way at once, a core each on small machines: a tenth faster beside other work than one batch on all
cores, which waits for the slowest of them."""
_PROBE = (
    "LoRA adds low-rank matrices to frozen weights.",
    "What does the contract say about the notice period of either party, and in which year was it signed?",
    "word " * 200,
)
_EXACT = 0.9999
"""Smallest cosine to sentence-transformers' own vectors at which the converted model counts as the same."""


class NotExact(ModelError):
    """The converted model gives other vectors than the original, or cannot be converted."""


class _Converted:
    """A converted model in its folder."""

    def __init__(self, folder: Path) -> None:
        card = json.loads((folder / "card.json").read_text())
        self.fingerprint = Fingerprint(**card["fingerprint"])
        self._pad = int(card["pad"])
        self._inputs = list(card["inputs"])
        self._counter = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._counter.no_truncation()
        self._counter.no_padding()
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self.fingerprint.max_tokens)
        tensor_access.prepare()
        compiled = _compile(folder / "model.xml")
        self._idle: queue.SimpleQueue[openvino.InferRequest] = queue.SimpleQueue()
        for _ in range(_STREAMS):
            self._idle.put(compiled.create_infer_request())
        self._pool = ThreadPoolExecutor(_STREAMS, "openvino")

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text with the model's special tokens and passage prefix; nothing is truncated."""
        prefix = self.fingerprint.passage_prefix
        encoded = self._counter.encode_batch_fast([prefix + text for text in texts])
        return [len(item.ids) for item in encoded]

    def embed(self, texts: Sequence[str], kind: Literal["passage", "query"] = "passage") -> Vectors:
        """Vectors of length 1, shape (len(texts), dimension), in batches of similar length."""
        prefix = self.fingerprint.query_prefix if kind == "query" else self.fingerprint.passage_prefix
        rows = [item.ids for item in self._tokenizer.encode_batch_fast([prefix + text for text in texts])]
        table = np.empty((len(rows), self.fingerprint.dimension), dtype=np.float32)
        order = sorted(range(len(rows)), key=lambda place: len(rows[place]), reverse=True)
        batches: list[list[int]] = []
        while order:
            longest = max(1, len(rows[order[0]]))
            batches.append(order[: max(1, _BATCH_TOKENS // longest)])
            del order[: len(batches[-1])]
        # A single batch, such as a question, needs no other thread.
        run = map if len(batches) == 1 else self._pool.map
        given = ([rows[place] for place in places] for places in batches)
        for places, vectors in zip(batches, run(self._infer, given), strict=True):
            table[places] = vectors
        return table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-12)

    def _infer(self, rows: Sequence[Sequence[int]]) -> Vectors:
        """Vectors of one batch, whose first row is the longest."""
        longest = min(-(-max(1, len(rows[0])) // _STEP) * _STEP, self.fingerprint.max_tokens)
        ids = np.full((len(rows), longest), self._pad, dtype=np.int64)
        mask = np.zeros((len(rows), longest), dtype=np.int64)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = row
            mask[place, : len(row)] = 1
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        request = self._idle.get()
        try:
            return np.array(request.infer({name: given[name] for name in self._inputs})[0], dtype=np.float32)
        finally:
            self._idle.put(request)


class OpenVINOEmbedder(_Converted):
    """Any sentence-transformers model on a CPU, in bf16 where the processor has it.

    The first use of a model converts it (some seconds, needs torch) and proves on probe texts that nothing is lost;
    after that it opens in a fifth of a second, without torch.
    """

    def __init__(self, model: str = "minilm") -> None:
        found = models.resolve(model, "embedder")
        name = f"embedders/{Path(found.name).name}-{found.sha256[:16]}-{_FORMAT}"
        super().__init__(made_once(name, lambda folder: _convert(found, folder)))


def _compile(path: Path) -> openvino.CompiledModel:
    """The model on the CPU; OpenVINO takes bf16 by itself where the processor has it, and fp32 elsewhere."""
    return openvino.Core().compile_model(str(path), "CPU", {"NUM_STREAMS": _STREAMS})


def _convert(found: models.ResolvedModel, folder: Path) -> None:
    """Convert a sentence-transformers model into an empty folder, and prove that it gives the same vectors."""
    original = import_module("ragkit.embed.sentence").SentenceEmbedder(found.name, bf16=False)
    wanted = original.embed(_PROBE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer's remarks on constants in shapes
            inputs, pad = original.export(folder, openvino)
    except (RuntimeError, ValueError, NotImplementedError, AttributeError) as error:
        raise NotExact(
            f"The model {found.name!r} cannot be converted for OpenVINO: {str(error).splitlines()[0]}",
            "Use the embedder engine sentence-transformers for it.",
        ) from error
    card = {"fingerprint": dataclasses.asdict(original.fingerprint), "inputs": inputs, "pad": pad}
    (folder / "card.json").write_text(json.dumps(card, indent=1))
    nearest = float((_Converted(folder).embed(_PROBE, "passage") * wanted).sum(axis=1).min())
    if nearest < _EXACT:
        raise NotExact(
            f"The converted model {found.name!r} differs from the original (cosine {nearest:.5f} on a probe).",
            "Use the embedder engine sentence-transformers for it.",
        )
