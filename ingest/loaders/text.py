"""Plain text and Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from ingest.loaders.base import BaseLoader, make_page
from ingest.text import one_line, open_text, read_text
from ragkit.types import Page

MAX_PAGE = 4 << 20
"""Characters of one page. A longer text (eight thick novels) is cut at a line end, so that memory stays bounded."""

_HEADING = re.compile(r"^#[ \t]+(.+?)[ \t#]*$", re.MULTILINE)


class TextLoader(BaseLoader):
    """Plain text in any encoding; form feeds separate pages."""

    suffixes: ClassVar[tuple[str, ...]] = (".txt", ".text", ".log", ".rst", ".tex")

    def load(self, path: Path) -> Iterator[Page]:
        """One page, or as many as form feeds mark."""
        for number, text in enumerate(_form_pages(path), start=1):
            yield make_page(number, text)


def _form_pages(path: Path) -> Iterator[str]:
    """Texts between form feeds, each at most about MAX_PAGE characters; a form feed at the end opens no page."""
    held = ""
    with open_text(path) as file:
        while block := file.read(1 << 20):
            *pages, held = (held + block).split("\f")
            yield from pages
            if len(held) > MAX_PAGE:
                cut = held.rfind("\n", 0, MAX_PAGE) + 1 or MAX_PAGE
                yield held[:cut]
                held = held[cut:]
    if held.strip():
        yield held


class MarkdownLoader(BaseLoader):
    """Markdown, kept as written, so that splitters see its headings."""

    suffixes: ClassVar[tuple[str, ...]] = (".md", ".markdown", ".mdx", ".qmd")

    def load(self, path: Path) -> Iterator[Page]:
        """One page."""
        text = read_text(path)
        heading = _HEADING.search(text)
        self.title = one_line(heading[1]) if heading else ""
        yield make_page(1, text)
