"""Trainings as jobs of the worker: started in one window, found again in every other one, taken up after a crash.

Beside the job stands the run's folder, `<collection>/tuning/<name>`: its plan, the rows, the checkpoints and the log.
It outlives a cancellation, so that the training can go on; it goes when the adapter is in the library.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ingest.launch import ensure_worker
from ingest.uploads import safe_name
from ragkit import adapters
from ragkit.adapter_files import AdapterError
from ragkit.collection import Collection
from ragkit.errors import Cancelled, RagkitError
from ragkit.home import check_name
from ragkit.jobs import Job, Jobs, Progress
from ragkit.promotion import Gate
from ragkit.settings import RetrieveSettings
from ragkit.tune.rows import Estimate
from ragkit.tuning import TunePlan, check, discard
from ragkit.types import digest, from_json, to_json
from ragkit.workbench import Workbench

KINDS = ("tune", "estimate", "gate")
FOLDER = "tuning"
PLAN = "plan.json"
RESULT = "result.json"
DATA = ".data"
_KEPT_SECONDS = 7 * 86_400
_PATIENCE = 1.2
"""Seconds that a training gets to write a checkpoint when it is cancelled; then it is ended: the last one counts."""
_LOOK = 0.1
_MEMORY_HINT = "Perhaps there was not enough memory: take a smaller batch_tokens or checkpointing, and go on."


class TrainingEnded(RagkitError):
    """A training process that ended without a word."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a plan comes to, before it is carried out."""

    estimate: Estimate
    train: int
    held: int
    """Rows."""
    kinds: Mapping[str, int]
    """Rows by kind: answer, absent, unanswerable."""
    left_out: Mapping[str, int]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Training:
    """A training that is not finished: it waits, runs, was stopped, or failed."""

    name: str
    folder: Path
    plan: TunePlan
    job: Job | None
    """The last one that worked on it; None if it was cleared from the list."""


def folder_of(collection: Collection, name: str) -> Path:
    """The folder of a training."""
    return collection.folder / FOLDER / check_name(name, "adapter")


def trainings(collection: Collection) -> list[Training]:
    """The trainings that are not finished, newest first."""
    found = []
    root = collection.folder / FOLDER
    for folder in root.iterdir() if root.is_dir() else ():
        plan = None if folder.name.startswith(".") else _read(folder / PLAN)
        if plan is not None:
            job = last_job(collection, "tune", name=folder.name)
            found.append(Training(folder.name, folder, from_json(TunePlan, plan), job))
    return sorted(found, key=lambda each: each.folder.stat().st_mtime, reverse=True)


def keep_data(collection: Collection, name: str, data: bytes) -> Path:
    """Keep an uploaded file of training data; the same file again is the same path. Returns the path for a plan."""
    folder = collection.folder / FOLDER / DATA / hashlib.sha256(data).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / safe_name(name)
    unfinished = folder / f".{secrets.token_hex(4)}"
    unfinished.write_bytes(data)
    unfinished.replace(path)
    os.utime(folder)
    return path


def kept_data(collection: Collection) -> list[Path]:
    """The files that were uploaded, the newest first."""
    root = collection.folder / FOLDER / DATA
    folders = sorted(root.iterdir(), key=lambda each: each.stat().st_mtime, reverse=True) if root.is_dir() else []
    return [file for folder in folders for file in sorted(folder.iterdir()) if not file.name.startswith(".")]


def _forget_data(collection: Collection) -> None:
    """Delete uploads that are old and belong to no training that may go on."""
    wanted = {Path(file).parent for each in trainings(collection) for file in each.plan.sources.files}
    for file in kept_data(collection):
        if file.parent not in wanted and time.time() - file.parent.stat().st_mtime > _KEPT_SECONDS:
            shutil.rmtree(file.parent, ignore_errors=True)


def submit_tuning(workbench: Workbench, plan: TunePlan) -> int:
    """Queue a training, or the rest of one that was stopped, and start a worker. Returns the job's id.

    Raises what `ragkit.tuning.check` raises, and AdapterError if another plan of this name is not finished.
    """
    collection = workbench.collection
    check(workbench, plan)
    folder = folder_of(collection, plan.name)
    before = last_job(collection, "tune", name=plan.name)
    if before is not None and not before.over:
        raise AdapterError(f"The training {plan.name!r} is going on.", "Wait for it, or cancel it.")
    kept = _read(folder / PLAN)
    if kept is not None and from_json(TunePlan, kept) != plan:
        raise AdapterError(
            f"There is a training {plan.name!r} that was not finished, with another plan.",
            "Go on with that one or discard it on the page Tune, or take another name.",
        )
    if not folder.exists():
        measured = _estimate_folder(collection, plan)
        if measured.is_dir():  # its rows are those of this plan
            measured.rename(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RESULT).unlink(missing_ok=True)
    _write(folder / PLAN, to_json(plan))
    return _submit(collection, "tune", {"name": plan.name, "plan": to_json(plan)})


def discard_tuning(collection: Collection, name: str) -> None:
    """Throw away what a stopped training has made. One that goes on stays."""
    job = last_job(collection, "tune", name=name)
    if job is not None and not job.over:
        raise AdapterError(f"The training {name!r} is going on.", "Cancel it first.")
    discard(folder_of(collection, name))


def submit_estimate(workbench: Workbench, plan: TunePlan) -> int:
    """Queue the measuring of a plan and start a worker. Returns the job's id; `measured` has what came of it."""
    check(workbench, plan)
    return _submit(workbench.collection, "estimate", {"plan": to_json(plan), "key": _key(plan)})


def measured(collection: Collection, plan: TunePlan) -> Measured | None:
    """What a plan comes to; None if it was not measured."""
    kept = _read(_estimate_folder(collection, plan) / RESULT)
    if kept is None:
        return None
    estimate = from_json(Estimate, kept["estimate"])
    return Measured(
        estimate, kept["train"], kept["held"], kept["kinds"], kept["left_out"], tuple(kept["warnings"])
    )


def submit_gate(collection: Collection, adapter: str, questions: str, retrieve: RetrieveSettings) -> int:
    """Queue the gate of an adapter and start a worker. Returns the job's id; `held` has what came of it."""
    arguments = {"adapter": adapter, "set": questions, "retrieve": to_json(retrieve)}
    return _submit(collection, "gate", arguments)


def held(collection: Collection, adapter: str) -> Gate | None:
    """The last gate of an adapter; None if there was none. It may be older than what it measured: `promote` looks."""
    kept = _read(_gate_file(collection, adapter))
    return from_json(Gate, kept) if kept is not None else None


def last_job(collection: Collection, kind: str, **arguments: object) -> Job | None:
    """The newest job of a kind with these arguments."""
    jobs = Jobs(collection)
    listed = {job.id: job for job in (*jobs.list(limit=200), *jobs.waiting()) if job.kind == kind}
    mine = [job for job in listed.values() if all(job.args.get(key) == value for key, value in arguments.items())]
    return max(mine, key=lambda job: job.id, default=None)


def estimate_job(collection: Collection, plan: TunePlan) -> Job | None:
    """The newest job that measured this plan, or is at it."""
    return last_job(collection, "estimate", key=_key(plan))


def _submit(collection: Collection, kind: str, arguments: Mapping[str, Any]) -> int:
    job = Jobs(collection).submit(kind, arguments)
    ensure_worker(collection)
    return job


def _key(plan: TunePlan) -> str:
    """Names a plan by everything but its name."""
    return digest(replace(plan, name=""))[:16]


def _estimate_folder(collection: Collection, plan: TunePlan) -> Path:
    return collection.folder / FOLDER / f".estimate-{_key(plan)}"


def _gate_file(collection: Collection, adapter: str) -> Path:
    return collection.folder / FOLDER / f".gate-{check_name(Path(adapter).name, 'adapter')}.json"


def _read(file: Path) -> Any | None:  # noqa: ANN401 - JSON
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _write(file: Path, value: object) -> None:
    unfinished = file.with_name(f"{file.name}.new")
    unfinished.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    unfinished.replace(file)


# For the worker


def do_tuning(
    collection: Collection, job: Job, listen: Callable[[Progress], None], should_stop: Callable[[], bool]
) -> None:
    """What the worker does for a job of one of KINDS."""
    root = collection.folder / FOLDER
    root.mkdir(exist_ok=True)
    _forget_data(collection)
    if job.kind == "gate":
        result = _carry_out(collection, {"task": "gate", **job.args}, listen, should_stop)
        _write(_gate_file(collection, job.args["adapter"]), result)
        return
    plan = from_json(TunePlan, job.args["plan"])
    if job.kind == "tune" and _made(collection, plan, job):
        discard(folder_of(collection, plan.name))
        return
    folder = folder_of(collection, plan.name) if job.kind == "tune" else _estimate_folder(collection, plan)
    if job.kind == "estimate":
        for other in root.glob(".estimate-*"):  # their rows are large; whoever wants the estimate has it on the page
            if other != folder:
                shutil.rmtree(other, ignore_errors=True)
    folder.mkdir(exist_ok=True)
    task = {"task": job.kind, "plan": job.args["plan"], "folder": str(folder)}
    result = _carry_out(collection, task, listen, should_stop)
    if job.kind == "estimate":
        _write(folder / RESULT, result)


def _made(collection: Collection, plan: TunePlan, job: Job) -> bool:
    """Whether the adapter is in the library already: a worker died between that and the end of its job."""
    try:
        found = adapters.read(adapters.shelf(collection.home) / plan.name)
    except AdapterError:
        return False
    return found.source == "trained" and found.created >= job.created


def _carry_out(
    collection: Collection,
    task: Mapping[str, Any],
    listen: Callable[[Progress], None],
    should_stop: Callable[[], bool],
) -> Any:  # noqa: ANN401 - JSON
    """Do a task in a process of its own; returns what it says at its end."""
    root = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    place = ["--home", str(collection.home.absolute()), "--collection", collection.name]
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "ingest.training", *place],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": path},
        text=True,
        encoding="utf-8",
    )
    assert process.stdin is not None
    assert process.stdout is not None
    said: queue.Queue[dict[str, Any] | None] = queue.Queue()
    threading.Thread(target=_hear, args=(process.stdout, said), daemon=True).start()
    until: float | None = None
    try:
        _send(process, json.dumps(task))
        while True:
            if until is None and should_stop():
                _send(process, "stop")
                until = time.monotonic() + _PATIENCE
            if until is not None and time.monotonic() > until:
                raise Cancelled("Stopped.")
            try:
                message = said.get(timeout=_LOOK)
            except queue.Empty:
                continue
            if message is None:
                raise _ended(process.wait(), stopped=until is not None)
            if "point" in message:
                listen(_progress(message["point"]))
            elif "done" in message:
                return message["done"]
            elif "cancelled" in message:
                raise Cancelled(message["cancelled"])
            elif "failed" in message:
                raise RagkitError(*message["failed"])
    finally:
        process.kill()
        process.wait()
        process.stdin.close()


def _send(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(f"{line}\n")
        process.stdin.flush()
    except OSError:
        return  # it has ended; the end of what it says tells so


def _hear(lines: Any, said: queue.Queue[dict[str, Any] | None]) -> None:  # noqa: ANN401 - a text stream
    for line in lines:
        said.put(json.loads(line))
    said.put(None)
    lines.close()


def _ended(code: int, *, stopped: bool) -> RagkitError:
    if stopped:
        return Cancelled("Stopped.")
    if code < 0:
        return TrainingEnded(f"The training process was ended by signal {-code}.", _MEMORY_HINT)
    return TrainingEnded(f"The training process ended with {code}.", "The collection's worker.log has more.")


def _progress(point: Mapping[str, Any]) -> Progress:
    step, steps = point["step"], point["steps"]
    return Progress(
        files=step,
        total=steps,
        seconds=point["seconds"],
        rate=point["tokens_per_second"],
        share=step / steps if steps else 0.0,
        left=point["left"],
        doing=point["phase"],
    )
