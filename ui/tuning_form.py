"""The form that starts a training: what to learn from, what to train, what it will take."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter

import streamlit as st

from ingest.tunings import estimate_job, measured, submit_estimate, submit_tuning
from ragkit import adapters, models
from ragkit.catalog import TASKS, TUNERS
from ragkit.collection import Collection
from ragkit.errors import RagkitError
from ragkit.jobs import Jobs
from ragkit.settings import RetrieveSettings, TuneSettings
from ragkit.tuning import TunePlan
from ragkit.workbench import Workbench
from ui import state, tuning_data_views, tuning_sources
from ui.forms import fields
from ui.views import bar, button, el, notice, number, panel, problem, put, seconds, size

MAIN = ("rank", "learning_rate", "epochs", "passages", "absent", "sweep")
"""Settings that are shown first; the others are behind "More settings"."""
_ELSEWHERE = ("task", "base", "method", "template", "start")
_LORA = ("rank", "alpha", "dropout", "rslora", "dora")
"""Settings that only the method lora has."""
_KINDS = {"generate": "generator", "extract": "embedder"}
KEY = "tune"


def show(name: str, collection: Collection) -> None:
    """The form. What it holds is checked when it is estimated or started."""
    workbench = state.workbench(name)
    put(el("h4", "What to learn from"), class_="rk-section")
    sources, against = tuning_sources.show(collection)
    chosen = any(dataclasses.astuple(sources))
    if chosen:
        tuning_data_views.counted(name, collection, sources)
    else:
        put(el("p", "Upload questions with answers, or choose a set, to go on.", class_="rk-muted"))
    put(el("h4", "What to train"), class_="rk-section")
    settings = _settings(workbench)
    plan = TunePlan(_name(), sources, settings, RetrieveSettings(), against)
    if chosen:
        _go(name, collection, plan)
        tuning_data_views.look(name, collection, plan)


def _settings(workbench: Workbench) -> TuneSettings:
    """Task, base, method, template, adapter to go on from, and numbers."""
    left, right = st.columns(2)
    with left:
        st.text_input("Name of the adapter", key=f"{KEY}.name", persist_state="session", max_chars=64,
                      placeholder="first-adapter", help="Letters, digits, hyphens and underscores.")  # fmt: skip
    with right:
        settings = fields(TuneSettings(), ("task",), KEY, {"task": TASKS.names}, columns=1)
    kind = _KINDS[settings.task]
    bases = [each.name for each in models.BUILT_INS.values() if each.kind == kind]
    settings = dataclasses.replace(settings, base=bases[0] if bases else settings.base)
    names = ("base", "method", "template") if settings.task == "generate" else ("base", "method")
    menus = {"base": bases, "method": TUNERS.names, "template": workbench.templates.names}
    settings = fields(settings, names, f"{KEY}.{settings.task}", menus, columns=len(names), more=("base",))
    parts = [TASKS.row(settings.task).summary, TUNERS.row(settings.method).summary]
    put(el("p", " ".join(parts), class_="rk-muted rk-small"))
    if starts := _starts(workbench, settings):
        settings = fields(settings, ("start",), f"{KEY}.{settings.task}", {"start": ["", *starts]}, columns=1)
    hidden = set(_ELSEWHERE) | (set(_LORA) if settings.method != "lora" else set())
    settings = fields(settings, [each for each in MAIN if each not in hidden], KEY, columns=3)
    put(el("p", "0 takes the default of the method and the size of the model.", class_="rk-muted rk-small"))
    with st.expander("More settings", type="compact"):
        rest = [part.name for part in dataclasses.fields(TuneSettings) if part.name not in (*hidden, *MAIN)]
        return fields(settings, rest, KEY, columns=3)


def _starts(workbench: Workbench, settings: TuneSettings) -> list[str]:
    """Names of the adapters that a training of these settings can go on from."""
    if settings.method != "lora":
        return []
    there = adapters.listing(workbench.collection.home)
    fit = [each for each in there if (each.task, each.method, each.base) == (settings.task, "lora", settings.base)]
    return list(dict.fromkeys(each.name for each in fit))


def _name() -> str:
    return re.sub(r"\s+", "-", st.session_state.get(f"{KEY}.name", "").strip())


def _go(name: str, collection: Collection, plan: TunePlan) -> None:
    """Estimate and start."""
    named = dataclasses.replace(plan, name=plan.name or "unnamed")
    with st.container(horizontal=True, vertical_alignment="center", key="tune-go"):
        st.button("Estimate", icon=":material/speed:", on_click=_measure, args=(name, named),
                  key=f"{KEY}.estimate")  # fmt: skip
        st.button("Start the training", type="primary", icon=":material/play_arrow:", on_click=_start,
                  args=(name, plan), key=f"{KEY}.start", disabled=not plan.name)  # fmt: skip
        if not plan.name:
            put(el("p", "Give the adapter a name first.", class_="rk-muted rk-small"))
    if error := st.session_state.pop(f"{KEY}.error", None):
        problem(error)
    job = estimate_job(collection, named)
    if job is not None and not job.over:
        st.fragment(_measuring, run_every=0.6)(collection, job.id)
    elif job is not None and job.state == "failed":
        notice("bad", "The plan cannot be measured.", job.reason)
    else:
        _estimated(collection, named)


def _measuring(collection: Collection, number_: int) -> None:
    """Polls; when the estimate is there, the page is drawn anew."""
    jobs = Jobs(collection)
    there = jobs.waiting()
    job = next((each for each in there if each.id == number_), None)
    if job is None:
        st.rerun()
    assert job is not None
    progress = job.progress
    preparing = progress.doing == "preparing" and progress.total
    title = "Waits for the job before it" if there[0].id != job.id else "Finding the passages of the rows"
    told = f"{number(progress.files)} of {number(progress.total)}" if preparing else ""
    if progress.doing == "checking":
        title = "Measuring a few steps"
    stop = el("span", "Stopping …", class_="rk-muted") if job.cancel else button("Cancel", "cancel", str(job.id))
    head = el("div", el("b", title, class_="rk-pulse"), el("span", told, class_="rk-muted rk-small"),
              class_="rk-card-top")  # fmt: skip
    panel("estimate-progress",
          el("div", head, bar(progress.share if preparing else None, title),
             el("div", stop, class_="rk-below-bar rk-small"), class_="rk-card"),
          on_event=lambda _, chosen: jobs.cancel(int(chosen)))  # fmt: skip


def _estimated(collection: Collection, plan: TunePlan) -> None:
    found = measured(collection, plan)
    if found is None:
        return
    took = found.estimate
    facts = [
        ("Time", f"about {seconds(took.seconds)}"),
        ("Memory", size(took.bytes)),
        ("Rows", number(found.train)),
        ("Rows held out", number(found.held)),
        ("Steps", number(took.steps)),
        ("Tokens a second", number(round(took.tokens_per_second))),
        ("Weights that learn", f"{took.trainable / max(1, took.parameters):.1%}"),
    ]
    cells = (el("div", el("div", name, class_="rk-t"), el("div", value, class_="rk-v")) for name, value in facts)
    kinds = Counter(found.kinds)
    told = [f"{number(kinds[kind])} {said}" for kind, said in tuning_data_views.KINDS.items() if kinds[kind]]
    put(el("div", *cells, class_="rk-numbers"), el("p", ", ".join(told) + ".", class_="rk-small rk-muted rk-after"),
        class_="rk-card")  # fmt: skip
    tuning_data_views.left_out(found.left_out)
    for warning in found.warnings:
        notice("warn", warning)


def _measure(name: str, plan: TunePlan) -> None:
    try:
        submit_estimate(state.workbench(name), plan)
    except RagkitError as error:
        st.session_state[f"{KEY}.error"] = error


def _start(name: str, plan: TunePlan) -> None:
    try:
        submit_tuning(state.workbench(name), plan)
    except RagkitError as error:
        st.session_state[f"{KEY}.error"] = error
        return
    state.leave()
    st.query_params["training"] = plan.name

