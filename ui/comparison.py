"""One comparison: the evidence once, a column an answer, the differences between the prompts."""

from __future__ import annotations

import random
from collections.abc import Callable

import streamlit as st

from ragkit.collection import Collection
from ragkit.history import History
from ragkit.settings import RetrieveSettings
from ragkit.types import Answer
from ui import answers, drawer, panels, state, voting
from ui.runner import Task
from ui.views import Html, count, el, empty, icon, number, panel, put, seconds

LETTERS = "ABCD"


def show(collection: Collection, thread: str, again: Callable[[], None]) -> None:
    """The comparison of that name, running or kept."""
    # The queue before the history: answers that are kept in between are then still waited for, and found.
    tasks = state.runner().tasks(collection.name, "compare", thread)
    pending = [task.id for task in tasks if task.open]
    given = History(collection).answers(thread)
    blind = st.query_params.get("blind") == "1"
    if not given and not tasks:
        empty("search_off", "This comparison is not there", "It may belong to another collection.")
        return
    put(el("h3", given[0].question if given else tasks[0].question), class_="rk-question-title")
    if given and not pending:
        _kept(collection, given, thread, blind)
    else:
        st.fragment(_running, run_every=0.4 if pending else None)(collection.name, thread, pending, blind, again)


def order(thread: str, variants: int, blind: bool) -> list[int]:
    """Which variant stands in which column: as asked, or shuffled in a way that a reload does not change."""
    places = list(range(variants))
    if blind:
        random.Random(thread).shuffle(places)
    return places


def _title(place: int, name: str, blind: bool, mark: Html | None = None) -> Html:
    shown = f"Answer {LETTERS[place]}" if blind else name
    return el("div", el("span", LETTERS[place], class_="rk-n"), el("b", shown), mark, class_="rk-column-head")


def _running(name: str, thread: str, pending: list[str], blind: bool, again: Callable[[], None]) -> None:
    """Polls while the answers come; draws the page anew when they are there."""
    runner = state.runner()
    tasks = runner.tasks(name, "compare", thread)
    if not tasks or any(task.id in pending and not task.open for task in tasks):
        st.rerun()
    for task in tasks:
        if task.state == "failed":
            panels.failure(task, again)
        elif task.open:
            _columns(task, blind, runner.ahead(task))
            st.button("Stop", key=f"stop-{task.id}", on_click=runner.stop, args=(task.id,),
                      icon=":material/stop_circle:", disabled=task.stop.is_set())  # fmt: skip


def _columns(task: Task, blind: bool, ahead: int) -> None:
    places = order(task.thread, len(task.variants), blind)
    for place, (column, variant) in enumerate(zip(st.columns(len(places), gap="medium"), places, strict=True)):
        with column:
            put(_title(place, task.variants[variant].name, blind))
            panels.progress(task, variant, ahead)


def _kept(collection: Collection, given: list[Answer], thread: str, blind: bool) -> None:
    shown = {str(answer.id): answer for answer in given}
    hits = given[0].hits
    told = f"{count(len(hits), 'passage')}, found once in {seconds(given[0].seconds_retrieval)}, given to all variants"
    body = answers.passages(hits, str(given[0].id)) if hits else el("p", "Nothing was found for this question.")
    panel("evidence", el("details", el("summary", el("b", "Evidence"), f"  {told}"), body, class_="rk-details"),
          on_event=lambda event, value: drawer.open_answer(shown, event, value))  # fmt: skip
    if blind or "vote" in st.query_params:
        pairing = voting.next_pair(collection, thread, given)
        if pairing is not None:
            voting.ballot(collection, thread, given, pairing, lambda answer, side: _side(answer, side, shown))
            return
        blind = not voting.over(collection, thread) and blind  # the last vote brings the names
    if blind:
        with st.container(horizontal=True, vertical_alignment="center", key="blind-bar"):
            put(el("p", icon("visibility_off"), " Names are hidden. The answers are alike: nothing to vote on.",
                   class_="rk-muted"))  # fmt: skip
            st.button("Reveal", type="primary", icon=":material/visibility:", on_click=voting.reveal)
    else:
        voting.result(collection, thread, given)
    places = order(thread, len(given), blind)
    marks = {} if blind else voting.wins(collection, thread)
    for place, (column, index) in enumerate(zip(st.columns(len(places), gap="medium"), places, strict=True)):
        with column:
            _column(given[index], place, blind, shown, marks.get(given[index].id or 0))
    if not blind:
        _numbers(given)
        if len({answer.variant.name for answer in given if answer.prompt}) > 1:
            _differences(given)


def _column(answer: Answer, place: int, blind: bool, shown: dict[str, Answer], mark: Html | None = None) -> None:
    key = str(answer.id)
    panel(f"column-{key}", _title(place, answer.variant.name, blind, mark), *_body(answer),
          None if blind else answers.facts(answer, key),
          on_event=lambda event, value: drawer.open_answer(shown, event, value))  # fmt: skip


def _side(answer: Answer, side: str, shown: dict[str, Answer]) -> None:
    """An answer of a ballot: nothing that would tell who wrote it."""
    panel(f"side-{side}-{answer.id}", el("div", el("b", side), class_="rk-column-head"), *_body(answer),
          on_event=lambda event, value: drawer.open_answer(shown, event, value))  # fmt: skip


def _body(answer: Answer) -> list[Html | None]:
    key = str(answer.id)
    if answer.abstained:
        return [answers.abstention(answer, RetrieveSettings().abstain_below), answers.closest(answer, key)]
    return [
        answers.stand_in(answer),
        answers.answer_text(answer.text, answer.citations, answer.support, key),
        answers.sources(answer, key),
    ]


def _numbers(given: list[Answer]) -> None:
    """One row a variant."""
    head = ["Variant", "Supported", "Sources", "Prompt", "Answer", "First token", "Whole answer"]
    rows = []
    for answer in given:
        made = answer.generation
        rows.append([
            answer.variant.name,
            "abstained" if answer.supported is None else f"{answer.supported:.0%}",
            str(len({citation.number for citation in answer.citations})),
            f"{number(made.prompt_tokens)} tokens" if made else "–",
            f"{number(made.tokens)} tokens" if made else "–",
            seconds(made.seconds_to_first) if made else "–",
            seconds(made.seconds) if made else "–",
        ])  # fmt: skip
    put(el("h4", "Side by side"), class_="rk-section")
    put(table(head, rows))


def table(head: list[str], rows: list[list[str]]) -> Html:
    """A table that scrolls sideways where it has no room."""
    top = el("tr", *(el("th", cell, scope="col") for cell in head))
    body = [el("tr", *(el("td", cell) for cell in row)) for row in rows]
    return el("div", el("table", el("thead", top), el("tbody", *body), class_="rk-table"), class_="rk-scroll",
              tabindex="0", role="region", aria_label="Numbers of the variants")  # fmt: skip


def _differences(given: list[Answer]) -> None:
    there = [place for place, answer in enumerate(given) if answer.prompt]
    put(el("h4", "What the prompts say differently"), class_="rk-section")
    first, second = there[0], there[1]
    if len(there) > 2:
        left, right = st.columns(2)
        first = left.selectbox("From", there, format_func=lambda place: given[place].variant.name, key="diff.from")
        second = right.selectbox("To", there, index=1, format_func=lambda place: given[place].variant.name,
                                 key="diff.to")  # fmt: skip
    before, after = given[first].prompt, given[second].prompt
    assert before is not None
    assert after is not None
    put(answers.difference(before, after))
