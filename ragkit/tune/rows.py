"""What is trained on: rows, as the data door prepares them and the tasks read them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ragkit.types import Prompt

Task = Literal["generate", "extract"]
RowKind = Literal["answer", "absent", "unanswerable"]
"""`absent`: there is an answer, but its passage was taken away, so the right reply is the abstention."""


@dataclass(frozen=True, slots=True)
class Span:
    """Characters of one of a row's passages."""

    passage: int
    """Index, from 0."""
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Row:
    """One question with what the model will see and what it shall learn to reply."""

    id: str
    group: str
    """The document it comes from: all rows of a group are trained on, or all are held out."""
    question: str
    kind: RowKind
    origin: str
    """Where it was taken from: a file's name, a set, votes, edits, drafts, demonstrations."""
    target: str
    """The reply to learn, citation marks included; for extract the span's text, empty for none."""
    prompt: Prompt | None = None
    """For the task generate: as it will be when asked."""
    passages: tuple[str, ...] = ()
    """Texts of the passages, in the order of the prompt."""
    spans: tuple[Span, ...] = ()
    """For the task extract: every place that counts as right; none means that the passages do not say."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Rows ready for training, and what was found on the way."""

    train: tuple[Row, ...]
    held: tuple[Row, ...]
    """Rows of other documents, for the held-out loss and the calibration; never trained on."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Rows that were not taken, counted by reason: "longer than 2,048 tokens", "like an evaluation question" ..."""
    warnings: tuple[str, ...] = ()
    """What a person should know before starting, in whole sentences."""
    data_sha256: str = ""
    """Hash over the rows, in order."""
