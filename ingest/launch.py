"""Putting work into the queue and seeing to it that somebody does it; used by every window alike."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import psutil
from filelock import FileLock

from ingest.files import Source, find_sources
from ragkit.collection import Collection
from ragkit.jobs import Jobs
from ragkit.settings import IngestSettings

STATUS = ".worker.json"
"""Process id and start time of the worker, so that others can see whether it lives without touching its lock."""
LOG = "worker.log"
_LAUNCH_LOCK = ".launch.lock"
_LONGEST_LOG = 1 << 20
"""Bytes; a longer log is started anew."""
LINGER = 20.0
"""Seconds that a worker keeps its model for the next job."""
_MEMORY = {"MALLOC_ARENA_MAX": "1"}
"""One heap for all threads of a worker (glibc): with one each, what a thread has freed no other can use, which took 60
MB more for 80 MB of text. It costs no time: pages, passages and vectors are few and large."""


def submit_ingest(
    collection: Collection,
    paths: Iterable[Path | str] = (),
    uploads: Iterable[Path | str] = (),
    sources: Iterable[Source] = (),
) -> int:
    """Queue files and folders, uploads (from `stage_upload`) and files that have a name already; start a worker.

    Returns the job's id.
    """
    paths = [str(Path(path).expanduser().absolute()) for path in paths]
    uploads = [str(path) for path in uploads]
    listed: list[Source] = find_sources([*paths, *uploads]) if not any(map(os.path.isdir, paths)) else []
    named = {source.name: str(source.path.absolute()) for source in sources}
    names = [*(source.name for source in listed), *named]
    job = Jobs(collection).submit("ingest", {"paths": paths, "uploads": uploads, "named": named}, names)
    ensure_worker(collection)
    return job


def submit_reembed(collection: Collection, settings: IngestSettings) -> int:
    """Queue a re-embedding with new settings and start a worker. Returns the job's id."""
    job = Jobs(collection).submit("reembed", {"settings": dataclasses.asdict(settings)})
    ensure_worker(collection)
    return job


def ensure_worker(collection: Collection) -> bool:
    """Start a worker if jobs wait and none lives (after a crash or a restart). Says whether one was started.

    Windows ask this several times a second. A worker counts as alive from the moment it is started, although on a busy
    machine it takes seconds to come up; and of several windows only one looks and starts at a time.
    """
    if not Jobs(collection).pending() or worker_alive(collection):
        return False
    with FileLock(collection.folder / _LAUNCH_LOCK):
        if worker_alive(collection):
            return False
        start_worker(collection.home, collection.name)
    return True


def start_worker(home: Path, collection: str, linger: float = LINGER) -> int:
    """Start a detached worker; it ends at once if another is at work. Returns its process id."""
    root = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    log = home / collection / LOG
    fresh = not log.exists() or log.stat().st_size > _LONGEST_LOG
    command = ["--home", str(home.absolute()), "--collection", collection, "--linger", str(linger)]
    with log.open("wb" if fresh else "ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "ingest.worker", *command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={**_MEMORY, **os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )
    announce(home / collection, process.pid)
    return process.pid


def announce(folder: Path, pid: int) -> None:
    """Say which process is the collection's worker, as far as there is room to."""
    temporary = folder / f"{STATUS}.{os.getpid()}.tmp"
    try:
        said = {"pid": pid, "created": psutil.Process(pid).create_time()}
        temporary.write_text(json.dumps(said))
        os.replace(temporary, folder / STATUS)
    except psutil.NoSuchProcess:  # it has ended already
        return
    except OSError:  # the disk is full: what was said before stands
        temporary.unlink(missing_ok=True)


def worker_alive(collection: Collection) -> bool:
    """Whether the worker that announced itself last still runs."""
    try:
        said = json.loads((collection.folder / STATUS).read_text())
        process = psutil.Process(said["pid"])
        same = abs(process.create_time() - said["created"]) < 1.0
        return same and process.status() != psutil.STATUS_ZOMBIE
    except (OSError, ValueError, KeyError, psutil.Error):
        return False
