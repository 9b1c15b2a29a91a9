"""Files on their way in: the drop zone, what is being read, what was refused and why."""

from __future__ import annotations

import streamlit as st

from ingest.catalog import LOADERS
from ingest.launch import ensure_worker, submit_ingest
from ingest.tunings import KINDS
from ingest.uploads import safe_name, stage_upload
from ragkit.collection import Collection
from ragkit.home import check_name
from ragkit.jobs import Job, JobFile, Jobs
from ragkit.types import Document
from ui import state
from ui.views import Html, bar, button, count, el, icon, join, notice, number, panel, put, seconds

_SHOWN = 40
"""Files of a running job that are listed; of more, those that are being read and the refused ones come first."""
ELSEWHERE = ("evaluate", *KINDS)
"""Kinds of jobs that another page follows."""
_ORDER = {"reading": 0, "refused": 1, "waiting": 2}
_LOOK = {
    "waiting": ("schedule", "Waits"),
    "reading": ("hourglass_top", "Being read"),
    "added": ("check_circle", "Added"),
    "replaced": ("check_circle", "Replaced"),
    "unchanged": ("check_circle", "Already there, unchanged"),
    "refused": ("error", "Refused"),
}


def upload(collection: Collection) -> None:
    """The drop zone. What is dropped is kept, queued, and read by a worker process."""
    turn = st.session_state.setdefault("upload-turn", 0)
    files = st.file_uploader(
        "Add documents", accept_multiple_files=True, key=f"upload-{turn}", help=f"Reads {', '.join(LOADERS.names)}.",
    )  # fmt: skip
    if files:
        with st.spinner("Keeping the files …"), state.mendable():
            staged = [stage_upload(collection, file.name, file) for file in files]
            submit_ingest(collection, uploads=staged)
        st.session_state["upload-turn"] = turn + 1  # an uploader of another key is an empty one
        st.rerun()


def first_upload() -> None:
    """The drop zone of a home without collections: the first file makes one."""
    with state.mendable():
        name = check_name(st.text_input("Name of the new collection", "documents", key="first-name", max_chars=64))
        files = st.file_uploader("Add documents", accept_multiple_files=True, key="first-upload",
                                 help=f"Reads {', '.join(LOADERS.names)}.")  # fmt: skip
        if files:
            collection = Collection.open(state.home(), name, create=True)
            submit_ingest(collection, uploads=[stage_upload(collection, file.name, file) for file in files])
            st.rerun()


def replacement(collection: Collection, document: Document) -> None:
    """A drop zone for a newer version of a document; the old one answers until the new one is in."""
    if safe_name(document.name) != document.name:
        notice("info", "This document came from a folder.", "Put that folder in again to replace what has changed.")
        return
    put(el("p", "The new file takes this document's name. The old version stays until the new one is read."))
    file = st.file_uploader("New version", key=f"replace-{document.sha256}")
    if file is not None:
        submit_ingest(collection, uploads=[stage_upload(collection, document.name, file)])
        st.query_params.pop("document", None)
        st.rerun()


def work(collection: Collection, pending: int) -> None:
    """What is going on with files in this collection, and what came of it. Polls while anything is going on.

    `pending` is how many jobs there were when the page read its list of documents.
    """
    ensure_worker(collection)  # after a crash or a restart, what waits is taken up again
    st.fragment(_work, run_every=0.6 if pending else None)(collection, pending)


def _work(collection: Collection, pending: int) -> None:
    jobs = Jobs(collection)
    if pending and jobs.pending() < pending:
        st.rerun()  # a job has ended: the list of documents is drawn anew
    listed = [job for job in jobs.list(limit=20) if job.kind not in ELSEWHERE]
    busy = any(job.state == "running" for job in listed)
    for job in reversed(listed):
        if not job.over:
            _running(jobs, job, busy)
    over = [job for job in listed if job.over]
    _refusals(jobs, over)


def _running(jobs: Jobs, job: Job, busy: bool) -> None:
    files = jobs.files(job.id)
    progress = job.progress
    facts = [f"{number(progress.files)} of {count(progress.total or len(files), 'file')}"]
    if progress.rate:
        facts.append(f"{progress.rate:.0f} passages/s")
    if progress.left is not None:
        facts.append(f"about {seconds(max(progress.left, 1))} left")
    title = "Reading files"
    if job.state == "queued":
        title = "Waits for the files before it" if busy else "Starting"
    head = el("div", el("b", title, class_="" if job.state == "queued" and busy else "rk-pulse"),
              el("span", " · ".join(facts), class_="rk-muted rk-small"), class_="rk-card-top")  # fmt: skip
    shown = sorted(files, key=lambda item: _ORDER.get(item.state, 3))[:_SHOWN]
    rows = [_file(item) for item in shown]
    if len(files) > len(shown):
        rows.append(el("p", f"and {number(len(files) - len(shown))} more", class_="rk-muted rk-small"))
    stop = el("span", "Stopping …", class_="rk-muted") if job.cancel else button("Cancel", "cancel", str(job.id))
    panel(
        f"job-{job.id}",
        el("div", head, bar(progress.share, "All files"), el("div", *rows, class_="rk-files"), stop, class_="rk-card"),
        on_event=lambda _, number: jobs.cancel(int(number)),
    )


def _file(item: JobFile) -> Html:
    symbol, said = _LOOK[item.state]
    if item.pages or item.chunks:
        said += f": {count(item.pages, 'page')}, {count(item.chunks, 'passage')}"
    tone = {"refused": " rk-file-bad", "waiting": " rk-file-waits"}.get(item.state, "")
    moving = {"reading": bar(None, item.file), "waiting": bar(0, item.file)}.get(item.state)
    name = el("span", item.file, class_="rk-name rk-one-line", title=item.file)
    result = el("span", item.reason or said, class_="rk-said")
    return el("div", icon(symbol), name, moving, result, class_=f"rk-file rk-file-{item.state}{tone}")


def _refusals(jobs: Jobs, over: list[Job]) -> None:
    """Files that did not go in, and jobs that failed, until they are dismissed."""
    refused = [item for job in over for item in jobs.files(job.id) if item.state == "refused"]
    failed = [job for job in over if job.state == "failed"]
    cancelled = [job for job in over if job.state == "cancelled"]
    if not refused and not failed and not cancelled:
        return
    parts = [el("p", icon("error"), " ", job.reason or "The job failed.", class_="rk-file-bad") for job in failed]
    if cancelled:
        parts.append(el("p", "Cancelled by you. What was in by then stays.", class_="rk-muted"))
    if refused:
        parts.append(el("b", f"{count(len(refused), 'file')} could not be read"))
        parts.append(el("div", *(_file(item) for item in refused[:200]), class_="rk-files"))
    panel("refused", el("div", join(parts), button("Dismiss", "dismiss"), class_="rk-card rk-refused"),
          on_event=lambda *_: jobs.clear())  # fmt: skip
