"""`ragkit tune`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn

from ingest.launch import ensure_worker
from ingest.tunings import Measured, folder_of, measured, submit_estimate, submit_tuning
from ragkit import adapters
from ragkit.adapters import Adapter
from ragkit.collection import Collection
from ragkit.errors import Cancelled
from ragkit.jobs import Job, Jobs
from ragkit.settings import IngestSettings, RetrieveSettings, TuneSettings
from ragkit.tuning import TunePlan, read_log
from ragkit.tuning_data import Sources, TuningError
from ragkit.types import to_json
from ragkit.workbench import Workbench
from ui.console import (
    COLLECTION,
    CollectionOption,
    HomeOption,
    JsonOption,
    emit,
    home_of,
    interruptible,
    notes,
    results,
    settings_options,
)
from ui.follow import SECONDS, JobFailed, clock

BY_SIZE = "by method and size of the model"
UNSET = {"rank": BY_SIZE, "alpha": "twice the rank", "learning_rate": BY_SIZE, "epochs": BY_SIZE}
STAGES = {
    "": "starting",
    "preparing": "finding the passages of the rows",
    "sweep": "trying learning rates",
    "training": "",
    "checking": "checking what was learnt",
}
_SEARCH = ("k", "abstain_below", "reader", "reader_below", "reader_above")
"""Of these, training has its own."""


@settings_options(TuneSettings, "settings", "What is trained, and how", unset=UNSET)
@settings_options(RetrieveSettings, "retrieval", "How the passages of the rows are found", skip=_SEARCH)
def tune(
    retrieval: dict[str, Any],
    settings: dict[str, Any],
    data: Annotated[
        list[Path] | None,
        typer.Argument(metavar="DATA...", help="Questions with answers: JSON lines, CSV or SQuAD JSON."),
    ] = None,
    name: Annotated[str, typer.Option("--name", "-n", metavar="NAME", help="What the adapter will be called.")] = "",
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="SET", help="Also train on this evaluation set; repeatable.")
    ] = None,
    votes: Annotated[
        bool, typer.Option("--votes", help="Also train on answers that were voted good, and on edited ones.")
    ] = False,
    examples: Annotated[
        bool, typer.Option("--demonstrations", help="Also train on the collection's worked examples.")
    ] = False,
    against: Annotated[
        list[str] | None,
        typer.Option("--against", metavar="SET", help="Leave out what is like a question of this set; repeatable."),
    ] = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Only say what the training would take: rows, time, memory.")
    ] = False,
    background: Annotated[
        bool, typer.Option("--background", help="Hand it to the worker and return: see `ragkit jobs`.")
    ] = False,
    collection: CollectionOption = COLLECTION,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train an adapter on questions with answers, and put it into the library.

    The worker trains; Ctrl-C stops it after a checkpoint, and the same command again goes on from there.
    """
    if not name and not estimate:
        raise typer.BadParameter("An adapter has a name: --name NAME.")
    if settings.get("task") == "extract":
        settings.setdefault("base", IngestSettings().embedder_model)
    workbench = Workbench.open(collection, home_of(home))
    files = tuple(str(path.expanduser().absolute()) for path in data or ())
    missing = [file for file in files if not Path(file).exists()]
    if missing:
        raise TuningError(f"{missing[0]} is not there.", "Give JSON lines, CSV or SQuAD JSON.")
    plan = TunePlan(
        name or "estimate",
        Sources(files, tuple(sets or ()), votes, examples),
        TuneSettings(**settings),
        RetrieveSettings(**retrieval),
        tuple(against or ()),
    )
    job = submit_estimate(workbench, plan) if estimate else submit_tuning(workbench, plan)
    if background:
        if as_json:
            emit({"job": job})
        else:
            notes.print(f"Job {job} is with the worker. Follow it with: ragkit jobs -c {workbench.collection.name}")
    elif estimate:
        _follow(workbench.collection, job, plan.name)
        found = measured(workbench.collection, plan)
        if found is None:
            raise JobFailed("The estimate is gone: another one has taken its place.", "Ask for it again.")
        emit(to_json(found)) if as_json else _show_estimate(found)
    else:
        _follow(workbench.collection, job, plan.name)
        adapter = adapters.find(plan.name, workbench.collection.home)
        emit(to_json(adapter)) if as_json else _show(adapter, workbench.collection.name)


def _follow(collection: Collection, number: int, name: str) -> None:
    """Show a training until it is over. Raises JobFailed with the reason, or Cancelled."""
    jobs = Jobs(collection)
    folder = folder_of(collection, name)
    bar = Progress(
        SpinnerColumn(),
        BarColumn(16),
        TaskProgressColumn(),
        TextColumn("{task.fields[told]}"),
        console=notes,
        transient=True,
    )
    with interruptible() as asked, bar:
        task = bar.add_task("", total=None, told="starting")
        while True:
            job = jobs.get(number)
            bar.update(task, completed=job.progress.files, total=job.progress.total or None, told=_told(job, folder))
            if job.over:
                break
            if asked() and not job.cancel:
                jobs.cancel(number)
            ensure_worker(collection)  # a worker that was killed is replaced, and goes on from the checkpoint
            time.sleep(SECONDS)
    if job.state == "failed":
        raise JobFailed(job.reason or f"Job {number} failed.")
    if job.state == "cancelled":
        raise Cancelled("Stopped.", "What was learnt is kept: the same command goes on from there.")


def _told(job: Job, folder: Path) -> str:
    """Loss, held-out loss, speed and time left."""
    progress = job.progress
    parts = [STAGES.get(progress.doing, progress.doing)]
    if progress.doing == "training":
        curve = read_log(folder)
        held = [point.held_out_loss for point in curve if point.held_out_loss is not None]
        losses = [point.loss for point in curve if point.loss is not None]
        parts += [f"step {progress.files:,}/{progress.total:,}"]
        parts += [f"loss {losses[-1]:.3f}"] if losses else []
        parts += [f"held out {held[-1]:.3f}"] if held else []
        parts += [f"{progress.rate:,.0f} tokens/s"] if progress.rate else []
        parts += [f"{clock(progress.left)} left"] if progress.left is not None else []
    return ", ".join(filter(None, parts))


def _show_estimate(found: Measured) -> None:
    took = found.estimate
    results().print(f"{found.train:,} rows to train on, {found.held:,} held out")
    for reason, number in found.left_out.items():
        results().print(f"{number:,} left out: {escape(reason)}", soft_wrap=True)
    results().print(
        f"{took.steps:,} steps, {took.tokens:,} tokens at {took.tokens_per_second:,.0f} a second: "
        f"about {clock(took.seconds)} and the looks at the held-out rows",
        soft_wrap=True,
    )
    results().print(f"{took.bytes / 2**30:.1f} GiB of memory; {took.trainable:,} of {took.parameters:,} weights learn")
    for warning in found.warnings:
        notes.print(escape(warning), soft_wrap=True)


def _show(adapter: Adapter, collection: str) -> None:
    metrics = adapter.card.get("metrics", {})
    loss = metrics.get("held_out_loss")
    rows = adapter.card.get("rows", {})
    results().print(f"[bold]{escape(adapter.name)}[/] is in the library: {escape(str(adapter.folder))}", soft_wrap=True)
    held = f"Held-out loss {loss:.3f}" if loss is not None else "No held-out rows"
    notes.print(
        f"{held} in step {metrics.get('best_step', 0):,} of {metrics.get('steps', 0):,}; trained on "
        f"{rows.get('train', 0):,} rows in {clock(metrics.get('seconds', 0.0))} ({metrics.get('ended', '')}).",
        soft_wrap=True,
    )
    place = "" if collection == COLLECTION else f" -c {collection}"
    if adapter.task == "extract":
        ask = f"ragkit ask QUESTION --reader {adapter.name}{place}"
    else:
        model = "" if adapter.base == TuneSettings().base else f" --model {adapter.base}"
        ask = f"ragkit ask QUESTION --template {adapter.template}{model} --adapter {adapter.name}{place}"
    notes.print(f"Ask it with:     {escape(ask)}", soft_wrap=True)
    notes.print(f"Measure it with: ragkit promote {adapter.name} --set SET{place}", soft_wrap=True)


