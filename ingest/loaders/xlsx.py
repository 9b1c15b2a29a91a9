"""Excel workbooks, read row by row."""

from __future__ import annotations

import datetime
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import openpyxl
from openpyxl.utils.exceptions import InvalidFileException

from ingest.archive import DAMAGE, open_zip
from ingest.loaders.base import BaseLoader, make_page
from ragkit.errors import LoadError
from ragkit.types import Page

MAX_PAGE = 16 << 20
"""Characters of one sheet."""

_DAMAGED = (*DAMAGE, InvalidFileException, KeyError, TypeError, IndexError, AttributeError, SyntaxError)


class XlsxLoader(BaseLoader):
    """A sheet is a page, a row a line with ` | ` between cells; formulas give the value last computed."""

    suffixes: ClassVar[tuple[str, ...]] = (".xlsx", ".xlsm")

    def load(self, path: Path) -> Iterator[Page]:
        """One page a sheet, empty ones included."""
        open_zip(path).close()
        warnings.simplefilter("ignore")  # openpyxl warns of every extension it does not draw
        try:
            # A file object, because openpyxl refuses paths whose ending it does not know.
            book = openpyxl.load_workbook(path.open("rb"), read_only=True, data_only=True)
            self.title = (book.properties.title or "") if book.properties else ""
            self.total = len(book.worksheets)
            for number, sheet in enumerate(book.worksheets, start=1):
                sheet.reset_dimensions()  # some programs write a wrong size into the file
                yield make_page(number, "\n".join(_rows(sheet.iter_rows(values_only=True))), sheet.title, sheet.title)
            book.close()
        except _DAMAGED as error:
            raise LoadError(f"The workbook is damaged: {error}.", "Open it in Excel and save it again.") from error


def _rows(rows: Iterator[tuple[object, ...]]) -> Iterator[str]:
    size = 0
    for row in rows:
        cells = [_text(cell) for cell in row]
        while cells and not cells[-1]:
            cells.pop()
        if cells:
            line = " | ".join(cells)
            size += len(line) + 1
            if size > MAX_PAGE:
                raise LoadError(f"A sheet holds more than {MAX_PAGE >> 20} million characters.", "Split the workbook.")
            yield line


def _text(value: object) -> str:
    """A cell as a person reads it: whole numbers without a point, dates without an empty time."""
    if value is None:
        return ""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else f"{value:.12g}"
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    return " ".join(str(value).split())
