"""E-books: the chapters in the order of the spine."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote
from zipfile import ZipFile

from lxml import etree

from ingest.archive import open_zip, parse_xml, read_part
from ingest.loaders.base import BaseLoader, make_page
from ingest.loaders.markup import first_heading, page_title, parse_html, visible_text
from ingest.text import decode, one_line
from ragkit.errors import LoadError
from ragkit.types import Page

_CONTAINER = "META-INF/container.xml"


class EpubLoader(BaseLoader):
    """A document of the spine is a page, labelled and titled by the table of contents or its first heading."""

    suffixes: ClassVar[tuple[str, ...]] = (".epub",)

    def load(self, path: Path) -> Iterator[Page]:
        """One page a document of the spine, those without text included."""
        with open_zip(path) as archive:
            if "META-INF/encryption.xml" in archive.namelist() and b"EncryptedKey" in read_part(
                archive, "META-INF/encryption.xml"
            ):
                raise LoadError("The e-book is protected (DRM) and cannot be read.", "Use an unprotected edition.")
            container = parse_xml(read_part(archive, _CONTAINER), "The e-book")
            root_file = container.find(".//{*}rootfile")
            if root_file is None:
                raise LoadError("The e-book is damaged: it does not say where its content is.", "Download it again.")
            opf_name = unquote(root_file.get("full-path", ""))
            opf = parse_xml(read_part(archive, opf_name), "The e-book", recover=True)
            self.title = one_line(opf.findtext(".//{http://purl.org/dc/elements/1.1/}title") or "")
            base = posixpath.dirname(opf_name)
            titles = _contents(archive, opf, base)
            spine = _spine(opf, base)
            self.total = len(spine)
            for number, name in enumerate(spine, start=1):
                yield _chapter(archive, number, name, titles)


def _spine(opf: etree._Element, base: str) -> list[str]:
    """Names of the chapters in reading order."""
    items = {item.get("id"): item.get("href", "") for item in opf.iterfind(".//{*}manifest/{*}item")}
    order = [items[ref.get("idref")] for ref in opf.iterfind(".//{*}spine/{*}itemref") if ref.get("idref") in items]
    return [_join(base, href) for href in order]


def _join(base: str, href: str) -> str:
    return posixpath.normpath(posixpath.join(base, unquote(href.partition("#")[0])))


def _chapter(archive: ZipFile, number: int, name: str, titles: dict[str, str]) -> Page:
    if name not in archive.namelist():  # a spine may name a part that was left out; the rest of the book is read
        return make_page(number, "")
    source = decode(read_part(archive, name))
    if not source.strip():
        return make_page(number, "")
    tree = parse_html(source)
    text = visible_text(tree, chrome=True)
    title = titles.get(name) or first_heading(text) or page_title(tree)
    return make_page(number, text, title, title)


def _contents(archive: ZipFile, opf: etree._Element, base: str) -> dict[str, str]:
    """The first title that the table of contents gives to each chapter, by the chapter's name."""
    titles: dict[str, str] = {}
    for item in opf.iterfind(".//{*}manifest/{*}item"):
        name = _join(base, item.get("href", ""))
        kind = item.get("media-type", "")
        if name not in archive.namelist():
            continue
        if kind == "application/x-dtbncx+xml":
            tree = parse_xml(read_part(archive, name), "The table of contents", recover=True)
            points = [
                (point.find("{*}content"), point.findtext("{*}navLabel/{*}text")) for point in tree.iter("{*}navPoint")
            ]
            found = [(node.get("src", ""), text) for node, text in points if node is not None]
        elif "nav" in (item.get("properties") or "").split():
            tree = parse_xml(read_part(archive, name), "The table of contents", recover=True)
            found = [(link.get("href", ""), "".join(link.itertext())) for link in tree.iter("{*}a")]
        else:
            continue
        for href, text in found:
            titles.setdefault(_join(posixpath.dirname(name), href), one_line(text or ""))
    return titles
