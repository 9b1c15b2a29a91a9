"""The process that does a collection's jobs: `python -m ingest.worker --home H --collection C`.

One a collection, by a lock on a file in its folder, which the system lets go of when the process ends, however it
ends. A job that is `running` while nobody holds the lock was left behind; the next worker takes it up again, and files
that are in already are skipped by their hash.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import psutil
from filelock import FileLock, Timeout

from ingest.cage import Cage
from ingest.evaluations import do_evaluation
from ingest.events import Advanced, Event, FileChanged, Planned
from ingest.files import Source
from ingest.launch import STATUS, announce, ensure_worker, start_worker, submit_ingest, submit_reembed, worker_alive
from ingest.pipeline import ingest
from ingest.reembed import reembed
from ingest.tunings import KINDS, do_tuning
from ingest.uploads import remove_forgotten, remove_uploads
from ragkit.catalog import EMBEDDERS
from ragkit.collection import Collection
from ragkit.errors import Cancelled, RagkitError, UnknownPart, of_storage
from ragkit.jobs import Job, JobFile, Jobs, Progress
from ragkit.protocols import Embedder
from ragkit.settings import IngestSettings

__all__ = ["Worker", "ensure_worker", "main", "start_worker", "submit_ingest", "submit_reembed", "worker_alive"]

LOCK = ".worker.lock"
_PACE = 0.3
"""Seconds between two writes of progress, and between two looks for a cancellation."""
_IDLE = 0.3
_STUCK = 1.6
"""Seconds after which work that was cancelled and does not end, as in the middle of loading a model, is torn off."""

log = logging.getLogger("ingest.worker")


class Reporter:
    """Writes what an ingestion says into its job, a few times a second."""

    def __init__(self, jobs: Jobs, job: int) -> None:
        self._jobs, self._job = jobs, job
        self._progress = Progress()
        self._changed: dict[str, JobFile] = {}
        self._last = 0.0
        self._before = {item.file: item for item in jobs.files(job) if item.state in ("added", "replaced")}

    def __call__(self, event: Event) -> None:
        """Take an event."""
        match event:
            case Planned(files):
                self._jobs.set_files(self._job, files)
            case FileChanged(file):
                earlier = self._before.get(file.file)
                # What an earlier attempt at this job brought in is found unchanged now; its result stands.
                self._changed[file.file] = earlier if earlier and file.state in ("reading", "unchanged") else file
            case Advanced(progress):
                self._progress = progress
        if time.monotonic() - self._last >= _PACE:
            self.flush()

    def flush(self) -> None:
        """Write now."""
        self._jobs.update(self._job, self._progress, self._changed.values())
        self._changed.clear()
        self._last = time.monotonic()


class Worker:
    """Does the jobs of one collection, one after another."""

    def __init__(self, collection: Collection, tear_off: Callable[[], None] | None = None) -> None:
        """`tear_off` ends this process, and with it a cancelled job that does not end; without it, nothing does."""
        self._collection, self._tear_off = collection, tear_off
        self._jobs = Jobs(collection)
        self._embedder: tuple[tuple[str, str], Embedder] | None = None

    def work(self, linger: float = 0.0) -> None:
        """Take jobs until there were none for `linger` seconds; returns at once if another worker is at it."""
        lock = FileLock(self._collection.folder / LOCK)
        while True:
            try:
                with lock.acquire(timeout=0), self._announced():
                    self._drain(linger)
            except Timeout:
                return
            if not self._jobs.pending():  # a job may have come between the last look and the end of the lock
                return

    @contextmanager
    def _announced(self) -> Iterator[None]:
        """Keep saying that this process is the worker: one that was started in vain has put its own name there."""
        over = threading.Event()

        def repeat() -> None:
            while not over.wait(_IDLE):
                announce(self._collection.folder, os.getpid())

        announce(self._collection.folder, os.getpid())
        thread = threading.Thread(target=repeat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            (self._collection.folder / STATUS).unlink(missing_ok=True)

    def _drain(self, linger: float) -> None:
        wanted = [path for job in self._jobs.waiting() for path in job.args.get("uploads", [])]
        remove_forgotten(self._collection, wanted)
        until = time.monotonic() + linger
        while True:
            job = self._jobs.take()
            if job is not None:
                self._do(job)
                until = time.monotonic() + linger
            elif time.monotonic() >= until:
                return
            else:
                time.sleep(_IDLE)

    def _do(self, job: Job) -> None:
        log.info("job %d: %s", job.id, job.kind)
        reporter = Reporter(self._jobs, job.id)
        over = threading.Event()
        threading.Thread(target=self._watch, args=(job, over), daemon=True).start()
        should_stop = _paced(lambda: self._jobs.asked_to_stop(job.id))
        try:
            if should_stop():
                raise Cancelled("Stopped.")
            self._run(job, reporter, should_stop)
            state, reason = ("cancelled", "") if self._jobs.asked_to_stop(job.id) else ("done", "")
        except Cancelled as error:
            state, reason = "cancelled", error.message
        except RagkitError as error:
            state, reason = "failed", str(error)
        except Exception as error:  # noqa: BLE001 - a fault of ours ends this job, not the worker; the log has it all
            log.exception("job %d failed", job.id)
            told = of_storage(error)
            what = f"An unexpected {type(error).__name__}: {error}. The collection's worker.log has more."
            state, reason = "failed", str(told or what)
        over.set()
        reporter.flush()
        self._jobs.finish(job.id, state, reason)
        remove_uploads(self._collection, job.args.get("uploads", []))
        log.info("job %d: %s %s", job.id, state, reason)

    def _watch(self, job: Job, over: threading.Event) -> None:
        """Tear a job off that was cancelled and goes on: everything here survives the end of the process anyway."""
        asked: float | None = None
        while self._tear_off is not None and not over.wait(_PACE):
            if asked is None:
                asked = time.monotonic() if self._jobs.asked_to_stop(job.id) else None
            elif time.monotonic() - asked >= _STUCK - _PACE:
                self._jobs.finish(job.id, "cancelled")
                log.info("job %d: torn off", job.id)
                self._tear_off()
        self._collection.close()

    def _run(self, job: Job, reporter: Reporter, should_stop: Callable[[], bool]) -> None:
        if job.kind == "ingest":
            settings = self._collection.settings
            named = [Source(Path(path), name) for name, path in job.args.get("named", {}).items()]
            paths = [*job.args.get("paths", []), *job.args.get("uploads", []), *named]
            with Cage() as cage:
                cage.start()  # it comes up while the model is loaded
                embedder = self._load(settings)
                ingest(self._collection, paths, embedder, listen=reporter, should_stop=should_stop, cage=cage)
        elif job.kind == "reembed":
            settings = IngestSettings(**job.args["settings"])
            reembed(self._collection, settings, self._load(settings), listen=reporter, should_stop=should_stop)
        elif job.kind == "evaluate":
            do_evaluation(self._collection, job.args["run"], lambda now: reporter(Advanced(now)), should_stop)
        elif job.kind in KINDS:
            do_tuning(self._collection, job, lambda now: reporter(Advanced(now)), should_stop)
        else:
            there = ", ".join(("ingest", "reembed", "evaluate", *KINDS))
            raise UnknownPart(f"There is no kind of job called {job.kind!r}.", f"There are: {there}.")

    def _load(self, settings: IngestSettings) -> Embedder:
        """The embedder of these settings; the last one is kept for the next job."""
        key = (settings.embedder, settings.embedder_model)
        if self._embedder is None or self._embedder[0] != key:
            self._embedder = (key, EMBEDDERS.load(settings.embedder)(settings.embedder_model))
        return self._embedder[1]


def _paced(ask: Callable[[], bool]) -> Callable[[], bool]:
    """The same question, but asked no more often than every _PACE seconds; once true, always true."""
    answer, asked = False, 0.0

    def paced() -> bool:
        nonlocal answer, asked
        if not answer and time.monotonic() - asked >= _PACE:
            asked = time.monotonic()
            answer = ask()
        return answer

    return paced


def main(arguments: list[str] | None = None) -> None:
    """Work until there is nothing to do."""
    parser = argparse.ArgumentParser(prog="python -m ingest.worker", description="Does a collection's queued jobs.")
    parser.add_argument("--home", type=Path, required=True, help="Folder of the collections.")
    parser.add_argument("--collection", required=True, help="Name of the collection.")
    parser.add_argument("--linger", type=float, default=0.0, help="Seconds to wait for another job at the end.")
    options: Any = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    if hasattr(os, "nice"):
        os.nice(5)  # a question that is asked meanwhile comes first
    Worker(Collection.open(options.home, options.collection), begin_anew).work(options.linger)


def begin_anew() -> NoReturn:
    """Become a fresh worker: under the same process id, so that nobody starts another, and without anything else."""
    children = psutil.Process().children(recursive=True)
    for child in children:
        with contextlib.suppress(psutil.Error):
            child.kill()
    psutil.wait_procs(children, timeout=1.0)
    # The system lets go of the lock: files are not handed on.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "ingest.worker", *sys.argv[1:]])


if __name__ == "__main__":
    main()
