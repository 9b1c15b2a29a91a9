"""Votes and grades on kept answers, each with all that led to the answers: what ratings and training data are made of.

A vote says which of two answers is better; a grade says whether one answer is good. Both carry a full copy of what
they judge, so that deleting the answer or a document, or editing a template, loses nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import sqlite3
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from ragkit import adapters, models
from ragkit.cache import file_sha256
from ragkit.errors import CollectionError, ModelError, SettingsError
from ragkit.types import Answer, Demonstration, digest, from_json, to_json

Choice = Literal["left", "right", "tie", "bad"]
"""`bad`: both answers are bad."""

VOTES_SCHEMA = """
-- Judgements of answers. No reference to `generations`: they outlive the answers, of which they hold a copy.
CREATE TABLE IF NOT EXISTS votes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    thread TEXT NOT NULL,
    left_answer INTEGER NOT NULL,
    right_answer INTEGER NOT NULL,
    choice TEXT NOT NULL,
    blind INTEGER NOT NULL,
    draw INTEGER NOT NULL,
    created TEXT NOT NULL,
    seconds REAL,
    comment TEXT NOT NULL,
    provenance TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS votes_by_thread ON votes(thread);

CREATE TABLE IF NOT EXISTS grades (
    answer INTEGER PRIMARY KEY,
    thread TEXT NOT NULL,
    good INTEGER NOT NULL,
    edited TEXT NOT NULL,
    comment TEXT NOT NULL,
    created TEXT NOT NULL,
    provenance TEXT NOT NULL
);
"""

_MARKS = re.compile(r"\s*\[\d{1,3}(?:\s*,\s*\d{1,3})*\]")

_ECHO = "echo"
"""The engine that has no model."""


class HoldsVotes(Protocol):
    """What this module needs of a collection."""

    home: Path
    """Folder of the collections, with their adapters."""

    @property
    def connection(self) -> sqlite3.Connection:
        """This thread's connection."""
        ...

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        """A write transaction: all or nothing."""
        ...

    def add_demonstrations(self, examples: Sequence[Demonstration]) -> int:
        """Add to the bank of worked examples."""
        ...


@dataclass(frozen=True, slots=True)
class Judged:
    """An answer as it was judged."""

    answer: Answer
    """With its question, passages, prompt, demonstrations in their order, variant, decoding and seed."""
    template_sha256: str
    """Hash of the template that made the prompt; empty if there was no prompt."""
    model_sha256: str
    """Hash of the model's weights when the answer was judged; empty for an engine without a model."""
    adapter_sha256: str
    """Hash of the adapter's weights when the answer was judged; empty without an adapter."""
    chunk_sha256: tuple[str, ...]
    """Hash of the text of each of `answer.hits`."""

    @property
    def text(self) -> str:
        """The answer."""
        return self.answer.text


@dataclass(frozen=True, slots=True)
class Vote:
    """Which of two answers to one question is better."""

    id: int
    thread: str
    """The comparison."""
    left: Judged
    right: Judged
    """The sides as they were shown."""
    choice: Choice
    blind: bool
    """Whether the variants' names were hidden."""
    draw: int
    """Seed of the draw that put the sides where they stood."""
    created: str
    """UTC, ISO 8601."""
    seconds: float | None
    """From showing the pair to the vote."""
    comment: str

    @property
    def question(self) -> str:
        """What both answer."""
        return self.left.answer.question

    @property
    def preferred(self) -> tuple[Judged, Judged] | None:
        """The better and the worse answer; None for a tie and for two bad ones."""
        if self.choice == "left":
            return self.left, self.right
        return (self.right, self.left) if self.choice == "right" else None


@dataclass(frozen=True, slots=True)
class Grade:
    """Whether one answer is good."""

    judged: Judged
    thread: str
    good: bool
    edited: str
    """What the answer should have been; empty if nobody wrote one."""
    comment: str
    created: str
    """UTC, ISO 8601."""

    @property
    def right_text(self) -> str:
        """The edited answer, else the answer if it is good, else nothing."""
        return self.edited or (self.judged.text if self.good else "")


class Votes:
    """The votes and grades of one collection."""

    def __init__(self, collection: HoldsVotes) -> None:
        self._collection = collection

    # Votes

    def cast(
        self,
        left: int,
        right: int,
        choice: Choice,
        *,
        blind: bool = True,
        draw: int = 0,
        seconds: float | None = None,
        comment: str = "",
    ) -> Vote:
        """Keep a vote between two kept answers of one comparison.

        Args:
            left: id of the answer that stood on the left.
            right: id of the answer that stood on the right.
            choice: left, right, tie, or bad (both are).
            blind: whether the names were hidden.
            draw: seed of the draw that placed the sides.
            seconds: how long the decision took.
            comment: the person's remark.

        Raises:
            CollectionError: an answer is not kept, or they do not belong to one comparison.
            SettingsError: an unknown choice.
        """
        if choice not in get_args(Choice):
            raise SettingsError(f"There is no choice {choice!r}.", f"There are: {', '.join(get_args(Choice))}.")
        (thread, one), (other_thread, other) = self._kept(left), self._kept(right)
        if thread != other_thread or left == right or one.question != other.question:
            raise CollectionError(
                f"The answers {left} and {right} are not two answers of one comparison.",
                "Vote on two columns of the same comparison.",
            )
        sides = {"left": to_json(self._judged(one)), "right": to_json(self._judged(other))}
        values = (thread, left, right, choice, blind, draw, _now(), seconds, comment, _dump(sides))
        with self._collection.transaction() as connection:
            row = connection.execute(
                "INSERT INTO votes (thread, left_answer, right_answer, choice, blind, draw, created, seconds, comment,"
                " provenance) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                values,
            ).lastrowid
        return self.get(row or 0)

    def list(self, thread: str | None = None, limit: int | None = None) -> list[Vote]:
        """Votes in the order in which they were cast, all or those of one comparison; with a limit the latest."""
        rows = self._collection.connection.execute(
            f"{_SELECT_VOTES} WHERE ?1 IS NULL OR thread = ?1 ORDER BY id DESC LIMIT ?2",
            (thread, -1 if limit is None else limit),
        ).fetchall()
        return [_vote(row) for row in reversed(rows)]

    def get(self, vote: int) -> Vote:
        """One vote. Raises CollectionError if there is none of that id."""
        row = self._collection.connection.execute(f"{_SELECT_VOTES} WHERE id = ?", (vote,)).fetchone()
        if row is None:
            raise CollectionError(f"There is no vote {vote}.", "List them with: ragkit votes")
        return _vote(row)

    def count(self) -> int:
        """Number of votes."""
        return self._collection.connection.execute("SELECT count(*) FROM votes").fetchone()[0]

    def undo(self, thread: str | None = None) -> Vote | None:
        """Take the last vote back, of all or of one comparison; returns it, or None if there is none."""
        with self._collection.transaction() as connection:
            row = connection.execute(
                f"{_SELECT_VOTES} WHERE ?1 IS NULL OR thread = ?1 ORDER BY id DESC LIMIT 1", (thread,)
            ).fetchone()
            if row is None:
                return None
            connection.execute("DELETE FROM votes WHERE id = ?", (row[0],))
        return _vote(row)

    # Grades

    def grade(self, answer: int, good: bool, *, edited: str = "", comment: str = "") -> Grade:
        """Say whether a kept answer is good, and perhaps what it should have been; a second grade replaces the first.

        Raises CollectionError if the answer is not kept.
        """
        thread, kept = self._kept(answer)
        edited = "" if edited.strip() == kept.text.strip() else edited.strip()
        values = (answer, thread, good, edited, comment, _now(), _dump(to_json(self._judged(kept))))
        with self._collection.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO grades (answer, thread, good, edited, comment, created, provenance)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                values,
            )
        return self.grades(answer)[0]

    def grades(self, answer: int | None = None) -> list[Grade]:
        """Grades by answer: all, or none or one of an answer."""
        rows = self._collection.connection.execute(
            "SELECT provenance, thread, good, edited, comment, created FROM grades"
            " WHERE ?1 IS NULL OR answer = ?1 ORDER BY answer",
            (answer,),
        )
        return [Grade(from_json(Judged, json.loads(row[0])), row[1], bool(row[2]), *row[3:]) for row in rows]

    def ungrade(self, answer: int) -> bool:
        """Take the grade of an answer back; returns whether there was one."""
        with self._collection.transaction() as connection:
            return connection.execute("DELETE FROM grades WHERE answer = ?", (answer,)).rowcount > 0

    # Worked examples

    def to_demonstrations(self, answer: int | None = None) -> int:
        """Add every answer that was graded good, or edited, to the bank of worked examples; returns how many are new.

        The passage of an example is the first that was cited, else the first of the prompt. Citation marks are taken
        out: in another prompt their numbers would mean other passages. With an id, that answer only.
        """
        return self._collection.add_demonstrations([
            Demonstration(
                grade.judged.answer.question,
                _MARKS.sub("", grade.right_text).strip(),
                _passage(grade.judged.answer),
            )
            for grade in self.grades(answer)
            if grade.right_text and not (grade.judged.answer.abstained and not grade.edited)
        ])

    def _judged(self, answer: Answer) -> Judged:
        return judged(answer, self._collection.home)

    def _kept(self, answer: int) -> tuple[str, Answer]:
        """Thread and answer. Raises CollectionError if it is not kept."""
        row = self._collection.connection.execute(
            "SELECT thread, answer FROM generations WHERE id = ?", (answer,)
        ).fetchone()
        if row is None:
            raise CollectionError(f"The answer {answer} is not in the history.", "It may have been deleted; ask again.")
        return row[0], replace(from_json(Answer, json.loads(row[1])), id=answer)


_SELECT_VOTES = "SELECT id, thread, choice, blind, draw, created, seconds, comment, provenance FROM votes"


def judged(answer: Answer, home: Path) -> Judged:
    """The answer with the hashes of what made it; `home` is where adapters are looked for by name."""
    return Judged(
        answer,
        answer.prompt.template_sha256 if answer.prompt else "",
        _model_sha256(answer) if answer.generation else "",
        _adapter_sha256(answer.variant.adapter, home) if answer.generation else "",
        tuple(hashlib.sha256(hit.text.encode()).hexdigest() for hit in answer.hits),
    )


def draw_of(thread: str, one: int, other: int) -> int:
    """Seed of the draw that places two answers of a comparison: fair, and the same after a reload of the page."""
    return int(digest(["sides", thread, min(one, other), max(one, other)])[:12], 16)


def _model_sha256(answer: Answer) -> str:
    """Hash of the model's weights; empty if it cannot be found any more, since a vote must not fail for that."""
    if answer.variant.engine == _ECHO:
        return ""
    with contextlib.suppress(ModelError):
        return models.resolve(answer.variant.model, "generator").sha256
    return ""


def _adapter_sha256(name: str, home: Path) -> str:
    """Hash of the adapter's weights, by its name or folder; empty if they cannot be found any more."""
    with contextlib.suppress(ModelError):
        return adapters.find(name, home).sha256 if name else ""
    weights = Path(name).expanduser() / "adapter_model.safetensors"
    return file_sha256(weights) if weights.is_file() else ""


def _passage(answer: Answer) -> str:
    cited = {citation.chunk for citation in answer.citations}
    shown = answer.prompt.hits if answer.prompt else ()
    return next((hit.text for hit in shown if hit.chunk in cited), shown[0].text if shown else "")


def _vote(row: tuple[Any, ...]) -> Vote:
    number, thread, choice, blind, draw, created, seconds, comment, provenance = row
    return Vote(number, thread, *_sides(provenance), choice, bool(blind), draw, created, seconds, comment)


@lru_cache(maxsize=2048)
def _sides(provenance: str) -> tuple[Judged, Judged]:
    """Left and right. Votes never change, and a page that shows ratings reads all of them at every click."""
    sides = json.loads(provenance)
    return from_json(Judged, sides["left"]), from_json(Judged, sides["right"])


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
