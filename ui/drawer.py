"""The drawer at the right: the page behind a citation, and everything that led to an answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import streamlit as st

from ragkit.collection import Collection
from ragkit.errors import CollectionError
from ragkit.types import Answer, Hit, Reading
from ui import answers
from ui.source import Place, show_page
from ui.views import el, notice, panel, problem, put

View = Literal["passages", "prompt", "numbers"]
_VIEWS: dict[View, str] = {"passages": "Passages", "prompt": "Prompt", "numbers": "Numbers"}


@dataclass(frozen=True, slots=True)
class Open:
    """What the drawer shows."""

    place: Place | None = None
    answer: Answer | None = None
    view: View = "passages"


def open_answer(given: dict[str, Answer], event: str, value: str) -> None:
    """Open what a click below an answer asks for. The value starts with the key.

    Events: `cite`, `close`, `read`, `hit`, `detail`.
    """
    key, _, rest = value.partition(":")
    answer = given.get(key)
    if answer is None:
        return
    if event in ("cite", "close"):
        cited = (answer.citations if event == "cite" else answer.closest)[int(rest)]
        st.session_state["drawer"] = Open(Place(cited.document, cited.page, cited.start, cited.end, cited.quote))
    elif event == "read" and answer.reading is not None:
        open_reading(answer.reading, answer.hits[answer.reading.passage])
    elif event == "hit":
        hits = answer.hits if answer.prompt is None else (*answer.prompt.hits, *answer.prompt.dropped, *answer.hits)
        open_hit(hits, int(rest), answer)
    elif event == "detail" and rest in _VIEWS:
        st.session_state["drawer"] = Open(answer=answer, view=rest)  # type: ignore[arg-type]


def open_hit(hits: tuple[Hit, ...], chunk: int, answer: Answer | None = None) -> None:
    """Open the page of a passage."""
    hit = next((hit for hit in hits if hit.chunk == chunk), None)
    if hit is not None:
        place = Place(hit.document, hit.page, hit.start, hit.end, hit.text)
        st.session_state["drawer"] = Open(place, answer)


def open_reading(read: Reading, hit: Hit) -> None:
    """Open the page of a reader's quotation, with just that marked."""
    place = Place(hit.document, hit.page, hit.start + read.start, hit.start + read.end, read.text)
    st.session_state["drawer"] = Open(place)


def _closed() -> None:
    st.session_state.pop("drawer", None)


def show_if_open(collection: Collection) -> None:
    """Draw the drawer if something is to be shown in it; call it last on a page."""
    if "drawer" in st.session_state:
        _drawer(collection)


@st.dialog("Evidence", width=760, position="right", on_dismiss=_closed)
def _drawer(collection: Collection) -> None:
    opened: Open | None = st.session_state.get("drawer")
    if opened is None:
        return
    if opened.place is not None:
        _source(collection, opened, opened.place)
    elif opened.answer is not None:
        _details(opened, opened.answer)


def _source(collection: Collection, opened: Open, place: Place) -> None:
    def back() -> None:
        st.session_state["drawer"] = replace(opened, place=None)

    if opened.answer is not None:
        st.button("All passages", icon=":material/arrow_back:", type="tertiary", key="drawer.up", on_click=back)
    try:
        show_page(collection, place, "source")
    except CollectionError as error:
        problem(error)
        put(el("p", "This is what stood there when the answer was made:"), el("mark", place.quote))


def _details(opened: Open, answer: Answer) -> None:
    def choose() -> None:
        st.session_state["drawer"] = replace(opened, view=st.session_state["drawer.view"])

    views = [view for view in _VIEWS if view != "prompt" or answer.prompt is not None]
    st.session_state["drawer.view"] = opened.view if opened.view in views else views[0]
    view = st.segmented_control("What to show", views, format_func=_VIEWS.__getitem__, key="drawer.view", required=True,
                                on_change=choose, label_visibility="collapsed")  # fmt: skip
    if view == "prompt" and answer.prompt is not None:
        _prompt(answer)
    elif view == "numbers":
        put(answers.numbers(answer))
    else:
        _passages(answer)


def _passages(answer: Answer) -> None:
    hits = answer.prompt.hits if answer.prompt else answer.hits
    dropped = answer.prompt.dropped if answer.prompt else ()
    cited = frozenset(citation.number for citation in answer.citations)
    if not hits:
        notice("info", "Nothing was found for this question.")
    panel("drawer.passages", answers.passages(hits, "drawer", dropped, cited),
          on_event=lambda event, value: open_answer({"drawer": answer}, event, value))  # fmt: skip


def _prompt(answer: Answer) -> None:
    prompt = answer.prompt
    assert prompt is not None
    chat, completion = "The model's own chat marks go around these messages.", "The model gets exactly this text."
    told = chat if prompt.chat else completion
    tokens = f"{answer.generation.prompt_tokens:,} tokens. " if answer.generation else ""
    put(answers.legend(prompt), el("p", f"{tokens}{told}", class_="rk-muted rk-small"), answers.prompt_text(prompt))
