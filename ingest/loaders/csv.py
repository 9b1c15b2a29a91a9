"""CSV and TSV: delimiter, header and encoding are found; every record is a page."""

from __future__ import annotations

import csv
import itertools
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from ingest.loaders.base import BaseLoader
from ingest.loaders.records import record_page
from ingest.text import one_line, open_text
from ragkit.errors import LoadError
from ragkit.types import Page

MAX_CELL = 4 << 20
"""Characters of one cell."""
_DELIMITERS = ",;\t|"
_LOOK = 64 * 1024
"""Characters that the delimiter and the header are judged by."""
_NUMBER = re.compile(r"[\s\d.,%$€£+-]+")


class CsvLoader(BaseLoader):
    """A record is a page; a line above the header that fills one cell only is the title."""

    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".tsv", ".tab")

    def load(self, path: Path) -> Iterator[Page]:
        """One page a record."""
        csv.field_size_limit(MAX_CELL)
        with open_text(path) as file:
            sample = file.read(_LOOK)
        delimiter = find_delimiter(sample)
        with open_text(path) as file:
            try:
                yield from self._records(csv.reader(file, delimiter=delimiter, skipinitialspace=True))
            except csv.Error as error:
                raise LoadError(f"The table cannot be read: {error}.", "Check its quotation marks.") from error

    def _records(self, rows: Iterator[list[str]]) -> Iterator[Page]:
        filled = (row for row in rows if any(cell.strip() for cell in row))
        first = next(filled, None)
        if first is None:
            return
        second = next(filled, None)
        while second is not None and _cells(first) == 1 < _cells(second):
            self.title = self.title or one_line(next(cell for cell in first if cell.strip()))
            first, second = second, next(filled, None)
        names = column_names(first) if second is not None else None
        pending = [row for row in (None if names else first, second) if row is not None]
        names = names or [f"column {index}" for index in range(1, len(first) + 1)]
        for number, row in enumerate(itertools.chain(pending, filled), start=1):
            yield record_page(number, _record(names, row))


def _cells(row: list[str]) -> int:
    return sum(bool(cell.strip()) for cell in row)


def _record(names: list[str], row: list[str]) -> dict[str, str]:
    extra = [f"column {index}" for index in range(len(names) + 1, len(row) + 1)]
    return {name: cell.strip() for name, cell in zip([*names, *extra], row, strict=False)}


def column_names(row: list[str]) -> list[str] | None:
    """The first row as column names; None when it looks like data (an empty, repeated or numeric cell)."""
    cells = [" ".join(cell.split()) for cell in row]
    named = [cell for cell in cells if cell]
    numeric = [cell for cell in named if _NUMBER.fullmatch(cell)]
    if len(set(named)) < len(named) or numeric or len(named) < max(1, len(cells) - 1):
        return None
    return [cell or f"column {index}" for index, cell in enumerate(cells, start=1)]


def find_delimiter(sample: str) -> str:
    """The delimiter that cuts the rows most evenly into more than one cell; a comma when none does."""
    lines = sample.splitlines()
    if len(sample) >= _LOOK:
        lines = lines[:-1]
    best, best_score = ",", 0.0
    for delimiter in _DELIMITERS:
        try:
            widths = [len(row) for row in csv.reader(lines, delimiter=delimiter, skipinitialspace=True) if row]
        except csv.Error:
            continue
        (width, rows), *_ = Counter(widths).most_common(1) or [(1, 0)]
        if width > 1 and rows / len(widths) > best_score + 0.05:
            best, best_score = delimiter, rows / len(widths)
    return best
