"""Templates: read, copy, write and try the prompts."""

from __future__ import annotations

import streamlit as st

from ragkit.errors import RagkitError
from ragkit.prompt.source import dump
from ragkit.prompt.store import TemplateStore
from ragkit.prompt.template import Template
from ui import state, workshop
from ui.views import Html, button, count, el, heading, join, panel, problem

FRESH = Template(
    name="my-template",
    summary="What it does, in a few words",
    when="When to use it, in one sentence.",
    system="Answer the question from the passages only.",
    user="Passages:\n{passages}\nQuestion: {question}\nAnswer:",
    passage="[{number}] {text}\n",
    abstain="The documents do not say.",
)
"""What a new template starts from."""


def show() -> None:
    """The page."""
    store = TemplateStore(state.home() / "templates")
    heading("Templates", "How questions and passages become prompts. The bundled ones can be copied and changed.")
    with state.mendable():
        chosen = _chosen(store)
        left, right = st.columns([1, 2.9], gap="medium")
        with left:
            _list(store, chosen)
        with right:
            _template(store, chosen)


def _chosen(store: TemplateStore) -> str:
    """The template in the address, else the first."""
    asked = st.query_params.get("template", "")
    there = [*store.names, *(broken.name for broken in store.broken())]
    return asked if asked in there else there[0]


def _open(_: str, name: str) -> None:
    st.query_params["template"] = name


def _list(store: TemplateStore, chosen: str) -> None:
    rows = []
    for template in store.list():
        marks = [el("span", "bundled", class_="rk-badge") if store.is_bundled(template.name) else None,
                 el("span", "few-shot", class_="rk-badge rk-info") if template.few_shot else None,
                 el("span", "completion", class_="rk-badge rk-info") if not template.chat else None]  # fmt: skip
        rows.append(_row(template.name, template.summary, join(marks), chosen, template.when))
    for broken in store.broken():
        told = count(len(broken.problems), "problem")
        rows.append(_row(broken.name, "Cannot be used", el("span", told, class_="rk-badge rk-bad"), chosen))
    panel("templates", el("div", *rows, class_="rk-rows"), on_event=_open)
    st.button("New template", icon=":material/add:", width="stretch", on_click=_new, args=(store,))


def _row(name: str, summary: str, marks: Html, chosen: str, when: str = "") -> Html:
    """One template; the chosen one also says when to use it, the others on hover."""
    top = el("span", el("span", name, class_="rk-name"), marks, class_="rk-name-line")
    advice = el("span", when, class_="rk-small rk-block rk-when") if when and name == chosen else None
    main = el("span", top, el("span", summary, class_="rk-muted rk-small rk-block"), advice, class_="rk-main")
    return button(main, "open", name, "rk-row rk-on" if name == chosen else "rk-row", title=when or None,
                  aria_current="true" if name == chosen else None)  # fmt: skip


def _new(store: TemplateStore) -> None:
    _copy(store, dump(FRESH), FRESH.name)


def _copy(store: TemplateStore, text: str, name: str) -> None:
    """Keep a copy under the first free name and open it."""
    free = next(each for each in (name, *(f"{name}-{number}" for number in range(2, 1000))) if each not in store.names)
    try:
        source = text if free == name else text.replace(f'name = "{name}"', f'name = "{free}"', 1)
        st.query_params["template"] = store.save(source).name
    except RagkitError as error:
        st.session_state["template-error"] = error


def _template(store: TemplateStore, name: str) -> None:
    if error := st.session_state.pop("template-error", None):
        problem(error)
    fixed = store.is_bundled(name)

    def bar() -> None:
        if st.button("Copy", icon=":material/content_copy:", on_click=_duplicate, args=(store, name),
                     type="primary" if fixed else "secondary"):  # fmt: skip
            st.rerun()  # the bar is part of a fragment, and the copy belongs into the list outside
        if not fixed and st.button("Delete", icon=":material/delete:"):
            st.session_state["delete-template-asked"] = name
            st.rerun()

    workshop.show(store, name, fixed, bar)
    if st.session_state.pop("delete-template-asked", None) == name:
        _confirm(store, name)


def _duplicate(store: TemplateStore, name: str) -> None:
    taken = {*store.names, *(broken.name for broken in store.broken())}
    free = next(each for each in (f"{name[:56]}-copy{mark}" for mark in ("", *range(2, 1000))) if each not in taken)
    try:
        st.query_params["template"] = store.copy(name, free).name
    except RagkitError as error:
        st.session_state["template-error"] = error


@st.dialog("Delete this template?")
def _confirm(store: TemplateStore, name: str) -> None:
    st.text(f"{name}: its file is removed. Answers already given keep the prompt that they were given.")
    with st.container(horizontal=True, horizontal_alignment="right"):
        if st.button("Keep it"):
            st.rerun()
        if st.button("Delete", type="primary", icon=":material/delete:", key="delete-template",
                     on_click=_delete, args=(store, name)):  # fmt: skip
            st.rerun()


def _delete(store: TemplateStore, name: str) -> None:
    try:
        store.delete(name)
        st.query_params.pop("template", None)
    except RagkitError as error:
        st.session_state["template-error"] = error
