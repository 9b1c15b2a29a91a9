"""PowerPoint: read from the slides' XML, so that a malformed shape costs no text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from lxml import etree
from pptx import Presentation
from pptx.exc import PythonPptxError
from pptx.slide import Slide

from ingest.archive import DAMAGE, open_zip, parse_xml
from ingest.loaders.base import BaseLoader, make_page
from ingest.text import one_line
from ragkit.errors import LoadError
from ragkit.types import Page

_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_P = "{http://schemas.openxmlformats.org/presentationml/2006/main}"
_DIAGRAM = "/diagramData"
_DAMAGED = (*DAMAGE, PythonPptxError, KeyError, AttributeError, IndexError, TypeError, etree.LxmlError)


class PptxLoader(BaseLoader):
    """A slide is a page with its title; text in reading order of the file, tables, diagrams, then the notes."""

    suffixes: ClassVar[tuple[str, ...]] = (".pptx", ".pptm", ".potx", ".ppsx")

    def load(self, path: Path) -> Iterator[Page]:
        """One page a slide, those without text included."""
        open_zip(path).close()
        try:
            deck = Presentation(str(path))
            slides = list(deck.slides)
            self.total = len(slides)
            self.title = one_line(deck.core_properties.title or "")
        except _DAMAGED as error:
            raise LoadError(f"The presentation is damaged: {error}.", "Open it in PowerPoint and save it.") from error
        for number, slide in enumerate(slides, start=1):
            title = _title(slide)
            parts = [*_texts(slide.element), *_diagrams(slide)]
            if title and title in parts:
                parts.remove(title)
            notes = _notes(slide)
            text = "\n\n".join([*([title] if title else []), *parts, *([f"Notes: {notes}"] if notes else [])])
            yield make_page(number, text, title=title)


def _title(slide: Slide) -> str:
    for shape in slide.element.iter(f"{_P}sp"):
        place = shape.find(f"{_P}nvSpPr/{_P}nvPr/{_P}ph")
        if place is not None and place.get("type") in ("title", "ctrTitle"):
            return one_line(" ".join(_paragraphs(shape)))
    return ""


def _paragraphs(element: etree._Element) -> list[str]:
    """Texts of all paragraphs in an element; line breaks inside become newlines."""
    found = []
    for paragraph in element.iter(f"{_A}p"):
        pieces = ["\n" if node.tag == f"{_A}br" else node.text or "" for node in paragraph.iter(f"{_A}t", f"{_A}br")]
        text = "".join(pieces).strip()
        if text:
            found.append(text)
    return found


def _texts(element: etree._Element) -> list[str]:
    """One text a shape or table, in the order of the file."""
    found = []
    for node in element.iter(f"{_P}txBody", f"{_A}tbl"):
        if node.tag == f"{_A}tbl":
            rows = [
                " | ".join(" ".join(_paragraphs(cell)) for cell in row.iter(f"{_A}tc")) for row in node.iter(f"{_A}tr")
            ]
            text = "\n".join(rows)
        else:
            text = "\n".join(_paragraphs(node))
        if text.strip(" |\n"):
            found.append(text)
    return found


def _related(slide: Slide, ending: str) -> list[bytes]:
    """Contents of the parts that a slide refers to by a relation of this kind."""
    relations = slide.part.rels.values()
    return [item.target_part.blob for item in relations if not item.is_external and item.reltype.endswith(ending)]


def _diagrams(slide: Slide) -> list[str]:
    """Texts of SmartArt, which is kept beside the slide."""
    return ["\n".join(_paragraphs(parse_xml(blob, recover=True))) for blob in _related(slide, _DIAGRAM)]


def _notes(slide: Slide) -> str:
    for blob in _related(slide, "/notesSlide"):
        for shape in parse_xml(blob, recover=True).iter(f"{_P}sp"):
            place = shape.find(f"{_P}nvSpPr/{_P}nvPr/{_P}ph")
            if place is not None and place.get("type") == "body":
                return "\n".join(_paragraphs(shape))
    return ""
