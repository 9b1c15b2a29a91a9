"""`ragkit ingest --watch`: looks at a folder when the system says that something changed, and every half minute."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.markup import escape
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from ingest.launch import submit_ingest
from ingest.watch import Changes, FolderWatch
from ragkit.collection import Collection
from ragkit.errors import Cancelled, SettingsError
from ui.console import emit, interruptible, notes, write
from ui.follow import follow

EVERY = 30.0
"""Seconds after which a folder is looked at unasked: drives in a network tell nobody of changes."""
SOON = 0.5
_LOOK = 0.2


def watch(collection: Collection, folder: Path, *, as_json: bool) -> None:
    """Keep a collection equal to a folder until Ctrl-C. Raises SettingsError if there is no such folder."""
    if not folder.expanduser().is_dir():
        raise SettingsError(f"{folder} is no folder.", "--watch keeps a collection equal to a folder.")
    watched, told = FolderWatch(collection, folder), ""
    with interruptible() as stopped, _changed(watched.folder) as changed:
        notes.print(f"Watching {escape(str(watched.folder))}. Ctrl-C ends it.")
        while not stopped():
            changed.clear()
            try:
                seen = _brought_up_to_date(collection, watched, as_json, stopped)
            except Cancelled:
                if stopped():  # which is how a watch ends
                    return
                raise
            if seen.missing and seen.missing != told:
                notes.print(escape(seen.missing))
            told = seen.missing
            _pause(changed, stopped, SOON if seen.unsettled else EVERY)


def _pause(changed: threading.Event, stopped: Callable[[], bool], seconds: float) -> None:
    """Wait for a change and a moment more, as changes come in swarms; no longer than so many seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and not stopped():
        if changed.wait(_LOOK):
            time.sleep(SOON)
            return


def _brought_up_to_date(
    collection: Collection, watched: FolderWatch, as_json: bool, stopped: Callable[[], bool]
) -> Changes:
    """One look at the folder, and what follows from it."""
    changes = watched.changes()
    if changes.gone:
        for name in watched.remove(changes.gone):
            _tell_removed(name, as_json)
        changes = watched.changes()  # a twin of what was removed now stands for itself
    if changes.found:
        job = submit_ingest(collection, sources=changes.found)
        watched.settled(follow(collection, job, as_json=as_json, stopped=stopped))
    return changes


def _tell_removed(name: str, as_json: bool) -> None:
    if as_json:
        emit({"file": name, "state": "removed"})
    else:
        write(f"{'removed':<9} {name}\n")


@contextmanager
def _changed(folder: Path) -> Iterator[threading.Event]:
    """An event that is set when the system tells of a change below a folder."""
    changed = threading.Event()

    class Handler(FileSystemEventHandler):
        def on_any_event(self, event: FileSystemEvent) -> None:
            if event.event_type not in ("opened", "closed_no_write"):  # our own reading
                changed.set()

    observer = Observer()
    try:
        observer.schedule(Handler(), str(folder), recursive=True)
        observer.start()
    except OSError as error:  # more folders than the system's limit
        notes.print(f"Changes are seen every {EVERY:.0f} seconds only ({escape(str(error))}).")
    try:
        yield changed
    finally:
        if observer.is_alive():
            observer.stop()
            observer.join()
