"""JSON and JSON lines: every record is a page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from ingest.loaders.base import BaseLoader, make_page
from ingest.loaders.records import MAX_DEPTH, lines, record_page
from ingest.text import open_text, read_text
from ragkit.errors import LoadError
from ragkit.types import Page


def parse(text: str, where: str) -> Any:  # noqa: ANN401 - whatever JSON can hold
    """A JSON value. Raises LoadError with the place of the fault, or when it is nested too deep."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise LoadError(f"{where} is not valid JSON: {error}.", "Mend it, or save it as plain text.") from error
    except RecursionError as error:
        raise _too_deep(where) from error
    if _deeper(value, MAX_DEPTH):
        raise _too_deep(where)
    return value


def _too_deep(where: str) -> LoadError:
    return LoadError(f"{where} is nested more than {MAX_DEPTH} levels deep.", "Flatten it first.")


def _deeper(value: object, levels: int) -> bool:
    """Whether a value has more than so many levels; level by level, so that no stack can overflow."""
    layer = [value]
    for _ in range(levels):
        children: list[object] = []
        for item in layer:
            if isinstance(item, dict):
                children += item.values()
            elif isinstance(item, list):
                children += item
        if not children:
            return False
        layer = children
    return True


def _pages(values: list[Any]) -> Iterator[Page]:
    for number, value in enumerate(values, start=1):
        if isinstance(value, dict):
            yield record_page(number, value)
        else:
            yield make_page(number, "\n".join(lines(value)))


class JsonLoader(BaseLoader):
    """A list, or an object that wraps one list of objects: its items are pages. Anything else is one page."""

    suffixes: ClassVar[tuple[str, ...]] = (".json",)

    def load(self, path: Path) -> Iterator[Page]:
        """One page a record."""
        value = parse(read_text(path), "The file")
        if isinstance(value, dict):
            lists = [item for item in value.values() if isinstance(item, list) and item and isinstance(item[0], dict)]
            if len(lists) != 1:
                yield record_page(1, value)
                return
            self.title = str(value.get("title", ""))[:200]
            value = lists[0]
        yield from _pages(value if isinstance(value, list) else [value])


class JsonLinesLoader(BaseLoader):
    """One JSON value a line; empty lines are skipped."""

    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".ndjson")

    def load(self, path: Path) -> Iterator[Page]:
        """One page a record."""
        number = 0
        with open_text(path) as file:
            for position, line in enumerate(file, start=1):
                if line.strip():
                    number += 1
                    value = parse(line, f"Line {position:,}")
                    if isinstance(value, dict):
                        yield record_page(number, value)
                    else:
                        yield make_page(number, "\n".join(lines(value)))
