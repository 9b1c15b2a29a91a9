"""One document: its pages, its passages, replacing and deleting it."""

from __future__ import annotations

import contextlib

import streamlit as st

from ragkit.collection import Collection
from ragkit.errors import CollectionError
from ragkit.types import Document
from ui import intake, source
from ui.views import ago, count, el, notice, number, panel, put, size


def show(collection: Collection, name: str) -> None:
    """The view of one document."""
    opened = collection.document(name)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("All documents", icon=":material/arrow_back:", type="tertiary", on_click=_close)
        st.space("stretch")
        with st.popover("Replace", icon=":material/swap_horiz:"):
            intake.replacement(collection, opened)
        delete = st.button("Delete", icon=":material/delete:")
    _head(opened)
    if delete:
        _confirm(collection, opened)
    _pages(collection, opened)


def _close() -> None:
    st.query_params.pop("document", None)
    st.query_params.pop("page", None)


def _head(opened: Document) -> None:
    facts = [opened.kind.upper(), count(opened.pages, "page"), count(opened.chunks, "passage"), size(opened.bytes),
             f"added {ago(opened.added)}"]  # fmt: skip
    put(
        el("h3", opened.name),
        el("p", opened.title, class_="rk-muted") if opened.title and opened.title != opened.name else None,
        el("p", " · ".join(facts), class_="rk-muted rk-small"),
        el("p", f"SHA-256 {opened.sha256}", class_="rk-muted rk-hash"),
    )


@st.dialog("Delete this document?")
def _confirm(collection: Collection, opened: Document) -> None:
    inside = f"{count(opened.pages, 'page')} and {count(opened.chunks, 'passage')}"
    told = f"Its {inside} go from the collection {collection.name}. Your own file and the answers already given stay."
    put(el("p", el("b", opened.name)), el("p", told))
    with st.container(horizontal=True, horizontal_alignment="right"):
        if st.button("Keep it"):
            st.rerun()
        if st.button("Delete", type="primary", icon=":material/delete:", key="delete-document",
                     on_click=_delete, args=(collection, opened.name)):  # fmt: skip
            st.rerun()


def _delete(collection: Collection, name: str) -> None:
    with contextlib.suppress(CollectionError):  # somebody else was quicker: it is gone, as was wished
        collection.remove(name)
    _close()


def _pages(collection: Collection, opened: Document) -> None:
    asked = st.query_params.get("page", "1")
    current = min(max(int(asked) if asked.isascii() and asked.isdigit() else 1, 1), opened.pages)
    views = ["Passages", "Text"] + (["Picture"] if collection.original(opened) else [])
    with st.container(horizontal=True, vertical_alignment="center", key="page-bar"):
        view = st.segmented_control("Show", views, default="Passages", required=True, key="document-view",
                                    label_visibility="collapsed")  # fmt: skip
        st.button("Previous", icon=":material/chevron_left:", on_click=_turn, args=(current - 1,),
                  disabled=current <= 1)  # fmt: skip
        st.button("Next", icon=":material/chevron_right:", on_click=_turn, args=(current + 1,),
                  disabled=current >= opened.pages)  # fmt: skip
        put(f"Page {number(current)} of {number(opened.pages)}", class_="rk-muted rk-small")
    page = collection.page(opened.id, current)
    if page.title or page.label not in ("", str(page.number)):
        put(el("h4", page.title or page.label))
    if view == "Picture":
        source.show_picture(collection, opened, page, "", "document")
    elif view == "Text":
        source.show_text(page, None, "document")
    else:
        chunks = collection.chunks(opened.id, current)
        if not page.text.strip():
            notice("info", "There is no text on this page.")
        else:
            told = f"{count(len(chunks), 'passage')} on this page; what two passages share is tinted."
            put(el("p", told, class_="rk-muted rk-small"))
            panel("document.chunks", source.chunked(page, chunks))


def _turn(to: int) -> None:
    st.query_params["page"] = str(to)
