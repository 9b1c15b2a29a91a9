"""Leaks between worked examples or training rows and evaluation questions."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.evaluate.leaks import RUN, bank_leaks, leaks
from ragkit.types import Demonstration, Question

LONG = "Which two low-rank matrices does LoRA learn for each frozen weight matrix of the model?"


def asked(*texts: str) -> list[Question]:
    return [Question(f"q{place}", text) for place, text in enumerate(texts)]


@pytest.mark.parametrize(
    "example", ["Who wrote the Iliad?", "who wrote iliad", "WHO   wrote\nthe 'Iliad'?!", "Who wrote an Iliad"]
)
def test_case_punctuation_and_articles_do_not_hide_a_leak(example: str) -> None:
    (leak,) = leaks([example], asked("Where is Troy?", "Who wrote the Iliad?"))
    assert (leak.kind, leak.overlap, leak.place, leak.question_id) == ("exact", 1.0, 0, "q1")
    assert (leak.example, leak.question) == (example, "Who wrote the Iliad?")


def test_a_reworded_question_is_near() -> None:
    (leak,) = leaks([LONG.replace("frozen", "pretrained")], asked(LONG))
    words = 14  # without the article; one word in the middle spares all but three runs
    assert (leak.kind, leak.overlap) == ("near", (words - 5) / (words + 1))


def test_a_training_row_that_quotes_the_question_is_near() -> None:
    row = f"Answer from the passages. <passage 1> {'Cats sleep on mats. ' * 40}</passage> {LONG} Two thin ones."
    (leak,) = leaks([row], asked(LONG))
    assert (leak.kind, leak.overlap) == ("near", 1.0)


@pytest.mark.parametrize(
    ("example", "question"),
    [
        ("When was Marie Curie born?", "When was Pierre Curie born?"),
        ("What is another word for the study of past and current life?", "What is another word for diatom?"),
        ("What is not a problem with internet pharmacies in the south?", "What is a problem?"),
        ("", "What is it?"),
        ("Why?", ""),
        ("", ""),
    ],
)
def test_other_questions_of_the_same_kind_are_no_leak(example: str, question: str) -> None:
    assert [leak.kind for leak in leaks([example], asked(question))] in ([], ["exact"] if example == question else [])


def test_the_clearest_leaks_come_first_and_all_are_told() -> None:
    bank = [LONG.replace("frozen", "pretrained"), "Nothing like it.", LONG]
    found = leaks(bank, asked(LONG, LONG.lower()))
    assert [(leak.kind, leak.place) for leak in found] == [("exact", 2), ("exact", 2), ("near", 0), ("near", 0)]
    assert {leak.question_id for leak in found} == {"q0", "q1"}


def test_a_bank_is_checked_by_its_questions() -> None:
    bank = [Demonstration("Who wrote the Aeneid?", LONG, LONG), Demonstration(LONG, "Two.")]
    assert [leak.place for leak in bank_leaks(bank, asked(LONG))] == [1]


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.1])
def test_a_threshold_is_a_share(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold"):
        leaks([], [], threshold)


TEXTS = st.lists(st.lists(st.sampled_from(["ab", "cd", "ef", "gh", "ij"]), max_size=8).map(" ".join), max_size=5)


@given(TEXTS, TEXTS, st.sampled_from([0.3, 0.5, 0.9]))
def test_the_index_finds_what_all_pairs_would(examples: list[str], texts: list[str], threshold: float) -> None:
    def runs(text: str) -> set[str]:
        words = text.split()
        return {" ".join(words[start : start + RUN]) for start in range(max(len(words) - RUN + 1, 1))} - {""}

    def near(one: str, other: str) -> bool:
        left, right = runs(one), runs(other)
        both = len(left & right)
        if not both:
            return False
        inside = both / len(right) if len(right) >= 5 and len(left) >= 2 * len(right) else 0
        return max(both / len(left | right), inside, one == other) >= threshold

    found = {(leak.place, leak.question_id) for leak in leaks(examples, asked(*texts), threshold)}
    pairs = product(enumerate(examples), enumerate(texts))
    assert found == {(place, f"q{number}") for (place, one), (number, other) in pairs if near(one, other)}


@pytest.mark.data
def test_questions_on_other_articles_are_rarely_called_leaks(data: Path) -> None:
    articles = json.loads((data / "squad" / "squad-v1.1-dev.json").read_text("utf-8"))["data"]
    sides = [
        [each["question"] for article in articles[start::2] for page in article["paragraphs"] for each in page["qas"]]
        for start in (0, 1)
    ]
    found = leaks(sides[0], asked(*sides[1]))
    assert len({leak.question_id for leak in found}) <= 0.003 * len(sides[1])
    assert {leak.question_id for leak in leaks(sides[1], asked(*sides[1])) if leak.kind == "exact"} == {
        f"q{place}" for place in range(len(sides[1]))
    }
