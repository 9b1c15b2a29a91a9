"""Ask: a conversation with a collection, every answer with its sources."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace

import streamlit as st

from ragkit.collection import Collection
from ragkit.history import History
from ragkit.reading import READS
from ragkit.settings import RetrieveSettings
from ragkit.types import Answer, Variant
from ui import answers, drawer, grading, panels, state
from ui.runner import Task
from ui.views import button, count, el, empty, icon, join, panel, put

STARTERS = {
    state.FIRST: (
        "What is the accuracy of the logistic regression on frozen features?",
        "What is a soft prompt?",
        "Who won the football World Cup in 1998?",
    ),
}
"""First questions that a collection is known to answer well; the last one shows what happens without an answer."""
PLAIN = "concise"
"""Template with which the built-in model does best without an adapter (the card of `grounded`)."""
LONGEST = 4000
"""Characters of a question."""


def show() -> None:
    """The page."""
    st.html("<style>.stMainBlockContainer,[data-testid=stBottomBlockContainer]{max-width:56rem}</style>")
    name = state.chosen()
    if name is None:
        _welcome()
        return
    with state.mendable():
        _conversation(name, state.collection(name))


def _welcome() -> None:
    empty("forum", "Ask your documents", "There is no collection yet. Add documents, and ask them here.")
    st.page_link(st.session_state["pages"]["documents"], label="Add documents", icon=":material/upload_file:")


def _conversation(name: str, collection: Collection) -> None:
    thread = st.query_params.get("conversation", "")
    history = History(collection)
    # The queue before the history: an answer that is kept in between is then still waited for, and found.
    tasks = state.runner().tasks(name, "ask", thread) if thread else []
    pending = [task.id for task in tasks if task.open]
    given = history.answers(thread) if thread else []
    with st.sidebar:
        _recent(name, history, thread)
    if given or tasks:
        _head()
    elif collection.count():
        _first(name, collection)
    else:
        empty("upload_file", "This collection is empty", "Add documents to it, and ask them here.")
        st.page_link(st.session_state["pages"]["documents"], label="Add documents", icon=":material/upload_file:")
    _turns(collection, given, last=all(task.state == "done" for task in tasks),
           anyway=lambda answer: _anyway(name, thread, answer))  # fmt: skip
    st.fragment(_follow, run_every=0.4 if pending else None)(name, thread, pending)
    _input(name, collection, given)
    drawer.show_if_open(collection)


def _head() -> None:
    with st.container(horizontal=True, horizontal_alignment="right"):
        st.button("New conversation", icon=":material/edit_square:", type="tertiary", on_click=_open_thread, args=("",))


def _open_thread(thread: str) -> None:
    state.leave()
    if thread:
        st.query_params["conversation"] = thread


def _recent(name: str, history: History, thread: str) -> None:
    """Conversations of this collection, latest first, those still being answered marked."""
    busy = {task.thread: task.question for task in state.runner().tasks(name, "ask") if task.open}
    kept = history.threads("ask", limit=20)
    listed = {item.name: item.question for item in kept}
    rows = [(key, busy[key]) for key in busy if key not in listed] + list(listed.items())
    if not rows:
        return
    links = [
        button(
            join([el("span", question, class_="rk-one-line"), el("span", class_="rk-pulse") if key in busy else None]),
            "open", key, "rk-thread rk-on" if key == thread else "rk-thread", title=question,
            aria_current="page" if key == thread else None,
        )
        for key, question in rows
    ]  # fmt: skip
    panel("recent", el("div", "Conversations", class_="rk-label"), el("div", *links, class_="rk-threads"),
          on_event=lambda _, key: _open_thread(key))  # fmt: skip


def _first(name: str, collection: Collection) -> None:
    """The state before the first question."""
    inside = f"{count(len(collection.documents()), 'document')}, {count(collection.count(), 'passage')}"
    put(
        el("div", el("h3", "Ask your documents"), el("p", f"Answers come from the {inside} in ", el("b", name),
           ", with the page behind every claim. Nothing leaves this computer.", class_="rk-muted")),
        class_="rk-hello",
    )  # fmt: skip
    cards = [
        button(join([icon("arrow_outward"), el("span", question)]), "ask", question, "rk-card rk-starter")
        for question in STARTERS.get(name, ())
    ]
    if cards:
        panel("starters", el("div", *cards, class_="rk-starters"), on_event=lambda _, text: _ask(name, "", text))


def _turns(collection: Collection, given: list[Answer], last: bool, anyway: Callable[[Answer], None]) -> None:
    shown = {str(answer.id): answer for answer in given}
    grades = grading.grades(collection)

    def clicked(event: str, value: str) -> None:
        if event == "anyway":
            anyway(shown[value])
        elif not grading.clicked(collection, event, value):
            drawer.open_answer(shown, event, value)

    threshold = RetrieveSettings().abstain_below
    for place, (key, answer) in enumerate(shown.items(), start=1):
        asked = answers.question(answer.question, scroll=last and place == len(shown))
        parts = [
            answers.reading_of(answer, key),
            answers.abstention(answer, threshold),
            answers.closest(answer, key),
            answers.anyway(answer, key),
        ] if answer.abstained else [
            answers.reading_of(answer, key),
            answers.stand_in(answer),
            answers.anyway(answer, key),
        ] if answer.quoted else [
            answers.reading_of(answer, key),
            answers.answer_text(answer.text, answer.citations, answer.support, key),
            answers.sources(answer, key),
        ]  # fmt: skip
        below = el("div", answers.facts(answer, key), grading.thumbs(answer, grades.get(answer.id or 0)),
                   class_="rk-below")  # fmt: skip
        panel(f"turn-{key}", asked, el("div", *parts, below, class_="rk-turn"), on_event=clicked)


def _follow(name: str, thread: str, pending: list[str]) -> None:
    """Questions that are waiting, being answered or failed. Polls; when one ends, the page is drawn anew."""
    runner = state.runner()
    tasks = runner.tasks(name, "ask", thread) if thread else []
    if any(task.id in pending and not task.open for task in tasks) or set(pending) - {task.id for task in tasks}:
        st.rerun()
    if st.session_state.pop("ask.opened", False):  # a click in a fragment draws only the fragment anew
        st.rerun()
    for task in tasks:
        if task.open:
            panel(f"task-{task.id}", answers.question(task.question, scroll=True))
            _quoted(task)
            panels.progress(task, 0, runner.ahead(task))
            st.button("Stop" if task.state == "running" else "Cancel", key=f"stop-{task.id}", on_click=runner.stop,
                      args=(task.id,), icon=":material/stop_circle:", disabled=task.stop.is_set())  # fmt: skip
        elif task.state == "failed":
            put(answers.question(task.question))
            panels.failure(task, lambda task=task: _ask(name, thread, task.question))


def _quoted(task: Task) -> None:
    """What a reader quotes, while the language model is still writing."""
    if task.read is None or not task.read[0].answered:
        return
    read, hit = task.read

    def clicked(event: str, _: str) -> None:
        if event == "read":
            drawer.open_reading(read, hit)
            st.session_state["ask.opened"] = True

    panel(f"read-{task.id}", answers.reading(read, hit, task.id), on_event=clicked)


def _input(name: str, collection: Collection, given: list[Answer]) -> None:
    defaults = state.workbench(name).defaults
    before = defaults.unsettled(given[-1].variant) if given else defaults.variant()
    with st.bottom:
        with st.container(horizontal=True, vertical_alignment="center", key="ask-settings"):
            panels.settings("ask", state.workbench(name), before)
        filled = collection.count() > 0
        st.chat_input(
            "Ask a question about the documents" if filled else "Add documents first", key="question",
            max_chars=LONGEST, disabled=not filled,
            on_submit=_submit,
        )  # fmt: skip


def _submit() -> None:
    """Ask what was typed, in the conversation that is open now.

    Nothing is remembered from when the input was drawn: a question that comes before the page has been drawn to its
    end once more finds the input of the page before, to which the conversation had no name yet.
    """
    name = state.chosen()
    if name is not None:
        _ask(name, st.query_params.get("conversation", ""), st.session_state["question"])


def _anyway(name: str, thread: str, answer: Answer) -> None:
    """Ask once more what was declined: the plain model, told to answer shortly, with nothing that declines for it."""
    plain = Variant(PLAIN, adapter="", decoding=answer.variant.decoding)
    variant = plain if answer.variant.engine == READS else replace(answer.variant, template=PLAIN, adapter="")
    chosen = panels.chosen("ask")
    retrieve = replace(chosen.retrieve, reader_below=0.0, reader_above=1.0)
    state.runner().submit(Task("ask", name, thread, answer.question, (variant,), retrieve, chosen.documents))


def _ask(name: str, thread: str, question: str) -> None:
    """Hand a question to the runner; the first one of a conversation names it."""
    if not question.strip():
        return
    thread = thread or uuid.uuid4().hex[:12]
    chosen = panels.chosen("ask")
    state.runner().submit(
        Task("ask", name, thread, question.strip(), (chosen.variant,), chosen.retrieve, chosen.documents)
    )
    st.query_params["conversation"] = thread
