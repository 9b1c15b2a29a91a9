"""The sidebar: which collection the pages are about, and a new one."""

from __future__ import annotations

import streamlit as st

from ragkit.collection import Collection
from ragkit.errors import RagkitError
from ui import state
from ui.views import count, problem, put

_NAME = "new-collection"


def show_picker() -> None:
    """The menu of collections."""
    there = state.names()
    first = state.FIRST if state.FIRST in there else there[0]
    st.selectbox(
        "Collection", there, index=there.index(first), key="collection", bind="query-params", persist_state="session",
        on_change=state.leave, help="Documents that are searched together. Each is a folder of its own.",
    )  # fmt: skip
    with state.mendable():
        opened = state.collection(state.chosen() or first)
        inside = [count(len(opened.documents()), "document"), count(opened.count(), "passage")]
        put(" · ".join(inside), class_="rk-muted rk-small")


def _create() -> None:
    try:
        opened = Collection.open(state.home(), st.session_state[_NAME].strip(), create=True)
    except RagkitError as error:
        st.session_state["new-collection-error"] = error
        return
    st.session_state.pop("new-collection-error", None)
    st.session_state[_NAME] = ""
    state.choose(opened.name)


def show() -> None:
    """Everything the sidebar has on every page."""
    if state.names():
        show_picker()
    with st.popover("New collection", icon=":material/add:", type="tertiary", width="stretch"):
        st.text_input("Name", key=_NAME, placeholder="field-notes", max_chars=64,
                      help="Letters, digits, hyphens and underscores.")  # fmt: skip
        st.button("Create", type="primary", on_click=_create, width="stretch")
        if error := st.session_state.get("new-collection-error"):
            problem(error)
