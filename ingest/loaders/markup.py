"""HTML as text: block by block, headings as `# `, lists as `- `, table rows with ` | `, code kept as it stands."""

from __future__ import annotations

import re

from lxml import etree, html

from ragkit.errors import LoadError

DROPPED = frozenset({
    "script", "style", "noscript", "template", "head", "title", "meta", "link", "svg", "canvas", "iframe", "object",
    "embed", "audio", "video", "map",
})  # fmt: skip
CHROME = frozenset(["nav", "header", "footer", "aside", "form", "button", "select", "dialog"])
"""Elements that hold menus rather than content, when they are not inside the article."""
_BLOCKS = frozenset({
    "address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "div", "dl", "dt",
    "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hgroup",
    "hr", "html", "legend", "li", "main", "menu", "nav", "ol", "p", "section", "summary", "table", "tbody", "tfoot",
    "thead", "ul",
})  # fmt: skip
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_CELLS = re.compile(r"[ \t]*\x1f[ \t]*")
_CELL = "\x1f"
_CONTROLS = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|&#(?:0*(?:[0-8]|1[1-9]|2\d|3[01])|x0*1?[0-9a-f]);", re.IGNORECASE
)
MAX_DEPTH = 200
"""Levels of nesting that are followed; deeper elements give their bare text."""


def parse_html(text: str) -> html.HtmlElement:
    """The tree of a page. Raises LoadError when there is nothing in it."""
    parser = html.HTMLParser(encoding="utf-8", huge_tree=False, remove_comments=True, remove_pis=True, no_network=True)
    text = _CONTROLS.sub(" ", text)  # lxml lets them in and then refuses to handle them
    try:
        tree = html.document_fromstring(text.encode("utf-8", "replace"), parser=parser)
    except (etree.ParserError, etree.XMLSyntaxError, ValueError) as error:
        raise LoadError("The page holds no HTML that can be read.", "Save it again as a web page.") from error
    return tree


def visible_text(root: html.HtmlElement, *, chrome: bool = False) -> str:
    """What a reader of the page sees, as lines; `chrome` keeps menus, headers and footers too."""
    out: list[str] = []
    _walk(root, out, CHROME if not chrome else frozenset(), 0)
    text = "".join(out)
    lines = [_row(line) for line in text.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")


def _row(line: str) -> str:
    """A line without double spaces; the marks between table cells become ` | `. Code lines start with U+001E."""
    if line.startswith("\x1e"):
        return line[1:].rstrip()
    if _CELL in line:
        line = _CELLS.sub(" | ", line.strip().strip(_CELL))
    return " ".join(line.split())


def _walk(element: html.HtmlElement, out: list[str], dropped: frozenset[str], depth: int) -> None:
    tag = element.tag if isinstance(element.tag, str) else ""
    tag = tag.rpartition("}")[2].lower()
    if not tag or tag in DROPPED or tag in dropped or _hidden(element):
        return
    if depth > MAX_DEPTH:
        out.append(" ".join(element.itertext()))
        return
    if tag == "pre":
        code = "".join(element.itertext()).strip("\n")
        out.append("\n\n" + "\n".join("\x1e" + line for line in code.split("\n")) + "\n\n")
        return
    if tag in _HEADINGS:
        heading = " ".join(" ".join(element.itertext()).split())
        out.append(f"\n\n{'#' * _HEADINGS[tag]} {heading}\n\n" if heading else "")
        return
    before, after = _margins(tag, _in_cell(element))
    out.append(before)
    inside = frozenset[str]() if tag in ("article", "main") else dropped
    out.append(_flat(element.text))
    for child in element:
        _walk(child, out, inside, depth + 1)
        out.append(_flat(child.tail))
    out.append(after)


def _in_cell(element: html.HtmlElement) -> bool:
    """Whether the element stands in a table cell whose row has others: such a row is one line."""
    above = element.getparent()
    while above is not None and above.tag not in ("td", "th", "tr", "table"):
        above = above.getparent()
    return above is not None and above.tag in ("td", "th") and _siblings(above) > 1


def _siblings(element: html.HtmlElement) -> int:
    """Children of the parent, the element itself included."""
    parent = element.getparent()
    return 0 if parent is None else len(parent)


def _flat(text: str | None) -> str:
    return re.sub(r"\s+", " ", text) if text else ""


def _margins(tag: str, in_cell: bool) -> tuple[str, str]:
    if tag in ("td", "th"):
        return "", _CELL
    if in_cell and tag != "tr":
        return " ", " "
    if tag == "tr":
        return "\n", "\n"
    if tag == "li":
        return "\n- ", "\n"
    if tag in ("br", "dt", "dd", "option"):
        return "\n", "" if tag == "br" else "\n"
    return ("\n\n", "\n\n") if tag in _BLOCKS else ("", "")


def _hidden(element: html.HtmlElement) -> bool:
    """Text that no reader sees is not quoted to a model either."""
    style = (element.get("style") or "").replace(" ", "").lower()
    return element.get("hidden") is not None or "display:none" in style or "visibility:hidden" in style


def page_title(root: html.HtmlElement) -> str:
    """The text of `title`."""
    found = root.find(".//title")
    return " ".join(found.text_content().split()) if found is not None else ""


def first_heading(text: str) -> str:
    """The first `# ` heading of a text made here."""
    found = re.search(r"^#{1,3} (.+)$", text, re.MULTILINE)
    return found[1] if found else ""
