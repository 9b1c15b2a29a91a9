"""What every loader shares."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from ingest.text import clean, one_line
from ragkit.types import Page


class BaseLoader:
    """A loader: `load(path)` yields pages.

    From the first page on, `title` is what the document calls itself, and `total` how many pages it has, where the
    kind of file says so beforehand (else 0).
    """

    suffixes: ClassVar[tuple[str, ...]] = ()
    """File endings this loader is meant for, lower case, with the dot."""
    no_text: ClassVar[tuple[str, str]] = ("The file contains no text.", "There is nothing to search in it.")
    """Reason and hint when no page has a character."""

    def __init__(self) -> None:
        self.title = ""
        self.total = 0

    def load(self, path: Path) -> Iterator[Page]:
        """Pages of the file, numbered from 1. Raises LoadError with the reason when it cannot be read."""
        raise NotImplementedError


def make_page(number: int, text: str, label: str = "", title: str = "") -> Page:
    """A page with clean text; without a label of its own it is called by its number."""
    label, title = one_line(label), one_line(title)
    return Page(number=number, label=label or str(number), text=clean(text), title=title)
