"""The gate of an adapter: held against the default on questions it has not seen, and made the default if it passes."""

from __future__ import annotations

import streamlit as st

from ingest.launch import ensure_worker
from ingest.tunings import held, last_job, submit_gate
from ragkit import promotion
from ragkit.adapters import Adapter
from ragkit.collection import Collection
from ragkit.errors import RagkitError
from ragkit.evaluate.gate import Row
from ragkit.evaluate.page import figure
from ragkit.jobs import Jobs
from ragkit.promotion import NO_READER, Gate
from ragkit.promotions import Promotion, Promotions
from ragkit.sets import Sets
from ragkit.settings import RetrieveSettings
from ui import state
from ui.views import Html, ago, bar, button, count, el, icon, notice, number, panel, problem, put, seconds

_TONES = {"passed": "rk-good", "failed": "rk-bad", "cannot tell yet": "rk-warn"}
_NOTICES = {"passed": "good", "failed": "bad", "cannot tell yet": "warn"}
_ROLES = {"decides": "decides", "must not fall": "must not fall", "shown": ""}


def show(collection: Collection, adapter: Adapter) -> None:
    """Where it stands, the way to measure it, and what came of that."""
    put(el("h4", "Is it better than the default?"),
        el("p", "Both answer every question of a set that the adapter was not trained on. It may become the default "
           "only if it is better, and nothing that must not fall has fallen.", class_="rk-muted rk-small"),
        class_="rk-section")  # fmt: skip
    name = state.workbench(collection.name).defaults.reference(adapter)
    standing = Promotions(collection).current(adapter.task, None if adapter.task == "extract" else adapter.base)
    if standing is not None and standing.sha256 == adapter.sha256:
        _default(collection, standing)
    job = last_job(collection, "gate", adapter=name)
    if job is not None and not job.over:
        ensure_worker(collection)
        st.fragment(_progress, run_every=0.8)(collection, job.id)
        return
    if standing is None or standing.sha256 != adapter.sha256:
        _start_form(collection, name)
    if error := st.session_state.pop("gate.error", None):
        problem(error)
    if job is not None and job.state == "failed":
        notice("bad", "It could not be measured.", job.reason)
    elif job is not None and job.state == "cancelled":
        notice("warn", "Stopped by you.", "What was answered is kept: measuring again goes on from there.")
    found = held(collection, name)
    if found is not None and found.sha256 == adapter.sha256:
        _result(collection, found, standing is not None and standing.sha256 == adapter.sha256)


def _default(collection: Collection, standing: Promotion) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key="gate-default"):
        put(el("p", icon("verified"), f" It is the default of {standing.base} since {ago(standing.created)}.",
               class_="rk-said-good"))  # fmt: skip
        st.button("Roll back", icon=":material/undo:", key="gate.back", on_click=_back,
                  args=(collection, standing))  # fmt: skip


def _start_form(collection: Collection, name: str) -> None:
    sizes = {each.name: each.count for each in Sets(collection).list()}
    if not sizes:
        told = "Import, write or draft one on the page Evaluate: questions that the adapter was not trained on."
        notice("info", "There is no evaluation set yet.", told)
        return
    with st.container(horizontal=True, vertical_alignment="bottom", key="gate-bar"):
        chosen = st.selectbox("Evaluation set", list(sizes), key="gate.set", persist_state="session", width=320,
                              format_func=lambda each: f"{each} ({count(sizes[each], 'question')})")  # fmt: skip
        st.button("Measure it", icon=":material/balance:", type="primary", key="gate.start", on_click=_start,
                  args=(collection, name, chosen))  # fmt: skip


def _start(collection: Collection, name: str, chosen: str) -> None:
    try:
        submit_gate(collection, name, chosen, RetrieveSettings())
    except RagkitError as error:
        st.session_state["gate.error"] = error


def _progress(collection: Collection, number_: int) -> None:
    """Polls; when the gate was held, the page is drawn anew."""
    jobs = Jobs(collection)
    there = jobs.waiting()
    job = next((each for each in there if each.id == number_), None)
    if job is None:
        st.rerun()
    assert job is not None
    now = job.progress
    facts = [f"{number(now.files)} of {count(now.total, 'answer')}"] if now.total else []
    facts += [f"about {seconds(max(now.left, 1))} left"] if now.left is not None and now.files < now.total else []
    title = "Waits for the job before it" if there[0].id != job.id else "Answering" if now.total else "Starting"
    stop = el("span", "Stopping …", class_="rk-muted") if job.cancel else button("Cancel", "cancel", str(job.id))
    head = el("div", el("b", title, class_="rk-pulse"), el("span", " · ".join(facts), class_="rk-muted rk-small"),
              class_="rk-card-top")  # fmt: skip
    panel("gate-progress",
          el("div", head, bar(now.share if now.total else None, "All answers"),
             el("div", stop, class_="rk-below-bar rk-small"), class_="rk-card"),
          on_event=lambda _, chosen: jobs.cancel(int(chosen)))  # fmt: skip


def _result(collection: Collection, found: Gate, promoted: bool) -> None:
    notice(_NOTICES[found.outcome], found.words, *found.notes)
    put(rows(found), class_="rk-after")
    with st.container(horizontal=True, vertical_alignment="center", key="gate-end"):
        if found.passed and not promoted:
            st.button("Make it the default", type="primary", icon=":material/verified:", key="gate.promote",
                      on_click=_promote, args=(collection, found))  # fmt: skip
        st.button("See every answer", type="tertiary", icon=":material/monitoring:", key="gate.run",
                  on_click=_remember, args=(found.run,))  # fmt: skip
    if st.session_state.pop("gate.open", None):
        st.switch_page(st.session_state["pages"]["evaluate"], query_params={"run": str(found.run)})


def _remember(run: int) -> None:
    st.session_state["gate.open"] = run


def rows(found: Gate) -> Html:
    """The table: a metric a row, the adapter and the default, the verdict and what it says to the promotion."""
    other = found.default.name if found.default else NO_READER
    heads = ("Metric", found.adapter, f"Now: {other}", "Verdict", "")
    head = el("tr", *(el("th", cell, scope="col") for cell in heads))
    body = [_row(each) for each in found.rows]
    told = f"{count(found.asked, 'question')} of {found.name}, margin {found.margin * 100:g} points"
    return el("div", el("div", el("table", el("thead", head), el("tbody", *body), class_="rk-table rk-gate"),
                        class_="rk-scroll", tabindex="0", role="region", aria_label="The gate"),
              el("p", told, class_="rk-muted rk-small rk-after"))  # fmt: skip


def _row(row: Row) -> Html:
    means = ["–" if value is None else figure(value, row.metric) for value in (row.candidate, row.default)]
    role = el("small", _ROLES[row.role]) if _ROLES[row.role] else None
    against = row.role != "shown" or row.outcome != "passed"
    says = el("span", row.outcome, class_=f"rk-badge {_TONES[row.outcome]}") if against else None
    return el("tr", el("td", el("b", row.metric), role), *(el("td", mean) for mean in means),
              el("td", row.words, class_="rk-words"), el("td", says))  # fmt: skip


def _promote(collection: Collection, found: Gate) -> None:
    try:
        promotion.promote(state.workbench(collection.name), found)
        st.toast(f"{found.adapter} is the default now.", icon=":material/verified:")
    except RagkitError as error:
        st.session_state["gate.error"] = error


def _back(collection: Collection, standing: Promotion) -> None:
    try:
        promotion.roll_back(state.workbench(collection.name), standing.task, standing.base)
        st.toast("The default is what it was before.", icon=":material/undo:")
    except RagkitError as error:
        st.session_state["gate.error"] = error
