"""The small words of Word's XML: runs, styles, attributes. Both the transitional and the strict namespace are read."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lxml import etree

_SKIPPED = frozenset({
    "pPr", "rPr", "del", "moveFrom", "delText", "instrText", "delInstrText", "txbxContent", "Fallback", "tbl",
    "sectPr", "object",
})  # fmt: skip
_SINGLE = {"tab": "\t", "cr": "\n", "noBreakHyphen": "-", "lastRenderedPageBreak": "\v"}
_HEADING_NAME = re.compile(r"heading ([1-9])")


def local(element: etree._Element | None) -> str:
    """Name without the namespace; empty for comments."""
    return element.tag.rpartition("}")[2] if element is not None and isinstance(element.tag, str) else ""


def child(element: etree._Element | None, name: str) -> etree._Element | None:
    """First child of that name in any namespace."""
    return element.find("{*}" + name) if element is not None else None


def attribute(element: etree._Element | None, name: str) -> str:
    """An attribute in any namespace; empty when absent."""
    if element is None:
        return ""
    return next((str(value) for key, value in element.attrib.items() if str(key).rpartition("}")[2] == name), "")


def run_pieces(element: etree._Element) -> Iterator[str]:
    """Text of a paragraph in pieces.

    A piece is text, form feed for a page break, vertical tab for a page end that Word recorded when it last laid the
    document out, or U+001E with "footnote 3" for a reference. Deleted and hidden text is left out.
    """
    for item in element:
        name = local(item)
        if name == "t":
            yield item.text or ""
        elif name == "br":
            yield "\f" if attribute(item, "type") == "page" else "\n"
        elif name in _SINGLE:
            yield _SINGLE[name]
        elif name in ("footnoteReference", "endnoteReference"):
            yield f"\x1e{name.removesuffix('Reference')} {attribute(item, 'id')}"
        elif name == "p":  # a paragraph inside what was asked for: a note, a header
            yield from run_pieces(item)
            yield " "
        elif name and name not in _SKIPPED and not (name == "r" and _hidden(item)):
            yield from run_pieces(item)


def _hidden(run: etree._Element) -> bool:
    vanish = child(child(run, "rPr"), "vanish")
    return vanish is not None and attribute(vanish, "val") not in ("0", "false", "off")


class Styles:
    """Paragraph styles: which are headings, at what level."""

    def __init__(self, root: etree._Element | None) -> None:
        self._styles: dict[str, etree._Element] = {}
        for style in root.iterfind("{*}style") if root is not None else ():
            self._styles[attribute(style, "styleId")] = style
        self._levels: dict[str, int] = {}

    def lead(self, properties: etree._Element | None) -> str:
        """What to write before a paragraph: `## ` for a heading, `- ` for an item of a list, else nothing."""
        if properties is None:
            return ""
        level = _outline(properties) or self._level(attribute(child(properties, "pStyle"), "val"))
        if level:
            return "#" * min(level, 6) + " "
        numbered = child(child(properties, "numPr"), "numId")
        return "- " if numbered is not None and attribute(numbered, "val") != "0" else ""

    def _level(self, style: str, steps: int = 10) -> int:
        """Heading level of a style, 0 for none; styles inherit from the one they are based on."""
        if style in self._levels:
            return self._levels[style]
        element = self._styles.get(style)
        name = attribute(child(element, "name"), "val").lower() or style.lower()
        match = _HEADING_NAME.fullmatch(name) or re.fullmatch(r"heading([1-9])", style.lower())
        level = int(match[1]) if match else 1 if name == "title" else _outline(child(element, "pPr"))
        based = attribute(child(element, "basedOn"), "val")
        if not level and based and steps:
            level = self._level(based, steps - 1)
        self._levels[style] = level
        return level


def _outline(properties: etree._Element | None) -> int:
    """Outline level 1 to 9; 0 for body text."""
    value = attribute(child(properties, "outlineLvl"), "val")
    return int(value) + 1 if value.isdigit() and int(value) < 9 else 0
