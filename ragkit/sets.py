"""Evaluation sets of a collection: questions with their answers, in versions known by the hash of their content."""

from __future__ import annotations

import json
import re
import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from ragkit.errors import RagkitError
from ragkit.home import check_name
from ragkit.types import Gold, Question, digest, to_json

SETS_SCHEMA = """
-- Questions by the hash of their content; versions of several sets may share one.
CREATE TABLE IF NOT EXISTS questions (
    sha256 TEXT PRIMARY KEY,
    count INTEGER NOT NULL,
    unanswerable INTEGER NOT NULL,
    content BLOB NOT NULL
);

CREATE TABLE IF NOT EXISTS set_versions (
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    sha256 TEXT NOT NULL REFERENCES questions(sha256),
    source TEXT NOT NULL,
    created TEXT NOT NULL,
    PRIMARY KEY (name, version)
) WITHOUT ROWID;
"""

_SELECT = (
    "SELECT v.name, v.version, v.sha256, q.count, q.unanswerable, v.source, v.created"
    " FROM set_versions v JOIN questions q USING (sha256)"
)


class SetError(RagkitError):
    """An evaluation set that is missing, or questions that cannot be read."""


class HoldsSets(Protocol):
    """What this module needs of a collection."""

    @property
    def connection(self) -> sqlite3.Connection:
        """This thread's connection."""
        ...

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        """A write transaction: all or nothing."""
        ...


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """One version of a set."""

    name: str
    version: int
    """From 1; the highest one is the set as it is now."""
    sha256: str
    """Hash of the questions in their order."""
    count: int
    """Questions."""
    unanswerable: int
    """Questions that the documents do not answer."""
    source: str
    """Where the questions came from: a file's name, or what was changed."""
    created: str
    """UTC, ISO 8601."""


Questions = list[Question]
Versions = list[EvaluationSet]


class Sets:
    """The evaluation sets of one collection. A change makes a new version; runs keep pointing to the one they used."""

    def __init__(self, collection: HoldsSets) -> None:
        self._collection = collection

    def list(self) -> Versions:
        """The newest version of each set, by name."""
        newest = "(v.name, v.version) IN (SELECT name, max(version) FROM set_versions GROUP BY name)"
        return self._find(f"{newest} ORDER BY v.name")

    def versions(self, name: str) -> Versions:
        """All versions of a set, newest first. Raises SetError if there is none of that name."""
        found = self._find("v.name = ? ORDER BY v.version DESC", name)
        if not found:
            there = ", ".join(each.name for each in self.list()) or "none yet"
            raise SetError(
                f"There is no evaluation set {name!r}.", f"There are: {there}. Import one with: ragkit sets import FILE"
            )
        return found

    def get(self, name: str, version: int | None = None) -> EvaluationSet:
        """A set as it is now, or an older version of it. Raises SetError if there is no such one."""
        found = self.versions(name)
        for each in found:
            if version in (None, each.version):
                return each
        raise SetError(f"The set {name!r} has no version {version}.", f"The newest is {found[0].version}.")

    def questions(self, name: str, version: int | None = None) -> Questions:
        """Questions of a set, in order."""
        return self.by_sha256(self.get(name, version).sha256)

    def by_sha256(self, sha256: str) -> Questions:
        """Questions by the hash of their content, which a run remembers. Raises SetError if they were removed."""
        row = self._collection.connection.execute(
            "SELECT content FROM questions WHERE sha256 = ?", (sha256,)
        ).fetchone()
        if row is None:
            raise SetError(f"The questions {sha256[:12]} are gone.", "Import them again: the same ones get this hash.")
        return [question_of(record) for record in json.loads(zlib.decompress(row[0]))]

    def put(self, name: str, questions: Sequence[Question], source: str = "") -> EvaluationSet:
        """Keep questions under a name; the same content as before makes no new version.

        Raises SetError for an empty set, an empty question or an id that occurs twice.
        """
        check_name(name, "set")
        _check(questions)
        sha256 = digest(list(questions))
        content = zlib.compress(json.dumps(to_json(list(questions)), ensure_ascii=False).encode())
        unanswerable = sum(each.judged and not each.answerable for each in questions)
        with self._collection.transaction() as connection:
            row = connection.execute(
                "SELECT version, sha256 FROM set_versions WHERE name = ? ORDER BY version DESC", (name,)
            ).fetchone()
            connection.execute(
                "INSERT OR IGNORE INTO questions VALUES (?, ?, ?, ?)", (sha256, len(questions), unanswerable, content)
            )
            if row is None or row[1] != sha256:
                number = row[0] + 1 if row else 1
                connection.execute(
                    "INSERT INTO set_versions VALUES (?, ?, ?, ?, ?)", (name, number, sha256, source, _now())
                )
        return self.get(name)

    def add(self, name: str, *new: Question) -> EvaluationSet:
        """Add questions at the end of a set; the set is made if there is none."""
        before = self.questions(name) if any(each.name == name for each in self.list()) else []
        return self.put(name, [*before, *new], f"{len(new)} added")

    def edit(self, name: str, question: Question) -> EvaluationSet:
        """Replace the question of the same id. Raises SetError if there is none."""
        questions = self.questions(name)
        self._one(name, questions, question.id)
        return self.put(name, [question if each.id == question.id else each for each in questions], "1 changed")

    def delete(self, name: str, question: str) -> EvaluationSet:
        """Take the question of that id out. Raises SetError if there is none, or if it is the last."""
        questions = self.questions(name)
        self._one(name, questions, question)
        return self.put(name, [each for each in questions if each.id != question], "1 taken out")

    def remove(self, name: str) -> None:
        """Forget a set with all its versions; questions that a run was made on stay with the run."""
        self.get(name)
        with self._collection.transaction() as connection:
            connection.execute("DELETE FROM set_versions WHERE name = ?", (name,))
            connection.execute(
                "DELETE FROM questions WHERE sha256 NOT IN (SELECT sha256 FROM set_versions)"
                " AND sha256 NOT IN (SELECT questions FROM runs)"
            )

    def export(self, name: str, version: int | None = None) -> str:
        """The set as JSON lines, which `ragkit sets import` reads back unchanged."""
        return "".join(
            json.dumps(record_of(question), ensure_ascii=False) + "\n" for question in self.questions(name, version)
        )

    def _find(self, where: str, *values: object) -> Versions:
        rows = self._collection.connection.execute(f"{_SELECT} WHERE {where}", values)
        return [EvaluationSet(*row) for row in rows]

    def _one(self, name: str, questions: Iterable[Question], wanted: str) -> None:
        if wanted not in {each.id for each in questions}:
            raise SetError(f"The set {name!r} has no question {wanted!r}.", "It may have been changed meanwhile.")


def record_of(question: Question) -> dict[str, Any]:
    """A question as the JSON object that importing reads: what is empty is left out."""
    record: dict[str, Any] = {"id": question.id, "question": question.question}
    if question.judged:
        record["answers"] = list(question.answers)
    if question.gold:
        record["gold"] = [
            {key: value for key, value in to_json(gold).items() if value not in ("", None)} for gold in question.gold
        ]
    if question.passage:
        record["passage"] = question.passage
    return record


def question_of(record: dict[str, Any]) -> Question:
    """A question from the JSON of its fields, or from what `record_of` wrote."""
    return Question(
        id=record["id"],
        question=record["question"],
        answers=tuple(record.get("answers", ())),
        gold=tuple(Gold(**gold) for gold in record.get("gold", ())),
        passage=record.get("passage", ""),
        judged=record.get("judged", "answers" in record),
    )


def question_id(question: Question) -> str:
    """An id for a question that came without one: the same question always gets the same."""
    return digest(replace(question, id=""))[:12]


def set_name(path: str) -> str:
    """A name for the set of a file: its name without the ending, with what cannot be in a name as a hyphen."""
    stem = re.sub(r"\.[A-Za-z0-9]{1,5}$", "", path.rstrip("/").rpartition("/")[2])
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-")[:64] or "questions"


def _check(questions: Sequence[Question]) -> None:
    if not questions:
        raise SetError("The set has no question.", "A set holds at least one.")
    seen: set[str] = set()
    for number, each in enumerate(questions, start=1):
        if not each.question.strip():
            raise SetError(f"Question {number} ({each.id!r}) is empty.", "Write it, or take it out.")
        if not each.id or each.id in seen:
            raise SetError(f"The id {each.id!r} of question {number} is empty or taken.", "Every question has its own.")
        seen.add(each.id)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
