"""Rich Text Format."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from striprtf.striprtf import rtf_to_text

from ingest.loaders.base import BaseLoader, make_page
from ragkit.types import Page

_PAGE_BREAK = re.compile(r"\\page(?![a-zA-Z])[ ]?")
_BREAK = "\u241f\u240c\u241f"
"""Stands for a page break while the text is extracted: characters that no document has in this order."""


class RtfLoader(BaseLoader):
    """Text of an RTF file; its page breaks separate pages."""

    suffixes: ClassVar[tuple[str, ...]] = (".rtf",)

    def load(self, path: Path) -> Iterator[Page]:
        """One page, or as many as the file's page breaks mark."""
        source = _PAGE_BREAK.sub(lambda _: r"\u9247?\u9228?\u9247?", path.read_bytes().decode("cp1252", "replace"))
        text = rtf_to_text(source, errors="replace")
        for number, part in enumerate(text.split(_BREAK), start=1):
            yield make_page(number, re.sub(r"\|(?=\n|$)", "", part))
