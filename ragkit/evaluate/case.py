"""What a metric looks at: a question with its gold answer, and what a variant made of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ragkit.types import Citation, Generation, Gold, Hit, Question, Support

__all__ = ["Case", "Gold", "Measure", "Missing", "Question", "Value", "mean"]

_MARKS = re.compile(r"\s*\[\d{1,3}(?:\s*,\s*\d{1,3})*\]")


@dataclass(frozen=True, slots=True)
class Case:
    """A question and what came back for it."""

    question: Question
    text: str | None = None
    """The answer; empty for an abstention, None if no answer was asked for."""
    hits: tuple[Hit, ...] | None = None
    citations: tuple[Citation, ...] | None = None
    support: tuple[Support, ...] | None = None
    generation: Generation | None = None
    seconds: float | None = None
    """Wall time of the whole answer."""

    @property
    def plain(self) -> str:
        """The answer without its citation marks."""
        return _MARKS.sub("", self.text or "").strip()


@dataclass(frozen=True, slots=True)
class Missing:
    """A value that cannot be computed, and why. It is shown, and never counted as a zero."""

    reason: str


Value = float | Missing
Measure = Callable[[Case], Value]


def mean(values: Sequence[Value]) -> Value:
    """Mean of the values that are there; Missing if none is."""
    there = [value for value in values if not isinstance(value, Missing)]
    if there:
        return sum(there) / len(there)
    return next((value for value in values if isinstance(value, Missing)), Missing("no question"))
