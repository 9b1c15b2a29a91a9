"""Follows a job that a worker process does: a line for each file, one bar, and Ctrl-C to cancel."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext

from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TaskProgressColumn, TextColumn

from ingest.launch import ensure_worker
from ragkit.collection import Collection
from ragkit.errors import Cancelled, RagkitError
from ragkit.jobs import Job, JobFile, Jobs
from ui.console import emit, interruptible, notes, write

PASSING = ("waiting", "reading")
COLOURS = {"added": "green", "replaced": "green", "unchanged": "dim", "refused": "red"}
SECONDS = 0.2
"""Between two looks at the database."""


class JobFailed(RagkitError):
    """A job that ended before its work was done."""


def follow(
    collection: Collection, number: int, *, as_json: bool = False, stopped: Callable[[], bool] | None = None
) -> list[JobFile]:
    """Show a job until it is over; returns its files. Ctrl-C cancels it, or whatever makes `stopped` true.

    With `as_json`, each file is one JSON object on standard output as soon as its state is final. Raises JobFailed with
    the reason, or Cancelled; what was finished before that stays in the collection.
    """
    jobs = Jobs(collection)
    told: set[str] = set()
    with (nullcontext(stopped) if stopped else interruptible()) as asked, _bar() as bar:
        task = bar.add_task("", total=1.0, rate="", left="", doing="starting")
        while True:
            job = jobs.get(number)
            files = jobs.files(number)
            for file in files:
                if file.state not in PASSING and file.file not in told:
                    told.add(file.file)
                    _tell(bar, file, as_json)
            _advance(bar, task, job, files)
            if job.over:
                break
            if asked() and not job.cancel:
                jobs.cancel(number)
            ensure_worker(collection)  # a worker that was killed is replaced, and takes the job up again
            time.sleep(SECONDS)
    if job.state == "failed":
        raise JobFailed(job.reason or f"Job {number} failed.")
    if job.state == "cancelled":
        done = sum(file.state not in PASSING for file in files)
        raise Cancelled(f"Cancelled after {done} of {len(files)} files; what was finished stays in the collection.")
    return files


def _bar() -> Progress:
    return Progress(
        SpinnerColumn(),
        BarColumn(16),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn("[dim]{task.fields[left]}[/]"),
        TextColumn("{task.fields[doing]}"),
        console=notes,
        transient=True,
    )


def _advance(bar: Progress, task: TaskID, job: Job, files: list[JobFile]) -> None:
    progress = job.progress
    reading = [file for file in files if file.state == "reading"]
    doing = "starting" if job.state == "queued" else "" if progress.total else "loading the embedding model"
    if reading:
        doing = f"{reading[0].file[-36:]} ({reading[0].pages} pages)"
    speed = f", {progress.rate:.0f} passages/s" if progress.rate else ""
    bar.update(
        task,
        completed=progress.share,
        rate=f"{progress.files}/{progress.total} files{speed}" if progress.total else "",
        left=f"{clock(progress.left)} left" if progress.left is not None else "",
        doing=escape(doing),
    )


def clock(seconds: float) -> str:
    """Minutes and seconds, from an hour on hours too."""
    if seconds >= 3600:
        return f"{int(seconds // 3600)}:{int(seconds % 3600 // 60):02d}:{int(seconds % 60):02d}"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def _tell(bar: Progress, file: JobFile, as_json: bool) -> None:
    if as_json:
        emit(dataclasses.asdict(file))
        return
    counts = f"{file.pages} page{'s' * (file.pages != 1)}, {file.chunks} passage{'s' * (file.chunks != 1)}"
    detail = file.reason if file.state == "refused" else counts
    if sys.stdout.isatty():  # the bar is on the same screen: let it make room
        colour = COLOURS[file.state]
        bar.console.print(f"[{colour}]{file.state:<9}[/] {escape(file.file)}  [dim]{escape(detail)}[/]", soft_wrap=True)
    else:
        write(f"{file.state:<9} {file.file}  {detail}\n")
