"""Evaluations whose answers are written together, by the built-in model: what they share, and what stays apart."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ragkit import evaluation
from ragkit.errors import Cancelled
from ragkit.generate.openvino import OpenVINOGenerator
from ragkit.sets import Sets
from ragkit.settings import RetrieveSettings
from ragkit.types import Decoding, Question, Variant
from ragkit.workbench import Workbench
from tests.library import filled

QUESTIONS = [
    Question("lora", "What does LoRA freeze?", ("the pretrained weights",)),
    Question("cat", "Where does the cat sleep?", ("on the mat",)),
    Question("king", "Who is the king of Spain?", ()),
    Question("song", "Which song did Dylan sing?", ("Hurricane",)),
]
BUILT_IN = Variant(template="cite", adapter="", decoding=Decoding(max_tokens=4))
UNREAD = RetrieveSettings(abstain_below=0.0, reader="")


@pytest.fixture
def bench(tmp_path):
    collection = filled(tmp_path / "home")
    Sets(collection).put("small", QUESTIONS)
    return Workbench(collection)


def test_answers_can_be_written_together_and_are_kept_apart_from_those_written_alone(bench, monkeypatch):
    sizes = []
    write = OpenVINOGenerator.generate_together
    monkeypatch.setattr(
        OpenVINOGenerator, "generate_together", lambda self, asked: sizes.append(len(asked)) or write(self, asked)
    )
    variants = [BUILT_IN, replace(BUILT_IN, template="concise")]
    steps = []
    told = evaluation.evaluate(
        bench, "small", variants, retrieve=UNREAD, together=True, listen=lambda progress: steps.append(progress.done)
    )
    assert steps == [0, 8]
    assert sizes == [8]  # four questions at once
    assert (told.generated, told.cached) == (8, 0)
    assert {(item.question, item.variant) for item in told.items if item.text} == {
        (question.id, variant) for question in QUESTIONS for variant in (0, 1)
    }
    for time in ("seconds", "first-token"):
        assert {item.missing[time] for item in told.items} == {"answers were written together"}
    again = evaluation.evaluate(bench, "small", variants, retrieve=UNREAD, together=True)
    assert (again.generated, again.cached) == (0, 8)
    assert [item.text for item in again.items] == [item.text for item in told.items]
    alone = evaluation.evaluate(bench, "small", variants[:1], retrieve=UNREAD)
    assert (alone.generated, alone.cached) == (4, 0)
    assert sizes == [8, 1, 1, 1, 1]


def test_a_stop_while_answers_are_written_together_ends_all_of_them(bench):
    asked = []

    def stop():
        asked.append(1)
        return len(asked) > 6  # four answers were wanted, and some tokens are written

    longer = replace(BUILT_IN, decoding=Decoding(max_tokens=400, repetition_penalty=1.0))
    with pytest.raises(Cancelled):
        evaluation.evaluate(bench, "small", [longer], retrieve=UNREAD, together=True, should_stop=stop)
    assert len(asked) < 60
    assert evaluation.evaluate(bench, "small", [BUILT_IN], retrieve=UNREAD, together=True).generated == 4


def test_the_same_prompt_twice_in_a_batch_is_answered_once(bench):
    report = evaluation.evaluate(bench, "small", [BUILT_IN, BUILT_IN], retrieve=UNREAD, together=True)
    assert report.generated == 4
    assert [item.text for item in report.items if item.variant == 0] == [
        item.text for item in report.items if item.variant == 1
    ]


def test_an_engine_that_cannot_write_together_writes_one_after_another(bench):
    echo = Variant(template="cite", engine="echo")
    assert evaluation.evaluate(bench, "small", [echo], retrieve=UNREAD, together=True).generated == 4
    assert evaluation.evaluate(bench, "small", [echo], retrieve=UNREAD).cached == 4
