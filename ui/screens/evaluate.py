"""Evaluate: sets of questions, runs of several variants over them, and what they show."""

from __future__ import annotations

import streamlit as st

from ragkit.collection import Collection
from ragkit.jobs import Jobs
from ragkit.runs import Run, RunError, Runs
from ragkit.sets import Sets
from ui import evaluation_run, evaluation_sets, evaluation_start, state
from ui.views import Html, ago, button, count, el, empty, heading, join, panel, put

STATES = {"done": "rk-good", "running": "rk-info", "waiting": "rk-info", "stopped": "rk-warn"}
_TOLD = "Many questions, several variants, one report with intervals: is it really better?"


def show() -> None:
    """The page."""
    name = state.chosen()
    if name is None:
        heading("Evaluate", _TOLD)
        empty("monitoring", "Nothing to evaluate on yet", "Add documents first.")
        st.page_link(st.session_state["pages"]["documents"], label="Add documents", icon=":material/upload_file:")
        return
    with state.mendable():
        collection = state.collection(name)
        run, chosen = st.query_params.get("run", ""), st.query_params.get("set", "")
        if run or chosen:
            st.button("All runs and sets", icon=":material/arrow_back:", type="tertiary", on_click=state.leave)
        if run:
            evaluation_run.show(collection, _run(collection, run))
        elif chosen:
            evaluation_sets.show_one(collection, chosen)
        else:
            _overview(name, collection)


def _run(collection: Collection, number: str) -> Run:
    if not number.isdecimal():
        raise RunError(f"There is no evaluation run {number!r}.", "Go back to the list of runs.")
    return Runs(collection).get(int(number))


def _overview(name: str, collection: Collection) -> None:
    heading("Evaluate", _TOLD)
    there = Sets(collection).list()
    runs = [run for run in Runs(collection).list() if run.kind == "evaluate"]
    tabs = st.tabs(["Runs", "New run", "Sets"], default="Runs" if runs else "New run" if there else "Sets",
                   key="evaluate.tabs")  # fmt: skip
    with tabs[0]:
        _runs(collection, runs, bool(there))
    with tabs[1]:
        if not there:
            empty("quiz", "No evaluation set yet", "A run needs questions. Import, write or draft a set first.")
        elif not collection.count():
            empty("description", "This collection is empty", "Add documents first.")
        else:
            with state.mendable():
                evaluation_start.show(name, collection, there)
    with tabs[2]:
        evaluation_sets.show(collection)


def _runs(collection: Collection, runs: list[Run], sets: bool) -> None:
    if not runs:
        told = "Start one: a set, one to four variants, and the numbers follow." if sets else "Begin with a set."
        empty("monitoring", "No evaluation yet", told)
        return
    busy = {job.args.get("run") for job in Jobs(collection).waiting() if job.kind == "evaluate"}
    panel("runs", el("div", *(_row(run, run.id in busy) for run in runs), class_="rk-rows"), on_event=_open)
    if busy:
        st.fragment(_watch, run_every=2.0)(collection, len(busy))


def _watch(collection: Collection, busy: int) -> None:
    """Draws the list anew when a run has ended."""
    now = sum(job.kind == "evaluate" for job in Jobs(collection).waiting())
    put(el("p", f"{count(now, 'run')} at work.", class_="rk-muted rk-small"))
    if now < busy:
        st.rerun()


def _row(run: Run, busy: bool) -> Html:
    plan = run.plan_of
    told = " · ".join([" against ".join(variant.name for variant in plan.variants), f"reads {', '.join(plan.columns)}"])
    said = run.state if run.state == "done" or busy else "stopped"
    mark = el("span", said, class_=f"rk-badge {STATES[said]}")
    top = el("span", el("span", run.name, class_="rk-name"), mark, class_="rk-name-line")
    main = el("span", top, el("span", told, class_="rk-muted rk-small rk-one-line rk-block"), class_="rk-main")
    side = el("span", f"run {run.id}", el("br"), ago(run.created), class_="rk-side")
    return button(join([main, side]), "open", str(run.id), "rk-row", title=told)


def _open(event: str, run: str) -> None:
    state.leave()
    st.query_params["run"] = run
