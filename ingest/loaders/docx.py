"""Word documents, read from their XML in document order, with pages as Word last laid them out.

A file holds explicit page breaks and, when Word saved it, marks where pages ended on the screen
(`lastRenderedPageBreak`). Both separate pages here. Where neither tells the true pages (other programs write no marks,
and the file's own page count is another), the pieces are labelled "part 1", "part 2", so that no false page is cited.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar
from zipfile import ZipFile

from lxml import etree

from ingest.archive import open_zip, parse_xml, read_part
from ingest.loaders.base import BaseLoader, make_page
from ingest.loaders.wordml import Styles, attribute, child, local, run_pieces
from ingest.text import one_line
from ragkit.errors import LoadError
from ragkit.types import Page

_MAIN = "word/document.xml"
_THROUGH = frozenset(["sdt", "sdtContent", "ins", "moveTo", "customXml", "smartTag", "AlternateContent", "Choice"])
"""Wrappers whose blocks are read as if they stood alone."""
_HARD, _SOFT = "\f", "\v"


class DocxLoader(BaseLoader):
    """Headings as `# `, lists as `- `, tables as ` | ` rows; footnotes at the end of their page."""

    suffixes: ClassVar[tuple[str, ...]] = (".docx", ".docm", ".dotx")

    def load(self, path: Path) -> Iterator[Page]:
        """One page a laid-out page, empty ones included."""
        with open_zip(path) as archive:
            parts = _Parts(archive)
            root = parse_xml(read_part(archive, parts.main), "The document")
            body = child(root, "body")
            if body is None:
                raise LoadError("The document is damaged: it has no body.", "Open it in Word and save it again.")
            self.title = parts.title()
            reader = _Body(body, Styles(parts.xml("styles")), parts.notes())
            reader.read(parts.headers())
            pages, stated = reader.pages, parts.page_count()
        self.total = len(pages)
        word = "part " if len(pages) > 1 and not reader.rendered and stated not in (0, len(pages)) else ""
        for number, blocks in enumerate(pages, start=1):
            yield make_page(number, "\n\n".join(blocks), f"{word}{number}")


class _Parts:
    """The parts of the package that matter, found by their relations."""

    def __init__(self, archive: ZipFile) -> None:
        self.archive = archive
        self.names = set(archive.namelist())
        self.main = next((target for kind, target in self._relations("") if kind == "officeDocument"), _MAIN)
        self.related = self._relations(self.main)

    def _relations(self, part: str) -> list[tuple[str, str]]:
        folder, name = posixpath.split(part)
        source = posixpath.join(folder, "_rels", f"{name}.rels")
        if source not in self.names:
            return []
        found = []
        for item in parse_xml(read_part(self.archive, source), recover=True):
            if isinstance(item.tag, str) and item.get("TargetMode") != "External":
                target = posixpath.normpath(posixpath.join("/", folder, item.get("Target", ""))).lstrip("/")
                found.append((item.get("Type", "").rpartition("/")[2], target))
        return found

    def xml(self, kind: str) -> etree._Element | None:
        """Root of the first related part of a kind."""
        name = next((target for found, target in self.related if found == kind and target in self.names), "")
        return parse_xml(read_part(self.archive, name), recover=True) if name else None

    def notes(self) -> dict[str, str]:
        """Texts of foot- and endnotes by "footnote 3" or "endnote 1"."""
        found = {}
        for kind in ("footnotes", "endnotes"):
            root = self.xml(kind)
            for note in root if root is not None else ():
                text = " ".join("".join(run_pieces(note)).split()) if isinstance(note.tag, str) else ""
                if text and attribute(note, "type") in ("", "normal"):
                    found[f"{kind[:-1]} {attribute(note, 'id')}"] = text
        return found

    def headers(self) -> list[str]:
        """Distinct texts of page headers and footers, page numbers aside."""
        texts: dict[str, None] = {}
        for kind, name in self.related:
            if kind in ("header", "footer") and name in self.names:
                root = parse_xml(read_part(self.archive, name), recover=True)
                text = " ".join(" ".join("".join(run_pieces(item)) for item in root).split())
                if re.search(r"[^\W\d]{2}", text):
                    texts[text] = None
        return list(texts)

    def title(self) -> str:
        """Title in the document's properties."""
        core = "docProps/core.xml"
        if core not in self.names:
            return ""
        root = parse_xml(read_part(self.archive, core), recover=True)
        return one_line(root.findtext("{http://purl.org/dc/elements/1.1/}title") or "")

    def page_count(self) -> int:
        """Pages by the program that saved the file; 0 when it does not say."""
        if "docProps/app.xml" not in self.names:
            return 0
        count = parse_xml(read_part(self.archive, "docProps/app.xml"), recover=True).findtext("{*}Pages") or ""
        return int(count) if count.isdigit() else 0


class _Body:
    """Walks the body and fills `pages`: for each page its blocks."""

    def __init__(self, body: etree._Element, styles: Styles, notes: dict[str, str]) -> None:
        self.body, self.styles, self.notes = body, styles, notes
        self.pages: list[list[str]] = [[]]
        self.pending_notes: list[str] = []
        self.fresh = True
        """Nothing was written since the page began, so that a second mark for the same break counts once."""
        self.rendered = next(body.iter("{*}lastRenderedPageBreak"), None) is not None
        self.sections = [attribute(child(section, "type"), "val") or "nextPage" for section in body.iter("{*}sectPr")]

    def read(self, headers: list[str]) -> None:
        """All blocks; headers and footers stand once, on the first page."""
        self.pages[0] += headers
        for block in self.body:
            self._block(block)
        self._flush_notes()

    def _block(self, block: etree._Element) -> None:
        name = local(block)
        if name == "p":
            self._paragraph(block)
        elif name == "tbl":
            self._table(block)
        elif name in _THROUGH:
            for inner in block:
                self._block(inner)

    def _add(self, text: str) -> None:
        if text.strip():
            self.pages[-1].append(text.strip())
            self.fresh = False

    def _break(self, kind: str = _SOFT) -> None:
        if kind == _HARD or not self.fresh:
            self._flush_notes()
            self.pages.append([])
            self.fresh = True

    def _flush_notes(self) -> None:
        self.pages[-1] += self.pending_notes
        self.pending_notes = []

    def _paragraph(self, paragraph: etree._Element) -> None:
        properties = child(paragraph, "pPr")
        before = child(properties, "pageBreakBefore")
        if before is not None and attribute(before, "val") not in ("0", "false", "off"):
            self._break()
        lead = self.styles.lead(properties)
        text = ""
        for piece in run_pieces(paragraph):
            if piece in (_HARD, _SOFT):
                if text.strip():
                    self._add(lead + text.strip())
                    lead = ""
                self._break(piece)
                text = ""
            elif piece.startswith("\x1e"):  # a reference to a note
                text += self._note(piece[1:])
            else:
                text += piece
        if text.strip():
            self._add(lead + text.strip())
        for box in _boxes(paragraph):
            self._block(box)
        if child(properties, "sectPr") is not None:
            self._section()

    def _note(self, key: str) -> str:
        if key not in self.notes:
            return ""
        mark = f"[{key}]"
        self.pending_notes.append(f"{mark} {self.notes[key]}")
        return mark

    def _section(self) -> None:
        """How the next section begins; an odd or even start may leave a page blank."""
        if len(self.sections) < 2:
            return
        self.sections.pop(0)
        kind = self.sections[0]
        if kind in ("continuous", "nextColumn"):
            return
        self._break()
        if (kind == "oddPage" and len(self.pages) % 2 == 0) or (kind == "evenPage" and len(self.pages) % 2 == 1):
            self._break(_HARD)

    def _table(self, table: etree._Element) -> None:
        rows: list[str] = []
        for row in _through(table, "tr"):
            cells = list(_through(row, "tc"))
            if len(cells) == 1:  # a table that only lays the page out
                self._add("\n".join(rows))
                rows = []
                for block in cells[0]:
                    self._block(block)
                continue
            breaks, before = _row_breaks(cells)
            if breaks and before:
                self._add("\n".join(rows))
                rows = []
                self._break()
            rows.append(" | ".join(self._cell(cell) for cell in cells))
            for _ in range(breaks - before):
                self._add("\n".join(rows))
                rows = []
                self._break(_HARD)
        self._add("\n".join(row for row in rows if row.strip(" |")))

    def _cell(self, cell: etree._Element) -> str:
        """A cell as one line; a table inside it as "a, b; c, d"."""
        parts = []
        for block in cell.iter("{*}p", "{*}tbl"):
            if next(block.iterancestors("{*}tc")) is not cell:
                continue
            if local(block) == "tbl":
                rows = [", ".join(filter(None, map(self._cell, _through(row, "tc")))) for row in _through(block, "tr")]
                parts.append("; ".join(filter(None, rows)))
            else:
                pieces = run_pieces(block)
                parts.append("".join(self._note(part[1:]) if part.startswith("\x1e") else part for part in pieces))
                parts += ["".join(run_pieces(box)) for box in _boxes(block)]
        return " ".join(" ".join(parts).split())


def _through(element: etree._Element, name: str) -> Iterator[etree._Element]:
    """Children of a name, also inside content controls and insertions."""
    for item in element:
        if local(item) == name:
            yield item
        elif local(item) in _THROUGH:
            yield from _through(item, name)


def _boxes(paragraph: etree._Element) -> Iterator[etree._Element]:
    """Blocks in the text boxes of a paragraph; the older copy that Word adds for old programs is left out."""
    for box in paragraph.iter("{*}txbxContent"):
        if not any(local(above) == "Fallback" for above in box.iterancestors()):
            nearest = next((above for above in box.iterancestors() if local(above) == "p"), None)
            if nearest is paragraph:
                yield from box


def _row_breaks(cells: list[etree._Element]) -> tuple[int, bool]:
    """Page ends recorded in a row (the cell that has most), and whether the first comes before any of its text."""
    best, before = 0, False
    for cell in cells:
        pieces = [piece for block in cell.iter("{*}p") for piece in run_pieces(block)]
        count = pieces.count(_SOFT)
        if count > best:
            best, before = count, not "".join(pieces[: pieces.index(_SOFT)]).strip()
    return best, before
