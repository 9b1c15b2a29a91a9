"""One evaluation run: how far it is, why it stopped, or what it found."""

from __future__ import annotations

import streamlit as st

from ingest.evaluations import job_of, queue_evaluation
from ingest.launch import ensure_worker
from ragkit.collection import Collection
from ragkit.evaluate.export import as_csv, as_json
from ragkit.evaluate.page import figure, html
from ragkit.evaluate.report import COSTS, Report
from ragkit.evaluation import load_report
from ragkit.jobs import Job, Jobs
from ragkit.runs import Run, Runs
from ui import charts, drilldown, state
from ui import evaluation_views as views
from ui.views import ago, bar, button, count, el, notice, number, panel, put, seconds


def show(collection: Collection, run: Run) -> None:
    """The run, in whatever state it is."""
    job = job_of(collection, run.id)
    if run.state == "done":
        _report(collection, _load(str(collection.home), collection.name, run.id, run.finished or ""))
        return
    put(el("h3", run.name), el("p", _told(run), class_="rk-muted rk-small"))
    if job is not None and not job.over:
        ensure_worker(collection)
        st.fragment(_progress, run_every=0.6)(collection, run.id, job.id)
        return
    if job is not None and job.state == "failed":
        notice("bad", job.reason or "The evaluation failed.", "What was answered is kept.")
    elif job is not None and job.state == "cancelled":
        notice("warn", "Stopped by you.", "What was answered is kept: going on repeats nothing.")
    else:
        notice("warn", "This run is not finished, and nobody is at work on it here.",
               "It may run from the command line. What was answered is kept.")  # fmt: skip
    with st.container(horizontal=True):
        st.button("Go on", type="primary", icon=":material/play_arrow:", key="run.resume",
                  on_click=_resume, args=(collection, run.id))  # fmt: skip
        st.button("Forget this run", icon=":material/delete:", key="run.forget", on_click=_forget,
                  args=(collection, run.id))  # fmt: skip


def _told(run: Run) -> str:
    plan = run.plan_of
    parts = [", ".join(variant.name for variant in plan.variants), *map(views.column_name, plan.columns)]
    return " · ".join([f"Run {run.id}", *parts, ago(run.created)])


def _resume(collection: Collection, run: int) -> None:
    with state.mendable():
        queue_evaluation(collection, run)


def _forget(collection: Collection, run: int) -> None:
    with state.mendable():
        Runs(collection).remove(run)
    st.query_params.pop("run", None)


def _progress(collection: Collection, run: int, job: int) -> None:
    """Polls; when the job ends, the page is drawn anew."""
    now = next((each for each in Jobs(collection).waiting() if each.id == job), None)
    if now is None or Runs(collection).get(run).state == "done":
        st.rerun()
    assert now is not None
    panel("run-progress", el("div", *progress(now), class_="rk-card"),
          on_event=lambda _, chosen: Jobs(collection).cancel(int(chosen)))  # fmt: skip


def progress(job: Job) -> list:
    """Bar, rate and time left of a job, and the way to stop it."""
    done = job.progress
    facts = [f"{number(done.files)} of {count(done.total, 'answer')}"] if done.total else []
    if done.rate:
        facts.append(f"{done.rate:.1f} answers/s" if done.rate >= 0.1 else f"{seconds(1 / done.rate)} an answer")
    if done.left is not None and done.files < done.total:
        facts.append(f"about {seconds(max(done.left, 1))} left")
    title = "Answering" if done.total else "Starting: the models are loaded" if job.state == "running" else "Waits"
    stop = el("span", "Stopping …", class_="rk-muted") if job.cancel else button("Cancel", "cancel", str(job.id))
    head = el("div", el("b", title, class_="rk-pulse"), el("span", " · ".join(facts), class_="rk-muted rk-small"),
              class_="rk-card-top")  # fmt: skip
    return [head, bar(done.share if done.total else None, "All answers"),
            el("div", stop, class_="rk-below-bar rk-small")]  # fmt: skip


@st.cache_resource(show_spinner=False, max_entries=4)
def _load(home: str, name: str, run: int, finished: str) -> Report:
    return load_report(state.workbench(name), run)


def _report(collection: Collection, report: Report) -> None:
    _head(report)
    column = report.columns[0]
    if len(report.columns) > 1:
        preferred = report.columns.index("retrieved") if "retrieved" in report.columns else 0
        column = report.columns[preferred]
        column = st.segmented_control("What the model read", report.columns, default=column, required=True,
                                      format_func=views.column_name, key=f"column.{report.run}") or column  # fmt: skip
    _leaders(report, column)
    if len(report.variants) > 1:
        base = report.variants[report.baseline]
        told = (f", {views.column_name(column)}, question by question; 95 % intervals, Holm's correction over all "
                f"{count(len(report.verdicts), 'comparison')}, margin {report.margin * 100:g} points.")
        put(el("h4", "Is it better?"), el("p", "Against ", el("b", base), told, class_="rk-muted rk-small"),
            views.verdicts(report, column), class_="rk-section")  # fmt: skip
    _causes(report, column)
    drilldown.show(collection, report, column)


def _head(report: Report) -> None:
    facts = [f"Run {report.run}", count(len(report.questions), "question"), count(len(report.variants), "variant")]
    facts += [f"set version {report.version}"] if report.version else []
    facts += [f"{number(report.generated)} generated, {number(report.cached)} from the cache"]
    facts += [f"{number(report.withheld)} held back"] if report.withheld else []
    facts += [seconds(report.seconds), ago(report.created)]
    with st.container(horizontal=True, vertical_alignment="center", key="report-head"):
        put(el("h3", report.name), el("p", " · ".join(facts), class_="rk-muted rk-small"))
        stem = f"{report.name}-run-{report.run}"
        for label, make, ending, kind in (
            ("HTML", html, "html", "text/html"),
            ("CSV", as_csv, "csv", "text/csv"),
            ("JSON", as_json, "json", "application/json"),
        ):
            st.download_button(label, lambda make=make: make(report), f"{stem}.{ending}", kind, on_click="ignore",
                               key=f"report.{ending}", icon=":material/download:")  # fmt: skip
    for note in report.notes:
        notice("info", note)


def _leaders(report: Report, column: str) -> None:
    """The chart of one metric over everything that was read, and the table of one column."""
    put(el("h4", "Leaderboard"), class_="rk-section")
    if not report.measured:
        notice("warn", "Nothing could be measured.", "The table says why.")
    else:
        with st.container(horizontal=True, vertical_alignment="center"):
            metric = st.selectbox("Metric", report.measured, key="report.metric", width=240,
                                  label_visibility="collapsed") or report.measured[0]  # fmt: skip
            every = st.toggle("All metrics", key="report.every")
        st.altair_chart(_chart(report, metric), width="stretch", key="report.chart")
        metrics = views.shown_metrics(report, every)
        put(views.leaderboard(report, column, metrics))
        put(views.reasons(report, column, metrics), class_="rk-after")
        return
    put(views.leaderboard(report, column, report.metrics), views.reasons(report, column, report.metrics))


def _chart(report: Report, metric: str):  # noqa: ANN202 - Altair's own type
    scale = 1.0 if metric in COSTS else 100.0
    points = []
    for place, name in enumerate(report.variants):
        for column in report.columns:
            cell = report.summary(place, column, metric)
            if cell is None or cell.mean is None:
                continue
            ends = [None if end is None else end * scale for end in (cell.low, cell.high)]
            span = f" ({figure(cell.low, metric)} to {figure(cell.high, metric)})" if None not in ends else ""
            told = f"{figure(cell.mean, metric)}{span}, {count(cell.questions, 'question')}"
            points.append(charts.Point(name, cell.mean * scale, *ends, views.column_name(column), told))  # type: ignore[arg-type]
    unit = "" if metric in COSTS else " (points of 100)"
    return charts.intervals(points, f"{metric}{unit}, mean and 95 % interval")


def _causes(report: Report, column: str) -> None:
    rows = [(report.variants[each.variant], each.counts) for each in report.causes if each.column == column]
    there = [name for name in views.COLOURS if any(name in counts for _, counts in rows)]
    if not there or there == ["not judged"]:
        return
    put(el("h4", "What became of the questions"), class_="rk-section")
    st.altair_chart(charts.shares(rows, views.COLOURS), width="stretch", key="report.causes")
    put(views.legend(there))
