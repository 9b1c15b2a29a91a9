"""The span reader: what it reads, that converting loses nothing, and what it refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.numpy import load_file, save_file
from transformers import BertForQuestionAnswering

from ragkit import span
from ragkit.cache import cache_dir
from ragkit.errors import ModelError
from ragkit.generate import reader
from ragkit.generate.reader import ReaderGenerator, SpanReader
from ragkit.generate.reader_torch import TorchScorer
from ragkit.prompt.template import Template
from ragkit.span import Calibration, PairEncoder
from ragkit.tune.folder import calibrate
from ragkit.types import Decoding, Hit
from tests.readers import SURE, UNSURE, save_encoder, save_reader

QUESTION = "When was the tower built?"
PASSAGES = ["The moon goes round the earth.", "The tower was built in 1889. It is made of iron.", "LoRA " * 200]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_reader(tmp_path_factory.mktemp("reader"), base)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Conversions of one run, in a folder of the run's own."""
    monkeypatch.setenv("RAGKIT_CACHE", str(tmp_path_factory.getbasetemp() / "readers-cache"))


def calibrated(adapter: Path, target: Path, calibration: dict[str, float]) -> Path:
    shutil.copytree(adapter, target)
    card = json.loads((target / "ragkit.json").read_text())
    (target / "ragkit.json").write_text(json.dumps({**card, "calibration": calibration}))
    return target


def test_the_quotation_stands_where_it_says(base: Path, adapter: Path) -> None:
    found = SpanReader(str(base), adapter).read(QUESTION, PASSAGES)
    assert found is not None
    assert PASSAGES[found.passage][found.start : found.end] == found.text != ""
    assert found.answered
    assert 0 < found.confidence < 1


def test_the_converted_reader_reads_what_peft_reads(base: Path, adapter: Path) -> None:
    """Against transformers and peft with the adapter beside the base, one window at a time and without padding."""
    encoder = PairEncoder(base, 128)
    windows = encoder.windows(QUESTION, PASSAGES)
    assert len(windows) > len(PASSAGES)  # the long passage needs several
    model = PeftModel.from_pretrained(BertForQuestionAnswering.from_pretrained(base), adapter).eval()
    starts, ends = [], []
    with torch.inference_mode():
        for window in windows:
            made = model(torch.tensor([window.ids]), token_type_ids=torch.tensor([window.types]))
            starts.append(made.start_logits[0].numpy())
            ends.append(made.end_logits[0].numpy())
    passage, start, end, margin = span.read(windows, starts, ends)
    found = SpanReader(str(base), adapter).read(QUESTION, PASSAGES)
    assert found is not None
    spread = float(np.concatenate(starts + ends).std())
    assert found.margin == pytest.approx(margin, abs=0.4 * spread)
    own, _ = TorchScorer(base, adapter).scores(windows)
    assert max(float(np.abs(one - other).max()) for one, other in zip(own, starts, strict=True)) < 1e-4
    (card,) = (cache_dir() / "readers").glob(f"{adapter.name}-*/card.json")
    assert json.loads(card.read_text())["precision"] in ("bf16", "f32")
    if json.loads(card.read_text())["precision"] == "f32":
        assert (found.passage, found.start, found.end) == (passage, start, end)


def test_without_torch_after_the_first_use(base: Path, adapter: Path) -> None:
    read = SpanReader(str(base), adapter).read(QUESTION, PASSAGES)
    assert read is not None
    script = (
        "import sys; from pathlib import Path; from ragkit.generate.reader import SpanReader\n"
        f"found = SpanReader({str(base)!r}, Path({str(adapter)!r})).read({QUESTION!r}, {PASSAGES!r})\n"
        "sys.stdout.write(found.text)\n"
        "assert not {'torch', 'transformers', 'peft'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == read.text


def test_where_converting_would_lose_something_torch_reads(
    base: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = SpanReader(str(base), adapter).read(QUESTION, PASSAGES)
    monkeypatch.setenv("RAGKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(reader, "_TOLERANCE", {"bf16": -1.0, "f32": -1.0})
    plain = SpanReader(str(base), adapter)
    assert isinstance(plain._scorer, TorchScorer)
    found = plain.read(QUESTION, PASSAGES)
    assert found is not None
    assert exact is not None
    assert found.margin == pytest.approx(exact.margin, rel=0.2)


def test_the_threshold_decides_what_counts_as_an_answer(base: Path, adapter: Path, tmp_path: Path) -> None:
    sure, unsure = SpanReader(str(base), adapter), SpanReader(str(base), calibrated(adapter, tmp_path / "u", UNSURE))
    found, doubted = sure.read(QUESTION, PASSAGES), unsure.read(QUESTION, PASSAGES)
    assert found is not None
    assert doubted is not None
    assert (found.text, found.answered) == (doubted.text, True)
    assert not doubted.answered
    assert sure.identity != unsure.identity
    assert Calibration(**SURE).confidence(0) == found.confidence


@pytest.mark.parametrize("passages", [[], [""], ["  ", ""]])
def test_nothing_to_read_is_no_reading(base: Path, adapter: Path, passages: list[str]) -> None:
    assert SpanReader(str(base), adapter).read(QUESTION, passages) is None


def test_a_question_that_is_longer_than_a_window_is_cut(base: Path, adapter: Path) -> None:
    found = SpanReader(str(base), adapter).read("tower " * 500, PASSAGES)
    assert found is not None
    assert PASSAGES[found.passage][found.start : found.end] == found.text


def test_many_windows_are_read_in_several_batches(base: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    together = SpanReader(str(base), adapter).read(QUESTION, PASSAGES)
    monkeypatch.setattr(span, "BATCH_TOKENS", 100)
    alone = SpanReader(str(base), adapter).read(QUESTION, PASSAGES)
    assert together is not None
    assert alone is not None
    assert (alone.passage, alone.start, alone.end) == (together.passage, together.start, together.end)


def test_what_is_no_reader_is_refused(base: Path, adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="needs an adapter"):
        ReaderGenerator(str(base))
    with pytest.raises(ModelError, match="is no adapter"):
        SpanReader(str(base), tmp_path)
    with pytest.raises(ModelError, match="was trained on"):
        SpanReader(str(save_encoder(tmp_path / "other", seed=5)), adapter)
    with pytest.raises(ModelError, match="is for the kind generator"):
        SpanReader("smollm2-135m", adapter)
    writer = shutil.copytree(adapter, tmp_path / "writer")
    (writer / "ragkit.json").write_text('{"task": "generate"}')
    with pytest.raises(ModelError, match="its task is generate"):
        SpanReader(str(base), writer)
    (writer / "ragkit.json").write_text("{")
    with pytest.raises(ModelError, match="damaged"):
        SpanReader(str(base), writer)


def test_an_adapter_without_a_span_head_is_refused(base: Path, adapter: Path, tmp_path: Path) -> None:
    headless = shutil.copytree(adapter, tmp_path / "headless")
    kept = load_file(headless / "adapter_model.safetensors")
    rest = {name: value for name, value in kept.items() if "qa_outputs" not in name}
    assert len(rest) < len(kept)
    save_file(rest, headless / "adapter_model.safetensors")
    with pytest.raises(ModelError, match="no span head"):
        SpanReader(str(base), headless)


def test_a_reader_whose_every_weight_was_tuned(base: Path, adapter: Path, tmp_path: Path) -> None:
    """Unlike a low-rank adapter it has seen token types: see reader_torch."""
    tuned = PeftModel.from_pretrained(BertForQuestionAnswering.from_pretrained(base), adapter).merge_and_unload()
    tuned.save_pretrained(tmp_path / "full")
    shutil.copy(adapter / "ragkit.json", tmp_path / "full")
    windows = PairEncoder(base, 128).windows(QUESTION, PASSAGES)
    (starts, _), window = TorchScorer(base, tmp_path / "full").scores(windows), windows[0]
    with torch.inference_mode():
        made = tuned(torch.tensor([window.ids]), token_type_ids=torch.tensor([window.types]))
    assert np.abs(starts[0] - made.start_logits[0].numpy()).max() < 1e-4
    found = SpanReader(str(base), tmp_path / "full").read(QUESTION, PASSAGES)
    assert found is not None
    assert PASSAGES[found.passage][found.start : found.end] == found.text


def test_the_generator_quotes_with_a_mark_or_abstains(base: Path, adapter: Path, tmp_path: Path) -> None:
    hits = [Hit(place, 1.0, place, "d", 1, "1", 0, len(text), text) for place, text in enumerate(PASSAGES, start=1)]
    prompt = Template("t", "s", "w", "{passages}{question}", passage="{text}").render(QUESTION, hits)
    made = ReaderGenerator(str(base), str(adapter)).generate(prompt, Decoding(), lambda _: True)
    assert made.reading is not None
    assert made.text == f"{made.reading.text} [{made.reading.passage + 1}]"
    assert made.reading == SpanReader(str(base), adapter).read(QUESTION, PASSAGES)
    unsure = ReaderGenerator(str(base), str(calibrated(adapter, tmp_path / "unsure", UNSURE)))
    assert unsure.generate(prompt, Decoding(), lambda _: True).text == "The documents do not say."


def test_the_threshold_lets_few_questions_without_an_answer_through() -> None:
    margins = [4.0, 3.0, 2.5, 2.0, -1.0, -2.0, 0.5, -3.0, 1.0, 0.0]
    right = [True, True, True, True, False, False, False, False, False, False]
    found = calibrate(margins, right, [not each for each in right])
    told = [found.confidence(margin) >= found.threshold for margin in margins]
    assert all(told[:4])
    assert sum(told[4:]) <= 2
    assert found.confidence(4.0) > found.confidence(-3.0)
    assert calibrate([], [], []).threshold == 0.5
