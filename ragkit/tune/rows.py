"""What is trained on: rows, as the data door prepares them and the tasks read them."""

from __future__ import annotations

from collections.abc import Callable
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


@dataclass(frozen=True, slots=True)
class Reply:
    """A row in tokens of a language model."""

    prompt: tuple[int, ...]
    reply: tuple[int, ...]
    """Ends with the token that ends an answer."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a training will take, from a few of its own steps measured on this machine."""

    steps: int
    tokens: int
    """Of all epochs, a shared beginning counted once."""
    tokens_per_second: float
    seconds: float
    """Of the steps alone, without held-out looks."""
    bytes: int
    """Peak of the process's memory."""
    trainable: int
    """Parameters that learn."""
    parameters: int
    """All parameters of the model."""


Phase = Literal["preparing", "sweep", "training", "checking"]


@dataclass(frozen=True, slots=True)
class Point:
    """Where a training stands."""

    step: int
    steps: int
    tokens: int = 0
    """Tokens that went through the model so far, padding not counted."""
    seconds: float = 0.0
    loss: float | None = None
    """Mean over the target tokens of the last steps; None before the first."""
    held_out_loss: float | None = None
    """Only on points at which it was measured."""
    learning_rate: float = 0.0
    tokens_per_second: float = 0.0
    left: float | None = None
    """Seconds to the last step, by the present rate."""
    phase: Phase = "training"


Listen = Callable[[Point], None]
Stop = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a training."""

    step: int
    steps: int
    best_step: int
    held_out_loss: float | None
    loss: float | None
    tokens: int
    seconds: float
    ended: str
    """"all steps", "no better on held-out rows", "the loss was not finite"."""
