"""A report as a file: JSON, CSV (one row an answer), or one self-contained HTML page, by the file's ending."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

from ragkit.evaluate.page import html
from ragkit.evaluate.report import Report
from ragkit.runs import RunError
from ragkit.types import to_json

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet would take for the beginning of a formula."""


def write_report(report: Report, path: Path) -> None:
    """Write the report in the format of the path's ending; replaces the file in one step.

    Raises RunError for an unknown ending or a folder that cannot be written to.
    """
    make = {".json": as_json, ".csv": as_csv, ".html": html, ".htm": html}.get(path.suffix.lower())
    if make is None:
        raise RunError(f"A report cannot be written as {path.name!r}.", "Name it .html, .csv or .json.")
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(make(report), "utf-8", newline="")
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise RunError(f"{path} cannot be written: {error.strerror}.", "Choose another place.") from error


def as_json(report: Report) -> str:
    """All of the report as one JSON object; numbers that are none (an interval of one value) are null."""
    return json.dumps(_finite(to_json(report)), ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: object) -> object:
    """The value without infinities, which JSON does not have."""
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list) else value


def as_csv(report: Report) -> str:
    """One row an answer: question, gold answers, variant, what it read, the answer, its cause, every metric."""
    metrics = report.measured
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    asked = {each.id: each for each in report.questions}
    head = ["id", "question", "answers", "variant", "reads", "repeat", "answer", "abstained", "became", *metrics]
    writer.writerow(head)
    for item in report.items:
        question = asked[item.question]
        texts = [item.question, question.question, "|".join(question.answers), report.variants[item.variant]]
        writer.writerow(
            [
                *map(_cell, texts),
                item.column,
                item.repeat,
                _cell(item.text or ""),
                int(item.abstained),
                item.failure,
                *(repr(item.values[name]) if name in item.values else "" for name in metrics),
            ]
        )
    return out.getvalue()


def _cell(text: str) -> str:
    """A text that a spreadsheet shows and does not carry out."""
    return f"'{text}" if text.startswith(_FORMULA) else text
