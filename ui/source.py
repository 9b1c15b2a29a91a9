"""A page of a document with a passage marked: its picture where there is one, else its text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from ragkit.collection import Collection
from ragkit.types import Chunk, Document, Page
from ui.answers import page_name
from ui.picture import Picture, draw
from ui.views import Html, el, join, notice, number, panel, put

SHOWN = 24_000
"""Characters of a page's text that are sent to the browser; of a longer page, those around the passage."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is said."""

    document: str
    page: int
    start: int = 0
    end: int = 0
    """`page_text[start:end]` is marked; nothing if both are 0."""
    quote: str = ""
    """What stood there when it was cited."""


@st.cache_data(show_spinner=False, max_entries=64)
def _picture(path: str, sha256: str, page: int, quote: str) -> Picture | None:  # noqa: ARG001 - part of the cache's key
    return draw(Path(path), page, quote)


def show_page(collection: Collection, place: Place, key: str) -> None:
    """The page with ways to its neighbours. Raises CollectionError when the document is gone."""
    document = collection.document(place.document)
    turned = st.session_state.setdefault(f"{key}.page", {})
    current = turned.get(place, place.page)
    page = collection.page(document.id, current)
    at_place = current == place.page
    _head(document, page)
    _turn(document, place, current, turned, key)
    as_text = collection.original(document) is None
    if not as_text:
        with st.container(key=f"{key}-view"):
            shown = st.segmented_control("Show the page as", ["Picture", "Text"], default="Picture", required=True,
                                         key=f"{key}.as", label_visibility="collapsed")  # fmt: skip
        as_text = shown == "Text"
    if as_text:
        show_text(page, place if at_place else None, key)
    else:
        show_picture(collection, document, page, place.quote if at_place else "", key)


def _head(document: Document, page: Page) -> None:
    title = page.title or document.title
    put(
        el("h4", document.name),
        el("div", title, class_="rk-muted rk-small") if title and title != document.name else None,
    )


def _turn(document: Document, place: Place, current: int, turned: dict[Place, int], key: str) -> None:
    def go(to: int) -> None:
        turned[place] = to

    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button("Previous", icon=":material/chevron_left:", key=f"{key}.previous", on_click=go,
                  args=(current - 1,), disabled=current <= 1)  # fmt: skip
        st.button("Next", icon=":material/chevron_right:", key=f"{key}.next", on_click=go,
                  args=(current + 1,), disabled=current >= document.pages)  # fmt: skip
        if current != place.page:
            st.button("Back to the passage", key=f"{key}.back", on_click=go, args=(place.page,), type="tertiary")
        put(f"Page {number(current)} of {number(document.pages)}", class_="rk-muted rk-small")


def show_picture(collection: Collection, document: Document, page: Page, quote: str, key: str) -> None:
    """The page's picture with the quote marked; its text where there is no picture."""
    original = collection.original(document)
    with st.spinner("Drawing the page …"):
        picture = original and _picture(str(original), document.sha256, page.number, quote)
    if picture is None:
        notice("warn", "This page could not be drawn.", "Its text is below.")
        show_text(page, None, key)
        return
    if quote and not picture.marked:
        notice("info", "The sentence could not be found in the picture.", "Switch to the text to see it marked.")
    st.image(picture.png, width="stretch", alt=f"{document.name}, page {page.number}")
    if picture.marked:
        said = el("span", f"Marked: {quote}", class_="rk-hidden", data_picture=f"{picture.top:.4f}")
        panel(f"{key}.mark", said)


def show_text(page: Page, place: Place | None, key: str) -> None:
    """The page's text with the place marked."""
    if not page.text.strip():
        notice("info", "There is no text on this page.")
        return
    start, end = (place.start, place.end) if place else (0, 0)
    panel(f"{key}.text", el("div", marked(page.text, start, end), class_="rk-page-text", tabindex="0", role="region",
                            aria_label=f"Text of {page_name(page.number, page.label)}"))  # fmt: skip


def marked(text: str, start: int, end: int) -> Html:
    """A page's text with `text[start:end]` marked; a long one is cut to what is around the mark."""
    first = max(0, min(start - SHOWN // 2, len(text) - SHOWN))
    last = min(len(text), first + SHOWN)
    mark = el("mark", text[start:end], data_scroll="1") if end > start else None
    middle = [text[first:start], mark, text[end:last]] if mark else [text[first:last]]
    return join(["… " if first else None, *middle, " …" if last < len(text) else None])


def chunked(page: Page, chunks: list[tuple[int, Chunk]]) -> Html:
    """A page's text with the borders of its passages; what neighbours share is tinted."""
    parts: list[Html] = []
    at = 0
    ends = 0
    for place, (_, chunk) in enumerate(chunks[:400], start=1):
        if page.text[at : chunk.start].strip():
            parts.append(el("span", page.text[at : chunk.start]))
        shared = max(0, min(ends, chunk.end) - chunk.start)
        label = el("span", f"{place}", class_="rk-chunk-no", title=chunk.context or None)
        text = page.text[chunk.start : chunk.end]
        parts.append(el("span", label, el("span", text[:shared], class_="rk-shared") if shared else None, text[shared:],
                        class_="rk-chunk" if place % 2 else "rk-chunk rk-even"))  # fmt: skip
        at = ends = max(ends, chunk.end)
    if len(chunks) > 400:
        parts.append(el("p", f"… and {number(len(chunks) - 400)} more passages on this page.", class_="rk-muted"))
    elif at < len(page.text):
        parts.append(el("span", page.text[at:]))
    return el("div", *parts, class_="rk-page-text")
