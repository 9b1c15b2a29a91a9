"""The form that starts an evaluation: which questions, which variants, what they read, what decides."""

from __future__ import annotations

import random

import streamlit as st

from ingest.evaluations import submit_evaluation
from ragkit.catalog import METRICS
from ragkit.collection import Collection
from ragkit.errors import RagkitError
from ragkit.evaluate.page import COLUMN_NAMES
from ragkit.evaluate.scoring import labels
from ragkit.runs import COLUMNS, Plan
from ragkit.sets import EvaluationSet, Sets
from ragkit.types import Variant
from ui import panels, state
from ui.views import count, el, problem, put

FIRST = ("cite", "concise", "quote", "strict")
LETTERS = "ABCD"


def show(name: str, collection: Collection, there: list[EvaluationSet]) -> None:
    """The form; its button hands the run to the worker and opens it."""
    sizes = {item.name: item.count for item in there}
    left, right = st.columns([2, 1], vertical_alignment="bottom")
    chosen = left.selectbox("Evaluation set", list(sizes), key="evaluate.set", persist_state="session",
                            format_func=lambda each: f"{each} ({count(sizes[each], 'question')})")  # fmt: skip
    most = sizes[chosen]
    asked = right.number_input("Questions", 1, most, most, key=f"evaluate.count.{chosen}", persist_state="session",
                               help="Fewer than all: a fixed random draw, kept as a set of its own.")  # fmt: skip
    number = st.segmented_control("Variants", [1, 2, 3, 4], default=2, required=True, key="evaluate.variants",
                                  format_func=lambda value: count(value, "variant"), persist_state="session",
                                  label_visibility="collapsed")  # fmt: skip
    variants = _variants(name, number or 2)
    columns = st.pills("What the model reads", COLUMNS, default=["retrieved"], selection_mode="multi",
                       format_func=COLUMN_NAMES.__getitem__, key="evaluate.columns", persist_state="session",
                       help="No context shows what the model knows by itself; the gold passage what it could do if "
                       "retrieval were perfect. All three tell why an answer failed.")  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="center"):
        with st.popover("What decides", icon=":material/balance:", type="tertiary"):
            plan_parts = _decides(variants)
        with st.popover("Search settings", icon=":material/tune:", type="tertiary"):
            retrieve, documents = panels.search_fields("evaluate.search", state.workbench(name))
        together = st.checkbox("Write answers together", key="evaluate.together", persist_state="session",
                               help="A model writes several answers at once, which takes less time. Their "
                               "wordings may differ from those of answers written one by one.")  # fmt: skip
    metrics, baseline, margin = plan_parts
    plan = Plan(variants, retrieve, documents, tuple(each for each in COLUMNS if each in columns), metrics,
                baseline, margin, together=together)  # fmt: skip
    answers = asked * len(variants) * len(plan.columns)
    with st.container(horizontal=True, vertical_alignment="center", key="evaluate-go"):
        st.button("Start the evaluation", type="primary", icon=":material/play_arrow:", on_click=_start,
                  args=(name, collection, chosen, asked, plan), disabled=not plan.columns)  # fmt: skip
        told = f"{count(answers, 'answer')}; what was answered before comes from the cache."
        put(el("p", told if plan.columns else "Choose what the model reads.", class_="rk-muted rk-small"))
    if error := st.session_state.pop("evaluate.error", None):
        problem(error)


def _variants(name: str, number: int) -> tuple[Variant, ...]:
    workbench = state.workbench(name)
    there = workbench.templates.names
    starts = [each for each in FIRST if each in there] + [each for each in there if each not in FIRST]
    chosen = []
    for place, (letter, column) in enumerate(zip(LETTERS, st.columns(number), strict=False)):
        with column, st.container(border=True):
            put(el("div", el("span", letter, class_="rk-n"), class_="rk-letter"))
            before = Variant(template=starts[place % len(starts)])
            variant = panels.prompt_fields(f"evaluate.{letter}", workbench, before)
            with st.popover("Model", icon=":material/memory:", type="tertiary"):
                variant = panels.model_fields(f"evaluate.{letter}.model", variant)
            chosen.append(variant)
    return tuple(chosen)


def _decides(variants: tuple[Variant, ...]) -> tuple[tuple[str, ...], int, float]:
    """Metrics, place of the baseline, margin."""
    told = {row.name: row.summary for row in METRICS}
    metrics = st.multiselect("Metrics that decide", list(told), key="evaluate.metrics", persist_state="session",
                             placeholder="The usual ones for the set",
                             help="All metrics are measured. These are compared and shown first.")  # fmt: skip
    if metrics:
        put(*(el("p", el("b", name), f": {told[name]}", class_="rk-small") for name in metrics))
    names = labels(variants)
    baseline = st.selectbox("Baseline", range(len(names)), format_func=lambda at: f"{LETTERS[at]}: {names[at]}",
                            key=f"evaluate.baseline.{len(names)}", persist_state="session",
                            help="The variant that the others are compared with.")  # fmt: skip
    points = st.number_input("Margin in points", 0.0, 50.0, 2.0, 0.5, key="evaluate.margin", persist_state="session",
                             help="Differences up to this size count as none.")  # fmt: skip
    return tuple(metrics), baseline or 0, points / 100


def _start(name: str, collection: Collection, chosen: str, asked: int, plan: Plan) -> None:
    try:
        questions = _drawn(Sets(collection), chosen, asked)
        _, run = submit_evaluation(state.workbench(name), questions, plan)
    except RagkitError as error:
        st.session_state["evaluate.error"] = error
        return
    st.query_params["run"] = str(run)


def _drawn(sets: Sets, name: str, asked: int) -> EvaluationSet:
    """The set, or a draw of so many of its questions, kept under a name that says so; the same draw every time."""
    whole = sets.get(name)
    if asked >= whole.count:
        return whole
    questions = sets.questions(name)
    places = sorted(random.Random(0).sample(range(whole.count), asked))
    return sets.put(f"{name[:52]}-{asked}", [questions[place] for place in places],
                    f"{asked} of {name}, version {whole.version}")  # fmt: skip
