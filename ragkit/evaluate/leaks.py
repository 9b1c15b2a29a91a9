"""Leaks: worked examples or training rows that give away questions of an evaluation set.

A score on a question that the prompt or the training data held measures memory. Two texts are held against each other
by their words, lower case, without punctuation and articles (SQuAD's normalisation):

- exact: the words are the same.
- near: many runs of three words are shared. `overlap` is the larger of two shares: the Jaccard index of the two sets
  of runs, and, where the example is much the longer (a training row that quotes the question in its prompt), the
  share of the question's runs that it holds; not for short questions, whose few runs ("what is another") are anybody's.

The sets are exact: an index of the questions' runs makes that quick enough for what people write by hand and for
hundreds of thousands of rows, so there is nothing to estimate (MinHash would).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ragkit.evaluate.answers import normalise
from ragkit.types import Demonstration, Question

RUN = 3
"""Words in a run. Questions have about ten words; runs of two are shared by chance ("how many"), and the 8 to 13 of the
GPT-3 decontamination (Brown et al. 2020) are longer than most questions."""

THRESHOLD = 0.5
"""Overlap from which two texts are called near. One word changed in the middle of a question of n words spares n - 5 of
its n - 2 runs, a Jaccard index of (n - 5) / (n + 1): half or more from 11 words on. Of 6,092 SQuAD questions, held
against 6,186 on other articles, where none is a leak, it calls 11 near; 0.4 calls 61, 0.6 calls 2."""

_READ = ("prompt", "question", "messages", "passage", "text", "answer", "completion", "chosen", "rejected")
"""Columns of training rows that a model reads."""

_LONGER = 2
"""From so many times the question's runs on, containment counts, not only the Jaccard index."""
_ENOUGH_RUNS = 5
"""Runs that a question needs for that. In the measurement above, 42 questions would be called near with 4."""


@dataclass(frozen=True, slots=True)
class Leak:
    """An example that gives away a question."""

    kind: Literal["exact", "near"]
    overlap: float
    """1 for an exact one."""
    place: int
    """Position of the example, from 0."""
    example: str
    """Its text."""
    question_id: str
    question: str


def leaks(examples: Iterable[str], questions: Sequence[Question], threshold: float = THRESHOLD) -> list[Leak]:
    """Every pair of an example and a question that is the same or nearly so, the clearest first.

    Args:
        examples: questions of worked examples, or whole training rows as text.
        questions: the evaluation questions.
        threshold: overlap from which a pair is near, above 0, at most 1.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"a threshold lies above 0 and at most at 1, not at {threshold}")
    plain = [normalise(question.question) for question in questions]
    runs = [_runs(text) for text in plain]
    holding: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, own in enumerate(runs):
        for run in own:
            holding[run].append(number)
    found = []
    for place, example in enumerate(examples):
        text = normalise(example)
        theirs = _runs(text)
        shared = Counter(number for run in theirs for number in holding.get(run, ()))
        for number, count in shared.items():
            exact = text == plain[number]
            overlap = 1.0 if exact else _overlap(count, len(runs[number]), len(theirs))
            if overlap >= threshold:
                kind: Literal["exact", "near"] = "exact" if exact else "near"
                question = questions[number]
                found.append(Leak(kind, overlap, place, example, question.id, question.question))
    return sorted(found, key=lambda leak: (leak.kind != "exact", -leak.overlap, leak.place))


def bank_leaks(
    bank: Sequence[Demonstration], questions: Sequence[Question], threshold: float = THRESHOLD
) -> list[Leak]:
    """Leaks between a bank of worked examples, by their questions, and evaluation questions."""
    return leaks((example.question for example in bank), questions, threshold)


def row_text(row: Mapping[str, Any]) -> str:
    """All that a model reads of a training row: its prompt, question, messages, passage and answers, as one text."""
    return "\n".join(text for key in _READ if key in row for text in _texts(row[key]))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):  # a message: its role is not text
        yield from _texts(value.get("content", ""))
    elif isinstance(value, Sequence):
        for item in value:
            yield from _texts(item)


def _runs(text: str) -> set[tuple[str, ...]]:
    """The runs of RUN words of a normalised text; a shorter text is one run, and nothing has none."""
    words = text.split()
    if len(words) < RUN:
        return {tuple(words)} if words else set()
    return {tuple(words[start : start + RUN]) for start in range(len(words) - RUN + 1)}


def _overlap(shared: int, question: int, example: int) -> float:
    jaccard = shared / (question + example - shared)
    contained = question >= _ENOUGH_RUNS and example >= _LONGER * question
    return max(jaccard, shared / question) if contained else jaccard
