"""Question by question: two answers of a run side by side, with what the model read and what they scored."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from ragkit.collection import Collection
from ragkit.evaluate.report import Asked, Item, Report
from ragkit.runs import Column, RunError, Runs
from ui import answers
from ui import evaluation_views as views
from ui.views import count, el, empty, notice, put

Place = tuple[str, int]
"""Id of a question and place of a variant."""
Items = dict[Place, Item]
MOST = 300
"""Questions in the menu."""


def show(collection: Collection, report: Report, column: str) -> None:
    """The filters, the menu of questions, the two sides."""
    put(el("h4", "Question by question"), class_="rk-section")
    items = {(item.question, item.variant): item for item in report.items if item.column == column and not item.repeat}
    first, second = _sides(report)
    with st.container(key="drill-filter"):
        filters = _filters(report, first, second)
        name = st.segmented_control("Show", list(filters), default="all", required=True, key="drill.filter",
                                    label_visibility="collapsed") or "all"  # fmt: skip
    found = [asked for asked in report.questions if filters[name](asked, items)]
    if not found:
        empty("filter_alt_off", "No question is like that", "Choose another filter.")
        return
    number = st.selectbox(
        f"{count(len(found), 'question')}{f', the first {MOST} listed' if len(found) > MOST else ''}",
        range(min(len(found), MOST)), format_func=lambda place: f"{place + 1}. {found[place].question}",
        key=f"drill.question.{name}.{first}.{second}",
    )  # fmt: skip
    asked = found[number or 0]
    put(views.gold(asked))
    sides = [first] if second is None else [first, second]
    for letter, place, column_of in zip("AB", sides, st.columns(len(sides), gap="medium"), strict=False):
        with column_of:
            _side(collection, report, items.get((asked.id, place)), (letter, place), column)
    if second is not None:
        _difference(collection, report, asked, (first, second), column)


def _sides(report: Report) -> tuple[int, int | None]:
    """Which two variants stand side by side."""
    names = report.variants
    if len(names) == 1:
        return 0, None
    if len(names) == 2:
        return 0, 1
    left, right = st.columns(2)
    places = range(len(names))
    first = left.selectbox("A", places, format_func=names.__getitem__, key="drill.first")
    second = right.selectbox("B", places, index=1, format_func=names.__getitem__, key="drill.second")
    return first or 0, second or 0


def _filters(report: Report, first: int, second: int | None) -> dict[str, Callable[[Asked, Items], bool]]:
    """Filters by name: what an asked question and all items must be like."""

    def is_right(place: int) -> Callable[[Asked, Items], bool | None]:
        return lambda asked, items: item.right if (item := items.get((asked.id, place))) else None

    def abstained(asked: Asked, items: Items) -> bool:
        return any((item := items.get((asked.id, place))) and item.abstained for place in (first, second or 0))

    filters: dict[str, Callable[[Asked, Items], bool]] = {"all": lambda *_: True}
    if second is not None:
        one, other = is_right(first), is_right(second)
        filters["disagreements"] = lambda asked, items: _differ(asked, items, first, second or 0)
        filters["wrong in A"] = lambda asked, items: one(asked, items) is False
        filters["wrong in B"] = lambda asked, items: other(asked, items) is False
    else:
        alone = is_right(first)
        filters["wrong"] = lambda asked, items: alone(asked, items) is False
    filters["abstained"] = abstained
    filters["unanswerable"] = lambda asked, _: asked.judged and not asked.answers
    return filters


def _differ(asked: Asked, items: Items, first: int, second: int) -> bool:
    """One right and the other not; where the set does not judge, other texts."""
    one, other = items.get((asked.id, first)), items.get((asked.id, second))
    if one is None or other is None:
        return False
    if one.right is None or other.right is None:
        return one.text != other.text
    return one.right != other.right


def _side(collection: Collection, report: Report, item: Item | None, side: tuple[str, int], column: str) -> None:
    letter, place = side
    head = [el("span", letter, class_="rk-n"), el("b", report.variants[place])]
    put(el("div", *head, views.became(item) if item else None, class_="rk-column-head"))
    if item is None or item.text is None:
        reason = next(iter(item.missing.values()), "") if item else ""
        notice("info", "There is no answer.", reason)
        return
    put(answers.answer_text(item.text) if item.text else el("p", "No answer was given.", class_="rk-muted"))
    put(views.scores(item, views.shown_metrics(report, every=False)), views.seen(item))
    with st.expander("What the model read"):
        try:
            kept = Runs(collection).answer(report.run or 0, item.question, place, _column(column))
        except RunError as error:
            put(el("p", error.message, class_="rk-muted"))
            return
        if kept.prompt is None:
            put(el("p", "No model was asked: no passage was near enough.", class_="rk-muted"))
        else:
            put(answers.legend(kept.prompt), answers.prompt_text(kept.prompt))


def _difference(collection: Collection, report: Report, asked: Asked, sides: tuple[int, int], column: str) -> None:
    """What the two prompts say differently."""
    prompts = []
    for place in sides:
        try:
            prompts.append(Runs(collection).answer(report.run or 0, asked.id, place, _column(column)).prompt)
        except RunError:
            return
    before, after = prompts
    if before is not None and after is not None and before.text != after.text:
        with st.expander("What the two prompts say differently"):
            put(answers.difference(before, after))


def _column(column: str) -> Column:
    return column  # type: ignore[return-value] - reports of runs have no other columns
