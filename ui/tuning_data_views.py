"""A look at training data: how many of which kind, a few rows as the model will see them, what is left out and why."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import streamlit as st

from ragkit.collection import Collection
from ragkit.tune.rows import Row, Span
from ragkit.tuning import TunePlan
from ragkit.tuning_data import Pair, Sources, gather, prepare
from ragkit.votes import Votes
from ui import answers, state
from ui.views import Html, count, el, icon, number, put

KINDS = {
    "answer": "with their answer",
    "absent": "whose passage is taken away, to learn to say so",
    "unanswerable": "without an answer",
}
"""Kinds of rows, in words."""
ROWS = 5
"""Rows that a look shows."""
_MOST_NAMES = 6


@st.cache_data(show_spinner=False, max_entries=8)
def _pairs(home: str, name: str, sources: Sources, sequence: int, judged: int) -> list[Pair]:  # noqa: ARG001 - the key
    return gather(state.workbench(name), sources)


@st.cache_data(show_spinner=False, max_entries=8)
def _rows(home: str, name: str, plan: TunePlan, sequence: int, judged: int) -> list[Row]:
    """A few rows, drawn from all pairs, made as the training makes them."""
    pairs = _pairs(home, name, plan.sources, sequence, judged)
    drawn = random.Random(0).sample(pairs, min(len(pairs), 3 * ROWS))
    made = prepare(state.workbench(name), drawn, plan.settings, plan.retrieve)
    rows = [*made.train, *made.held]
    kinds = list(dict.fromkeys(row.kind for row in rows))
    one_each = [next(row for row in rows if row.kind == kind) for kind in kinds]
    return [*one_each, *(row for row in rows if row not in one_each)][:ROWS]


def counted(name: str, collection: Collection, sources: Sources) -> None:
    """How much there is to learn from."""
    with state.mendable(), st.spinner("Reading the data …"):
        put(counts(_pairs(str(state.home()), name, sources, collection.sequence, _judged(collection))))


def look(name: str, collection: Collection, plan: TunePlan) -> None:
    """A few rows, when they are asked for: passages have to be found for them."""
    if not st.toggle("Show some rows as the model will see them", key="tune.rows"):
        return
    with state.mendable():
        with st.spinner("Finding passages for a few rows …"):
            unnamed = replace(plan, name="")
            rows = _rows(str(state.home()), name, unnamed, collection.sequence, _judged(collection))
        for place, row in enumerate(rows, start=1):
            put(example(row, place))


def _judged(collection: Collection) -> int:
    votes = Votes(collection)
    return votes.count() + len(votes.grades())


def counts(pairs: Sequence[Pair]) -> Html:
    """How many pairs there are, with and without an answer, and where from."""
    silent = sum(not pair.answers and not pair.target for pair in pairs)
    facts = [
        ("Questions", number(len(pairs))),
        ("With an answer", number(len(pairs) - silent)),
        ("Without one", number(silent)),
        ("With their passage", number(sum(bool(pair.passage or pair.gold or pair.evidence) for pair in pairs))),
    ]
    cells = (el("div", el("div", name, class_="rk-t"), el("div", value, class_="rk-v")) for name, value in facts)
    origins = Counter(pair.origin for pair in pairs).most_common(_MOST_NAMES)
    told = " · ".join(f"{origin or 'unnamed'}: {number(many)}" for origin, many in origins)
    return el("div", el("div", *cells, class_="rk-numbers"), el("p", told, class_="rk-muted rk-small rk-after"),
              class_="rk-card")  # fmt: skip


def example(row: Row, place: int) -> Html:
    """One row: what the model reads, coloured by its parts, and what it shall reply."""
    kind = el("span", KINDS[row.kind], class_="rk-badge rk-good" if row.kind == "answer" else "rk-badge rk-warn")
    head = el("div", el("span", str(place), class_="rk-n"), el("b", row.question), kind, class_="rk-top")
    if row.prompt is not None:
        body = [answers.legend(row.prompt), answers.prompt_text(row.prompt)]
    else:
        parts = [_passage(text, number_, row.spans) for number_, text in enumerate(row.passages)]
        body = [el("div", *parts, class_="rk-prompt", tabindex="0", role="region", aria_label="The passages")]
    target = row.target or "nothing: the passages do not say"
    reply = el("p", el("b", "Learns to reply: "), target, class_="rk-after")
    where = " · ".join(filter(None, [row.group, row.origin]))
    return el("div", head, *body, reply, el("p", where, class_="rk-muted rk-small"), class_="rk-card rk-row-look")


def _passage(text: str, place: int, spans: Sequence[Span]) -> Html:
    """A passage with its right spans marked."""
    parts: list[str | Html] = [el("span", f"Passage {place + 1}", class_="rk-role")]
    at = 0
    for span in sorted((each for each in spans if each.passage == place), key=lambda each: each.start):
        if span.start < at:
            continue
        parts += [text[at : span.start], el("mark", text[span.start : span.end])]
        at = span.end
    return el("div", *parts, text[at:])


def left_out(reasons: Mapping[str, int]) -> None:
    """Which rows cannot be used, and why."""
    if not reasons:
        return
    lines = [el("li", f"{number(many)}: {reason}") for reason, many in reasons.items()]
    put(el("details", el("summary", icon("info"), f" {count(sum(reasons.values()), 'row')} left out"),
           el("ul", *lines), class_="rk-reasons rk-small", open="open"))  # fmt: skip
