"""How far an ingestion is and how long it will take."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping

from ragkit.jobs import Progress

_WINDOW = 30.0
"""Seconds over which rates are taken."""
_PATIENCE = 2.0
"""Seconds before anything is said of the time left."""


class Meter:
    """Measures by bytes: a file counts with its bytes times the share of it that is embedded."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self._sizes = {name: size + 1 for name, size in sizes.items()}  # an empty file is work too
        self._total = sum(self._sizes.values()) or 1
        self._shares: dict[str, float] = {}
        self._pages: dict[str, int] = {}
        self._done: set[str] = set()
        self._done_bytes = 0
        self._chunks = 0
        self._begin = time.monotonic()
        self._history: deque[tuple[float, int, float]] = deque([(self._begin, 0, 0.0)])

    def reading(self, name: str, pages: int, share: float) -> None:
        """A file is in work: so many pages are read, this share of it (0 to 1) is done."""
        self._shares[name] = share
        self._pages[name] = pages

    def embedded(self, chunks: int) -> None:
        """So many more passages have their vectors."""
        self._chunks += chunks

    def finished(self, name: str) -> None:
        """A file has its result."""
        self._shares.pop(name, None)
        if name not in self._done:
            self._done.add(name)
            self._done_bytes += self._sizes.get(name, 0)

    def progress(self) -> Progress:
        """The state now."""
        now = time.monotonic()
        partly = sum(self._sizes[name] * share for name, share in self._shares.items())
        share = 1.0 if len(self._done) == len(self._sizes) else min((self._done_bytes + partly) / self._total, 0.999)
        self._history.append((now, self._chunks, share))
        while len(self._history) > 2 and now - self._history[1][0] > _WINDOW:
            self._history.popleft()
        then, chunks, before = self._history[0]
        elapsed = now - then
        speed = (share - before) / elapsed if elapsed else 0.0
        known = now - self._begin > _PATIENCE and speed > 0 and share < 1
        return Progress(
            files=len(self._done),
            total=len(self._sizes),
            pages=sum(self._pages.values()),
            chunks=self._chunks,
            seconds=now - self._begin,
            rate=(self._chunks - chunks) / elapsed if elapsed else 0.0,
            share=share,
            left=(1 - share) / speed if known else None,
        )
