"""Documents: add files, watch them go in, look into what is there."""

from __future__ import annotations

import streamlit as st

from ragkit.collection import Collection
from ragkit.jobs import Jobs
from ragkit.types import Document
from ui import document, intake, state
from ui.views import Html, ago, button, count, el, empty, heading, join, panel, size

ROWS = 25
"""Documents on one page of the list."""
SHORT = {"markdown": "md", "text": "txt"}
"""Kinds whose own name is too long for a badge."""


def show() -> None:
    """The page."""
    name = state.chosen()
    if name is None:
        heading("Documents", "Add files to a collection, then ask them.")
        intake.first_upload()
        return
    with state.mendable():
        collection = state.collection(name)
        opened = st.query_params.get("document")
        pending = Jobs(collection).pending()  # before the list: what ends in between is then still waited for
        there = collection.documents()
        if opened and any(item.name == opened for item in there):
            document.show(collection, opened)
        else:
            _library(collection, there, pending)


def _library(collection: Collection, there: list[Document], pending: int) -> None:
    pages, passages = sum(item.pages for item in there), sum(item.chunks for item in there)
    held = " · ".join([count(len(there), "document"), count(pages, "page"), count(passages, "passage"),
                       size(sum(item.bytes for item in there))])  # fmt: skip
    heading("Documents", "What the answers come from. Files are read on this computer and stay here.",
            held if there else "")  # fmt: skip
    intake.upload(collection)
    intake.work(collection, pending)
    if there:
        _list(there)
    elif not pending:
        empty("description", "No documents yet", "PDF, Word, PowerPoint, Excel, HTML, Markdown, plain text and more.")


def _list(there: list[Document]) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key="document-filter"):
        sought = st.text_input("Find a document", placeholder="Find a document by name or title", key="find-document",
                               icon=":material/search:", label_visibility="collapsed")  # fmt: skip
        kinds = sorted({item.kind for item in there})
        kind = None
        if len(kinds) > 1:
            kind = st.pills("Kind", kinds, format_func=str.upper, key="find-kind", label_visibility="collapsed")
    words = sought.casefold().split()
    found = [
        item
        for item in there
        if (kind is None or item.kind == kind)
        and all(word in f"{item.name} {item.title}".casefold() for word in words)
    ]
    if not found:
        empty("search_off", "No document matches", "Try another word, or clear the filter.")
        return
    last = (len(found) - 1) // ROWS + 1
    page = st.pagination(last, key="document-page") if last > 1 else 1
    rows = [_row(item) for item in found[(page - 1) * ROWS : page * ROWS]]
    panel("documents", el("div", *rows, class_="rk-rows"), on_event=_open)


def _row(item: Document) -> Html:
    title = item.title if item.title and item.title != item.name else ""
    inside = " · ".join([count(item.pages, "page"), count(item.chunks, "passage")])
    main = el("span", el("span", item.name, class_="rk-name rk-one-line"),
              el("span", inside, f" · {title}" if title else "", class_="rk-muted rk-small rk-one-line rk-block"),
              class_="rk-main")  # fmt: skip
    side = el("span", size(item.bytes), el("br"), ago(item.added), class_="rk-side")
    kind = el("span", SHORT.get(item.kind, item.kind[:5]), class_="rk-kind")
    return button(join([kind, main, side]), "open", item.name, "rk-row", title=item.name)


def _open(event: str, name: str) -> None:
    if event == "open":
        st.query_params["document"] = name

