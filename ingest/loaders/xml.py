"""XML of any vocabulary."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from lxml import etree

from ingest.archive import parse_xml
from ingest.loaders.base import BaseLoader, make_page
from ragkit.types import Page

MAX_DEPTH = 200


class XmlLoader(BaseLoader):
    """One page: records as "name: value" lines with an empty line between them, prose as paragraphs."""

    suffixes: ClassVar[tuple[str, ...]] = (".xml", ".svg", ".rss", ".atom")

    def load(self, path: Path) -> Iterator[Page]:
        """One page."""
        root = parse_xml(path.read_bytes())
        out: list[str] = []
        _walk(root, out, 0)
        yield make_page(1, re.sub(r"\n{3,}", "\n\n", "\n".join(out)))


def _name(element: etree._Element) -> str:
    return etree.QName(element).localname if isinstance(element.tag, str) else ""


def _flat(element: etree._Element) -> str:
    return " ".join(" ".join(element.itertext()).split())


def _walk(element: etree._Element, out: list[str], depth: int) -> None:
    """Mixed content is a paragraph, an element with text alone is a line, the rest is walked through."""
    children = [child for child in element if isinstance(child.tag, str)]
    mixed = bool((element.text or "").strip()) or any((child.tail or "").strip() for child in element)
    if depth > MAX_DEPTH or not children or (mixed and not _blocks(children)):
        text = _flat(element)
        if text:
            out.append(text if mixed and children else f"{_name(element)}: {text}" if _field(element) else text)
        return
    out.append("")
    out += [" ".join((element.text or "").split())] if mixed else []
    for child in children:
        _walk(child, out, depth + 1)
        tail = " ".join((child.tail or "").split())
        out += [tail] if tail else []
    out.append("")


def _blocks(children: list[etree._Element]) -> bool:
    """Whether there are elements with structure of their own, so that joining all text would mix them up."""
    return any(len(grandchild) for child in children for grandchild in child)


def _field(element: etree._Element) -> bool:
    """Whether an element is one of several with different names: the columns of a record."""
    parent = element.getparent()
    return parent is not None and len({_name(child) for child in parent if isinstance(child.tag, str)}) > 1
