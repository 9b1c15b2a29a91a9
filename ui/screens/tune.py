"""Tune: trainings that go on, the adapters that came of them, and the form that starts one."""

from __future__ import annotations

import streamlit as st

from ingest.tunings import Training, trainings
from ragkit import adapters
from ragkit.adapters import Adapter
from ragkit.collection import Collection
from ragkit.promotions import Promotions
from ui import state, tuning_adapter, tuning_form, tuning_library, tuning_run
from ui.views import Html, ago, button, count, el, empty, heading, icon, join, panel, put, size

_TOLD = "Train a small adapter on questions with answers, then let the numbers say whether it is better."
TASKS = {"generate": "writes", "extract": "quotes"}
STATES = {
    "running": ("training", "rk-info"),
    "queued": ("waits", "rk-info"),
    "failed": ("failed", "rk-bad"),
    "cancelled": ("stopped", "rk-warn"),
}


def show() -> None:
    """The page."""
    name = state.chosen()
    if name is None:
        heading("Tune", _TOLD)
        empty("model_training", "Nothing to tune on yet", "Add documents first.")
        st.page_link(st.session_state["pages"]["documents"], label="Add documents", icon=":material/upload_file:")
        return
    with state.mendable():
        collection = state.collection(name)
        training, adapter = st.query_params.get("training", ""), st.query_params.get("adapter", "")
        if training or adapter:
            st.button("All adapters", icon=":material/arrow_back:", type="tertiary", on_click=state.leave)
        if training:
            tuning_run.show(collection, training)
        elif adapter:
            tuning_adapter.show(collection, adapters.find(adapter, collection.home))
        else:
            _overview(name, collection)


def _overview(name: str, collection: Collection) -> None:
    heading("Tune", _TOLD)
    going, there = trainings(collection), adapters.listing(collection.home)
    tabs = st.tabs(["Adapters", "New training", "Import"], default="Adapters" if going or there else "New training",
                   key="tune.tabs")  # fmt: skip
    with tabs[0]:
        _library(collection, going, there)
    with tabs[1], state.mendable():
        tuning_form.show(name, collection)
    with tabs[2], state.mendable():
        tuning_library.import_form(collection)


def _library(collection: Collection, going: list[Training], there: list[Adapter]) -> None:
    broken = adapters.damaged(collection.home)
    if not going and not there:
        empty("model_training", "No adapter yet", "Start a training, or import an adapter that was made elsewhere.")
    if going:
        panel("trainings", el("div", *map(_training, going), class_="rk-rows"),
              on_event=lambda _, each: open_training(each))  # fmt: skip
    if there:
        defaults = {(each.task, each.adapter) for each in _standing(collection)}
        rows = [_adapter(each, (each.task, each.name) in defaults) for each in there]
        panel("adapters", el("div", *rows, class_="rk-rows"), on_event=lambda _, each: open_adapter(each))
    for name, reason in broken.items():
        put(el("p", icon("error"), " ", el("b", name), f": {reason}", class_="rk-small rk-said-bad"))
    if any(each.job is not None and not each.job.over for each in going):
        st.fragment(_watch, run_every=2.0)(collection, [each.name for each in going])


def _standing(collection: Collection) -> list:
    """The promotion on top for every task and base."""
    seen, found = set(), []
    for each in Promotions(collection).history():
        place = each.task if each.task == "extract" else (each.task, each.base)
        if each.state == "promoted" and place not in seen:
            seen.add(place)
            found.append(each)
    return found


def _watch(collection: Collection, before: list[str]) -> None:
    """Draws the list anew when a training has ended or begun."""
    now = trainings(collection)
    if [each.name for each in now] != before or all(each.job is None or each.job.over for each in now):
        st.rerun()


def open_training(name: str) -> None:
    """Go to a training."""
    state.leave()
    st.query_params["training"] = name


def open_adapter(name: str) -> None:
    """Go to an adapter."""
    state.leave()
    st.query_params["adapter"] = name


def _training(each: Training) -> Html:
    said, tone = STATES.get(each.job.state if each.job else "cancelled", ("stopped", "rk-warn"))
    settings = each.plan.settings
    told = f"{settings.method} on {tuning_adapter.base_name(settings.base)} · {settings.template}"
    share = each.job.progress.share if each.job and not each.job.over else None
    side = f"{share:.0%}" if share else ""
    top = el("span", el("span", each.name, class_="rk-name"), el("span", said, class_=f"rk-badge {tone}"),
             class_="rk-name-line")  # fmt: skip
    main = el("span", top, el("span", told, class_="rk-muted rk-small rk-one-line rk-block"), class_="rk-main")
    return button(join([main, el("span", side, class_="rk-side")]), "open", each.name, "rk-row")


def _adapter(each: Adapter, default: bool) -> Html:
    rows = each.card.get("rows", {}).get("train")
    told = [f"{TASKS[each.task]}, {each.method} on {tuning_adapter.base_name(each.base)}", each.template]
    told.append(count(rows, "row") if rows else each.source)
    marks = [el("span", "default", class_="rk-badge rk-good") if default else None,
             el("span", "bundled", class_="rk-badge") if each.bundled else None,
             el("span", "imported", class_="rk-badge") if each.source == "imported" else None]  # fmt: skip
    top = el("span", el("span", each.name, class_="rk-name"), *marks, class_="rk-name-line")
    line = el("span", " · ".join(filter(None, told)), class_="rk-muted rk-small rk-one-line rk-block")
    side = el("span", size(each.bytes), el("br"), ago(each.created) if each.created else "", class_="rk-side")
    name = str(each.folder) if each.bundled else each.name
    return button(join([el("span", top, line, class_="rk-main"), side]), "open", name, "rk-row")
