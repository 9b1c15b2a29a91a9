"""OpenDocument text (LibreOffice Writer)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from lxml import etree

from ingest.archive import open_zip, parse_xml, read_part
from ingest.loaders.base import BaseLoader, make_page
from ingest.text import one_line
from ragkit.errors import LoadError
from ragkit.types import Page

_OFFICE = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
_TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
_TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
_STYLE = "{urn:oasis:names:tc:opendocument:xmlns:style:1.0}"
_FO = "{urn:oasis:names:tc:opendocument:xmlns:xsl-fo-compatible:1.0}"
_SKIPPED = (f"{_OFFICE}annotation", f"{_TEXT}tracked-changes", f"{_TEXT}sequence-decls", f"{_OFFICE}forms")
_BREAK = "\f"


class OdtLoader(BaseLoader):
    """Headings, paragraphs, lists, tables and notes; page breaks as the file records them."""

    suffixes: ClassVar[tuple[str, ...]] = (".odt", ".ott", ".fodt")

    def load(self, path: Path) -> Iterator[Page]:
        """One page, or as many as page breaks mark."""
        with open_zip(path) as archive:
            if b"encryption-data" in _optional(archive, "META-INF/manifest.xml"):
                raise LoadError("The document is encrypted and needs a password.", "Save a copy without the password.")
            content = parse_xml(read_part(archive, "content.xml"), "The document")
            meta = _optional(archive, "meta.xml")
        if meta:
            self.title = one_line(
                parse_xml(meta, recover=True).findtext(".//{http://purl.org/dc/elements/1.1/}title") or ""
            )
        body = content.find(f".//{_OFFICE}text")
        if body is None:
            raise LoadError("The file is no text document: it has no text part.", "Export it as PDF and add that.")
        walker = _Walker(content)
        for child in body:
            walker.block(child)
        pages = "\n\n".join(walker.out).split(_BREAK)
        for number, text in enumerate(pages, start=1):
            yield make_page(number, text)


def _optional(archive: object, name: str) -> bytes:
    try:
        return read_part(archive, name)  # type: ignore[arg-type]
    except LoadError:
        return b""


class _Walker:
    """Collects blocks; a form feed in them marks a page break."""

    def __init__(self, content: etree._Element) -> None:
        self.out: list[str] = []
        self.breaking: set[str] = set()
        for style in content.iter(f"{_STYLE}style"):
            properties = style.find(f"{_STYLE}paragraph-properties")
            new_page = properties is not None and properties.get(f"{_FO}break-before") == "page"
            if new_page or (style.get(f"{_STYLE}master-page-name") or ""):
                self.breaking.add(style.get(f"{_STYLE}name") or "")

    def block(self, element: etree._Element, lead: str = "") -> None:
        """Add the text of a block and of the blocks inside it."""
        tag = element.tag
        if not isinstance(tag, str) or tag in _SKIPPED:
            return
        if tag in (f"{_TEXT}p", f"{_TEXT}h"):
            self._paragraph(element, lead)
        elif tag == f"{_TABLE}table":
            self.out.append(self._table(element))
        elif tag == f"{_TEXT}soft-page-break":
            self._new_page()
        else:
            inner = "- " if tag == f"{_TEXT}list-item" else lead
            for child in element:
                self.block(child, inner)

    def _paragraph(self, element: etree._Element, lead: str) -> None:
        if element.get(f"{_TEXT}style-name") in self.breaking and any(part.strip(_BREAK) for part in self.out):
            self._new_page()
        text = _inline(element).strip()
        if element.tag == f"{_TEXT}h":
            level = element.get(f"{_TEXT}outline-level") or "1"
            lead = "#" * min(int(level) if level.isdigit() else 1, 6) + " "
        if text:
            self.out.append(text if text.startswith(_BREAK) else lead + text)

    def _new_page(self) -> None:
        """A break, unless nothing came since the last one: a style and the layout may record the same break twice."""
        if not self.out or self.out[-1] != _BREAK:
            self.out.append(_BREAK)

    def _table(self, table: etree._Element) -> str:
        rows = []
        for row in table.iter(f"{_TABLE}table-row"):
            if next(row.iterancestors(f"{_TABLE}table")) is table:
                cells = [" ".join(_inline(cell).split()) for cell in row.iterchildren(f"{_TABLE}table-cell")]
                rows.append(" | ".join(cells).rstrip(" |"))
        return "\n".join(row for row in rows if row)


def _inline(element: etree._Element) -> str:
    """Text of a paragraph or a cell: spaces, tabs, line breaks and soft page breaks as characters."""
    out = [element.text or ""]
    for child in element:
        tag = child.tag
        if tag == f"{_TEXT}s":
            count = child.get(f"{_TEXT}c") or "1"
            out.append(" " * min(int(count) if count.isdigit() else 1, 100))
        elif tag == f"{_TEXT}tab":
            out.append("\t")
        elif tag == f"{_TEXT}line-break":
            out.append("\n")
        elif tag == f"{_TEXT}soft-page-break":
            out.append(_BREAK)
        elif isinstance(tag, str) and tag not in _SKIPPED:
            gap = "\n" if tag in (f"{_TEXT}p", f"{_TEXT}h", f"{_TABLE}table-row") else ""
            out.append(gap + _inline(child) + (" " if tag == f"{_TABLE}table-cell" else gap))
        out.append(child.tail or "")
    return "".join(out)
