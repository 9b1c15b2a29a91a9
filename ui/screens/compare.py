"""Compare: one question, two to four ways of answering it, on the same evidence."""

from __future__ import annotations

import uuid

import streamlit as st

from ragkit.collection import Collection
from ragkit.history import History
from ragkit.types import Variant
from ui import comparison, drawer, panels, ratings, state
from ui.runner import Task
from ui.views import ago, button, count, el, empty, heading, join, panel, put

FIRST = ("cite", "concise", "quote", "strict")
"""Templates that the columns start with, as far as they exist."""
LETTERS = "ABCD"


def show() -> None:
    """The page."""
    name = state.chosen()
    if name is None:
        heading("Compare", "One question, several prompts or models, the same evidence.")
        empty("view_column", "Nothing to compare on yet", "Add documents first.")
        st.page_link(st.session_state["pages"]["documents"], label="Add documents", icon=":material/upload_file:")
        return
    with state.mendable():
        collection = state.collection(name)
        thread = st.query_params.get("comparison", "")
        if thread:
            st.button("All comparisons", icon=":material/arrow_back:", type="tertiary", on_click=state.leave)
            comparison.show(collection, thread, lambda: _again(thread, name))
        else:
            _setup(name, collection)
            _recent(name, collection)
            ratings.show(collection)
        drawer.show_if_open(collection)


def _setup(name: str, collection: Collection) -> None:
    heading("Compare", "One question, several prompts or models, the same evidence: found once, given to all.")
    if not collection.count():
        empty("view_column", "Nothing to compare on yet", "This collection is empty. Add documents first.")
        st.page_link(st.session_state["pages"]["documents"], label="Add documents", icon=":material/upload_file:")
        return
    st.text_area("Question", key="compare.question", persist_state="session", max_chars=4000, height=80,
                 placeholder="What do you want to know?")  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="center"):
        columns = st.segmented_control("Variants", [2, 3, 4], default=2, required=True, key="compare.columns",
                                       persist_state="session",
                                       format_func=lambda number: f"{number} variants",
                                       label_visibility="collapsed")  # fmt: skip
        st.toggle("Blind", key="compare.blind", persist_state="session",
                  help="Hides the names and shuffles the order until you reveal them.")  # fmt: skip
        with st.popover("Search settings", icon=":material/tune:", type="tertiary"):
            searched = panels.search_fields("compare.search", state.workbench(name))
    st.session_state["compare.variants"] = _variants(name, columns or 2)
    st.session_state["compare.searched"] = searched
    st.button("Compare", type="primary", icon=":material/play_arrow:", on_click=_run, args=(name,))
    if st.session_state.pop("compare.missing", None):
        put(el("p", "Type a question first.", class_="rk-said-bad", role="alert"))


def _variants(name: str, columns: int) -> tuple[Variant, ...]:
    """One card a variant."""
    workbench = state.workbench(name)
    there = workbench.templates.names
    starts = [template for template in FIRST if template in there]
    starts += [template for template in there if template not in starts]
    chosen = []
    for place, (letter, column) in enumerate(zip(LETTERS, st.columns(columns), strict=False)):
        with column, st.container(border=True):
            put(el("div", el("span", letter, class_="rk-n"), class_="rk-letter"))
            before = Variant(template=starts[place % len(starts)])
            variant = panels.prompt_fields(f"compare.{letter}", workbench, before)
            with st.popover("Model", icon=":material/memory:", type="tertiary"):
                variant = panels.model_fields(f"compare.{letter}.model", variant)
            chosen.append(variant)
    return tuple(chosen)


def _run(name: str) -> None:
    question = st.session_state["compare.question"].strip()
    if not question:
        st.session_state["compare.missing"] = True
        return
    retrieve, documents = st.session_state["compare.searched"]
    variants = st.session_state["compare.variants"]
    _submit(Task("compare", name, _new(), question, variants, retrieve, documents), st.session_state["compare.blind"])


def _new() -> str:
    return uuid.uuid4().hex[:12]


def _submit(task: Task, blind: bool = False) -> None:
    state.runner().submit(task)
    state.leave()
    st.query_params["comparison"] = task.thread
    if blind:
        st.query_params["blind"] = "1"


def _again(thread: str, name: str) -> None:
    """Ask the question of a comparison that failed anew, with the same variants."""
    failed = state.runner().tasks(name, "compare", thread)[-1]
    _submit(Task("compare", name, _new(), failed.question, failed.variants, failed.retrieve, failed.documents))


def _recent(name: str, collection: Collection) -> None:
    busy = [task for task in state.runner().tasks(name, "compare") if task.open]
    kept = History(collection).threads("compare", limit=20)
    rows = [
        button(join([el("span", el("span", task.question, class_="rk-name rk-one-line"), class_="rk-main"),
                     el("span", "Answering", class_="rk-pulse rk-small")]), "open", task.thread, "rk-row")
        for task in busy
    ]  # fmt: skip
    running = {task.thread for task in busy}
    rows += [
        button(join([el("span", el("span", item.question, class_="rk-name rk-one-line"), class_="rk-main"),
                     el("span", f"{count(item.answers, 'answer')} · {ago(item.created)}", class_="rk-side")]),
               "open", item.name, "rk-row", title=item.question)
        for item in kept if item.name not in running
    ]  # fmt: skip
    if rows:
        put(el("h4", "Recent comparisons"), class_="rk-section")
        panel("comparisons", el("div", *rows, class_="rk-rows"), on_event=_open)


def _open(event: str, thread: str) -> None:
    state.leave()
    st.query_params["comparison"] = thread
