"""Why an answer is wrong: not in the documents, not retrieved, retrieved but ignored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ragkit.evaluate.answers import normalise
from ragkit.types import Answer, Hit, Question

Failure = Literal[
    "right",
    "not in the documents",
    "not retrieved",
    "held back",
    "did not fit",
    "retrieved but refused",
    "retrieved but ignored",
    "rightly refused",
    "answered without ground",
    "not known without the documents",
    "wrong",
    "not judged",
]

MEANINGS: dict[Failure, str] = {
    "right": "The answer holds a gold answer.",
    "rightly refused": "The documents hold no answer, and none was given.",
    "not in the documents": "The collection holds neither the gold page nor the gold answer.",
    "not retrieved": "The documents hold the answer, but no passage that was found does: better retrieval would help.",
    "held back": "A passage with the answer was found, but the nearest was too far, or the reader saw no answer in it.",
    "did not fit": "A passage with the answer was found and then dropped, because the prompt was too long.",
    "retrieved but refused": "The answer stood in the prompt; the model said that it does not.",
    "retrieved but ignored": "The answer stood in the prompt; the model wrote something else.",
    "answered without ground": "The documents hold no answer, and one was given all the same.",
    "not known without the documents": "The model did not know the answer by itself.",
    "wrong": "The answer holds no gold answer.",
    "not judged": "The set does not say what is right.",
}
"""What each class means, in the order in which reports show them."""


def contains(text: str, answers: Sequence[str]) -> bool:
    """Whether a text holds one of the answers as a run of whole words, after SQuAD's normalisation.

    A sentence that holds the answer is right here, other than for exact match.
    """
    words = f" {normalise(text)} "
    return any(f" {normalise(answer)} " in words for answer in answers if normalise(answer))


def holding(question: Question, hits: Sequence[Hit]) -> list[int]:
    """Places in `hits`, from 0, of the passages that hold the answer.

    A passage does if it is of a gold page (of any page where none is known) and has a gold answer in it; where the
    gold passage has no gold answer word by word, a passage of the gold page does.
    """
    gold = question.gold
    there = [
        place
        for place, hit in enumerate(hits)
        if not gold or any(each.matches(hit.document, hit.page, hit.page_label) for each in gold)
    ]
    literal = [place for place in there if contains(hits[place].text, question.answers)]
    if literal or not gold or contains(question.passage, question.answers):
        return literal
    return there


def is_right(question: Question, answer: Answer) -> bool | None:
    """Whether the answer holds a gold answer, or abstains where there is none; None if the set does not say."""
    if not question.judged:
        return None
    if not question.answerable:
        return answer.abstained
    return not answer.abstained and contains(answer.text, question.answers)


def classify(question: Question, answer: Answer, in_documents: bool) -> Failure:
    """The class of an answer. `in_documents`: whether the collection holds the answer at all."""
    right = is_right(question, answer)
    if right is None:
        return "not judged"
    if not question.answerable:
        return "rightly refused" if right else "answered without ground"
    if right:
        return "right"
    if answer.prompt is None:
        found = holding(question, answer.hits)
        return "held back" if found else _absent(in_documents)
    if holding(question, answer.prompt.hits):
        return "retrieved but refused" if answer.abstained else "retrieved but ignored"
    return "did not fit" if holding(question, answer.prompt.dropped) else _absent(in_documents)


def _absent(in_documents: bool) -> Failure:
    return "not retrieved" if in_documents else "not in the documents"
