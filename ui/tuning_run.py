"""One training: how far it is, its curve, why it stopped."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from ingest.launch import ensure_worker
from ingest.tunings import Training, discard_tuning, submit_tuning, trainings
from ragkit import adapters
from ragkit.adapter_files import AdapterError
from ragkit.collection import Collection
from ragkit.errors import RagkitError
from ragkit.jobs import Job, Jobs
from ragkit.tune.rows import Point
from ragkit.tuning import read_log
from ui import charts, state
from ui.views import bar, button, count, el, notice, number, panel, problem, put, seconds

_TITLES = {
    "": "Starting",
    "preparing": "Finding the passages of the rows",
    "sweep": "Trying learning rates",
    "training": "Training",
    "checking": "Checking what was learnt",
}


def show(collection: Collection, name: str) -> None:
    """The training of that name, in whatever state it is; when it is done, its adapter."""
    found = next((each for each in trainings(collection) if each.name == name), None)
    if found is None:
        _over(collection, name)
        return
    if error := st.session_state.pop("training.error", None):
        problem(error)
    put(el("h3", found.name), el("p", _told(found), class_="rk-muted rk-small"))
    if found.job is not None and not found.job.over:
        ensure_worker(collection)
        st.fragment(_progress, run_every=1.0)(collection, name, found.job.id, found.folder)
        return
    if found.job is not None and found.job.state == "failed":
        notice("bad", found.job.reason or "The training failed.", "What was learnt up to the last checkpoint is kept.")
    else:
        notice("warn", "Stopped.", "What was learnt up to the last checkpoint is kept: going on repeats little.")
    with st.container(horizontal=True):
        st.button("Go on", type="primary", icon=":material/play_arrow:", key="training.resume",
                  on_click=_resume, args=(collection, found))  # fmt: skip
        st.button("Discard", icon=":material/delete:", key="training.discard", on_click=_discard,
                  args=(collection, name))  # fmt: skip
    curve(read_log(found.folder))


def _over(collection: Collection, name: str) -> None:
    try:
        adapters.find(name, collection.home)
    except AdapterError:
        notice("warn", "This training is not there.", "It was discarded, or it belongs to another collection.")
        return
    state.leave()
    st.query_params["adapter"] = name
    st.rerun()


def _told(found: Training) -> str:
    settings, sources = found.plan.settings, found.plan.sources
    data = [Path(file).name for file in sources.files] + list(sources.sets)
    data += ["votes and edits"] if sources.votes else []
    data += ["worked examples"] if sources.demonstrations else []
    through = "" if settings.task == "extract" else f" through {settings.template}"
    return " · ".join([f"{settings.method} on {settings.base}{through}", ", ".join(data)])


def _resume(collection: Collection, found: Training) -> None:
    try:
        submit_tuning(state.workbench(collection.name), found.plan)
    except RagkitError as error:
        st.session_state["training.error"] = error


def _discard(collection: Collection, name: str) -> None:
    try:
        discard_tuning(collection, name)
        state.leave()
    except RagkitError as error:
        st.session_state["training.error"] = error


def _progress(collection: Collection, name: str, number_: int, folder: Path) -> None:
    """Polls; when the job ends, the page is drawn anew."""
    jobs = Jobs(collection)
    there = jobs.waiting()
    job = next((each for each in there if each.id == number_), None)
    if job is None:
        st.rerun()
    assert job is not None
    points = read_log(folder)
    panel("training-progress", el("div", *_facts(job, points, there[0].id != job.id), class_="rk-card"),
          on_event=lambda _, chosen: jobs.cancel(int(chosen)))  # fmt: skip
    curve(points)


def _facts(job: Job, points: list[Point], waits: bool) -> list:
    """Stage, numbers, bar and the way to stop."""
    now = job.progress
    facts = []
    if now.doing == "preparing":
        facts = [f"{number(now.files)} of {count(now.total, 'row')}"]
    elif now.doing in ("training", "sweep") and now.total:
        facts = [f"step {number(now.files)} of {number(now.total)}"]
        facts += [f"{number(round(now.rate))} tokens/s"] if now.rate else []
        facts += [f"about {seconds(max(now.left, 1))} left"] if now.left is not None else []
    title = "Waits for the job before it" if waits else _TITLES.get(now.doing, now.doing)
    stop = el("span", "Stopping …", class_="rk-muted") if job.cancel else button("Cancel", "cancel", str(job.id))
    head = el("div", el("b", title, class_="rk-pulse"), el("span", " · ".join(facts), class_="rk-muted rk-small"),
              class_="rk-card-top")  # fmt: skip
    share = now.share if now.total and now.doing != "checking" else None
    losses = [("Loss", _last(points, "loss")), ("Held-out loss", _last(points, "held_out_loss"))]
    told = " · ".join(f"{label} {value:.3f}" for label, value in losses if value is not None)
    foot = el("div", el("span", told), stop, class_="rk-below-bar rk-small rk-spread")
    return [head, bar(share, title), foot]


def _last(points: list[Point], name: str) -> float | None:
    return next((value for point in reversed(points) if (value := getattr(point, name)) is not None), None)


def curve(points: list[Point]) -> None:
    """The losses against the steps."""
    shown = [point for point in points if point.loss is not None or point.held_out_loss is not None]
    if len(shown) < 2:
        return
    losses = [(point.step, point.loss) for point in shown if point.loss is not None]
    held = [(point.step, point.held_out_loss) for point in shown if point.held_out_loss is not None]
    put(el("h4", "Loss"), class_="rk-section")
    st.altair_chart(charts.curves({"training rows": losses, "held-out rows": held}, "step", "loss"), width="stretch",
                    key="training.curve")  # fmt: skip
