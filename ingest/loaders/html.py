"""Web pages: trafilatura drops the boilerplate, and where it drops content too, the visible text is taken."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import trafilatura
from lxml import html

from ingest.loaders.base import BaseLoader, make_page
from ingest.loaders.markup import CHROME, DROPPED, page_title, parse_html, visible_text
from ingest.text import decode, one_line
from ragkit.types import Page

KEEP = 0.9
"""Share of the words outside links and menus that an extraction must keep to be believed."""
_META_CHARSET = re.compile(rb"""<(?:meta|\?xml)[^>]{0,200}?(?:charset|encoding)\s*=\s*["']?([\w.:-]+)""", re.IGNORECASE)
_DATA_URI = re.compile(r"""data:[\w/+.-]*;base64,[A-Za-z0-9+/=\s]{64,}""")
_WORD = re.compile(r"\w+")
_SPACE = re.compile(r"\s+")
_BOLD = re.compile(r"\*\*([^*\n]+)\*\*")
_NOT_TEXT = CHROME | DROPPED | {"a"}


class HtmlLoader(BaseLoader):
    """One page: the main text of a web page."""

    suffixes: ClassVar[tuple[str, ...]] = (".html", ".htm", ".xhtml", ".shtml")

    def load(self, path: Path) -> Iterator[Page]:
        """One page."""
        data = path.read_bytes()
        declared = _META_CHARSET.search(data[:4096])
        source = _DATA_URI.sub("", decode(data, declared[1].decode("ascii") if declared else ""))
        tree = parse_html(source)
        self.title = one_line(page_title(tree))
        yield make_page(1, main_text(tree))


def main_text(tree: html.HtmlElement) -> str:
    """The page without boilerplate, but with its running text, wherever on the page it stands."""
    _flatten(tree)
    seen = visible_text(tree)
    wanted = _words(" ".join(_unlinked(tree)))
    heading = " ".join((tree.findtext(".//h1") or "").split())
    everything = visible_text(tree, chrome=True)
    _drop_menus(tree)
    extracted = trafilatura.extract(
        tree, output_format="markdown", include_comments=False, include_tables=True, include_links=False,
        include_images=False, favor_recall=True, deduplicate=False,
    )  # fmt: skip
    if extracted and (wanted & _words(extracted)).total() >= KEEP * wanted.total():
        text = _BOLD.sub(r"\1", extracted)
        return text if heading in text else f"# {heading}\n\n{text}"
    return seen if _WORD.search(seen) else everything


def _words(text: str) -> Counter[str]:
    return Counter(word.casefold() for word in _WORD.findall(text))


def _drop_menus(tree: html.HtmlElement) -> None:
    """Take out what is marked as navigation and stands outside the article; trafilatura keeps it on short pages."""
    for element in list(tree.iter("nav", "footer", "aside", "dialog")):
        if not any(above.tag in ("article", "main") for above in element.iterancestors()):
            element.drop_tree()


def _flatten(tree: html.HtmlElement) -> None:
    """Line breaks and indentation of the source mean nothing, except in preformatted text."""
    kept = {node for block in tree.iter("pre", "textarea") for node in block.iter()}
    for element in tree.iter():
        if element.text and element not in kept:
            element.text = _SPACE.sub(" ", element.text)
        if element.tail and (element not in kept or element.tag in ("pre", "textarea")):
            element.tail = _SPACE.sub(" ", element.tail)


def _unlinked(tree: html.HtmlElement) -> list[str]:
    """Text outside links and outside what only serves the page: menus, footers, forms, scripts."""
    found = []
    for element in tree.iter():
        above = [element, *element.iterancestors()]
        if not any(node.tag in _NOT_TEXT for node in above):
            found.append(element.text or "")
        if not any(node.tag in _NOT_TEXT for node in above[1:]):
            found.append(element.tail or "")
    return found
