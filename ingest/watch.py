"""Keeps a collection equal to a folder: what is new or changed comes in, what is gone goes.

What was brought in from a folder is remembered in the collection, file by file with size and time of change, so a watch
that starts again sees what happened meanwhile, and nothing is ever removed that did not come from the folder.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ingest.files import Source, find_sources
from ragkit.collection import Collection
from ragkit.jobs import JobFile

SETTLED = 1.0
"""Seconds that a file must have been left alone: one that is still being written is read at the next look."""


@dataclass(frozen=True, slots=True)
class Changes:
    """How a folder differs from what came from it."""

    found: tuple[Source, ...] = ()
    """New files and changed ones."""
    gone: tuple[str, ...] = ()
    """Documents whose files are not there any more."""
    unsettled: bool = False
    """A file is still being written: look again soon."""
    missing: str = ""
    """Why nothing can be said: the folder is away, or empty all at once. Then nothing is removed."""


class FolderWatch:
    """One folder and the collection that follows it."""

    def __init__(self, collection: Collection, folder: Path) -> None:
        self._collection = collection
        self.folder = folder.expanduser().absolute()
        self._key = f"watch {self.folder}"
        self._seen: dict[str, list[int]] = {}

    def changes(self) -> Changes:
        """Compare the folder with what is known of it. Reads names, sizes and times, no contents."""
        known = self._known()
        if not self.folder.is_dir():
            return Changes(missing=f"{self.folder} is not there; its documents stay.")
        now = time.time()
        found, there, unsettled = [], {}, False
        for source in find_sources([self.folder]):
            try:
                stat = source.path.stat()
            except OSError:  # gone since the folder was read
                continue
            there[source.name] = [stat.st_size, stat.st_mtime_ns]
            if known.get(source.name) == there[source.name]:
                continue
            if abs(now - stat.st_mtime) < SETTLED:
                unsettled = True
            else:
                found.append(source)
        if known and not there:
            return Changes(missing=f"{self.folder} is empty; as a drive may be missing, its documents stay.")
        self._seen = there
        return Changes(tuple(found), tuple(sorted(known.keys() - there.keys())), unsettled)

    def remove(self, names: Iterable[str]) -> list[str]:
        """Take documents out whose files are gone; returns those that were in.

        Files that are no documents (refused, or twins of one that is) are forgotten: they are tried again, as a twin of
        what was removed may now stand for itself.
        """
        held = {document.name for document in self._collection.documents()}
        removed = [name for name in names if name in held]
        for name in removed:
            self._collection.remove(name)
        known = self._known()
        left = held - set(removed)
        self._keep({name: mark for name, mark in known.items() if name in left})
        return removed

    def settled(self, files: Iterable[JobFile]) -> None:
        """Remember what became of files that `changes` found: they are not read again until they change."""
        results = {file.file for file in files if file.state not in ("waiting", "reading")}
        known = self._known()
        self._keep(known | {name: self._seen[name] for name in results if name in self._seen})

    def _known(self) -> dict[str, list[int]]:
        return json.loads(self._collection.meta(self._key) or "{}")

    def _keep(self, known: dict[str, list[int]]) -> None:
        self._collection.set_meta(self._key, json.dumps(known, ensure_ascii=False))
