"""Files of worked examples for the bank of a collection: JSON lines or CSV with question, answer, perhaps passage."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ragkit.errors import LoadError
from ragkit.types import Demonstration, to_json

_HINT = 'Each needs "question" and "answer", and may have "passage".'
_FIELD_LIMIT = 1_000_000
"""Longest CSV field, in characters; Python's own limit of 131,072 is shorter than some passages."""


def read(path: Path) -> list[Demonstration]:
    """The worked examples of a .csv or .tsv file with a header, else of JSON lines or a JSON list.

    Raises LoadError with the line that is wrong; nothing is read then.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise LoadError(f"{path} cannot be read: {error}.", "Give a UTF-8 file of JSON lines or CSV.") from error
    return list(_examples(text, path.name))


def parse(text: str, name: str) -> list[Demonstration]:
    """The same from a text; the ending of `name` says what it is. Raises LoadError."""
    return list(_examples(text.removeprefix("\ufeff"), name))


def dump(examples: Iterable[Demonstration]) -> str:
    """JSON lines that `read` reads back."""
    return "".join(json.dumps(to_json(example), ensure_ascii=False) + "\n" for example in examples)


def _examples(text: str, name: str) -> Iterator[Demonstration]:
    suffix = Path(name).suffix.lower()
    records = _table(text, name, "\t" if suffix == ".tsv" else ",") if suffix in (".csv", ".tsv") else _json(text, name)
    for place, record in records:
        values = [_value(record, key) for key in ("question", "answer", "passage")]
        if not all(values[:2]):
            raise LoadError(f"{place} of {name} is no worked example: {str(record)[:60]!r}.", _HINT)
        yield Demonstration(*values)


def _value(record: object, key: str) -> str:
    """A plain value as text; nothing for one that is missing or nested."""
    found = record.get(key) if isinstance(record, Mapping) else None
    plain = isinstance(found, (str, int, float)) and not isinstance(found, bool)
    return str(found).strip() if plain else ""


def _json(text: str, name: str) -> Iterator[tuple[str, Any]]:
    if text.lstrip().startswith("["):
        for number, record in enumerate(_loads(text, name, "The list"), start=1):
            yield f"Entry {number}", record
        return
    for number, line in enumerate(text.split("\n"), start=1):  # splitlines would cut at U+2028 inside a text
        if line.strip():
            yield f"Line {number}", _loads(line, name, f"Line {number}")


def _loads(text: str, name: str, place: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LoadError(f"{place} of {name} is no JSON: {text[:60]!r} ({error}).", _HINT) from error


def _table(text: str, name: str, delimiter: str) -> Iterator[tuple[str, Any]]:
    before = csv.field_size_limit(_FIELD_LIMIT)
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        header = [str(column).strip().lower() for column in reader.fieldnames or ()]
        if not {"question", "answer"} <= set(header):
            raise LoadError(f"{name} has the columns {', '.join(header) or 'none'}.", _HINT)
        reader.fieldnames = header
        for row in reader:
            yield f"Line {reader.line_num}", row
    except csv.Error as error:
        raise LoadError(f"Line {reader.line_num} of {name} is no CSV: {error}.", _HINT) from error
    finally:
        csv.field_size_limit(before)
