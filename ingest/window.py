"""Passages of any number of documents on their way through the embedder."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Self, TypeVar

import numpy as np

from ragkit.protocols import Embedder
from ragkit.types import Chunk, Vectors

WINDOW = 512
"""Passages sorted by length together, so that batches hold texts of similar length; some seconds of work."""
SLICE = 40_000
"""Characters embedded between two looks at the wish to stop: about 10,000 tokens, under a second on two cores."""
_AHEAD = 2
"""Windows under way at most: one is embedded while the one before it is delivered."""
_FEW = 64
"""Passages worth embedding when the embedder has nothing else to do."""
_PATIENCE = 0.1
"""Seconds between two looks at the wish to stop while waiting for the embedder."""

Owner = TypeVar("Owner")


@dataclass(eq=False)
class _Flight(Generic[Owner]):
    """A window under way."""

    owners: list[Owner | None]
    """None where somebody lost interest."""
    chunks: list[Chunk]
    slices: list[tuple[list[int], Future[Vectors]]]


class Window(Generic[Owner]):
    """Collects passages, embeds them in windows in a thread of its own, and delivers them in the order they came.

    `deliver(owner, chunks, vectors)` gets runs of one owner; `between(n)` is called after every n passages that were
    embedded, often with 0, and may raise to stop. Both are called in the thread that uses this object. Use as a
    context: the thread ends with it.
    """

    def __init__(
        self,
        embedder: Embedder,
        deliver: Callable[[Owner, Sequence[Chunk], Vectors], None],
        between: Callable[[int], None],
    ) -> None:
        self._embedder, self._deliver, self._between = embedder, deliver, between
        self._owners: list[Owner | None] = []
        self._chunks: list[Chunk] = []
        self._flights: deque[_Flight[Owner]] = deque()
        self._pool = ThreadPoolExecutor(2, "embedder")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._pool.shutdown(cancel_futures=True)

    def add(self, owner: Owner, chunks: Sequence[Chunk]) -> None:
        """Take passages; waits for the embedder when it is two windows behind."""
        self._owners += [owner] * len(chunks)
        self._chunks += chunks
        while len(self._chunks) >= WINDOW:
            self._launch()
        if not self._flights and len(self._chunks) >= _FEW:
            self._launch()
        self._land_what_is_ready()

    def rest(self) -> None:
        """Nothing is to be added just now: embed what waits, if the embedder has nothing else to do."""
        self._land_what_is_ready()
        if not self._flights and self._chunks:
            self._launch()

    def drop(self, owner: Owner) -> None:
        """Forget the passages of an owner."""
        for owners in (self._owners, *(flight.owners for flight in self._flights)):
            owners[:] = [None if other is owner else other for other in owners]

    def flush(self) -> None:
        """Embed and deliver all that waits."""
        while self._chunks:
            self._launch()
        while self._flights:
            self._land()

    def _launch(self) -> None:
        """Send the first window off."""
        while len(self._flights) >= _AHEAD:
            self._land()
        chunks, owners = self._chunks[:WINDOW], self._owners[:WINDOW]
        del self._chunks[:WINDOW], self._owners[:WINDOW]
        texts = [chunk.embedded_text for chunk in chunks]
        slices = [
            (places, self._pool.submit(self._embedder.embed, [texts[place] for place in places], "passage"))
            for places in _slices(texts)
        ]
        self._flights.append(_Flight(owners, chunks, slices))

    def _land_what_is_ready(self) -> None:
        while self._flights and self._flights[0].slices[-1][1].done():
            self._land()

    def _land(self) -> None:
        """Wait for the first window under way, and deliver it."""
        flight = self._flights[0]
        table = np.empty((len(flight.chunks), self._embedder.fingerprint.dimension), dtype=np.float32)
        for places, future in flight.slices:
            while True:
                try:
                    table[places] = future.result(timeout=_PATIENCE)
                    break
                except TimeoutError:
                    self._between(0)
            self._between(len(places))
        self._flights.popleft()
        if not self._flights and self._chunks:  # the embedder is not to wait for the delivery
            self._launch()
        start = 0
        while start < len(flight.chunks):
            end, owner = start, flight.owners[start]
            while end < len(flight.chunks) and flight.owners[end] is owner:
                end += 1
            if owner is not None:
                self._deliver(owner, flight.chunks[start:end], table[start:end])
            start = end


def _slices(texts: Sequence[str]) -> list[list[int]]:
    """Places of the texts, longest first, cut where the embedder may be asked to stop."""
    slices: list[list[int]] = []
    size = SLICE
    for place in sorted(range(len(texts)), key=lambda place: -len(texts[place])):
        if size + len(texts[place]) > SLICE:
            slices.append([])
            size = 0
        slices[-1].append(place)
        size += len(texts[place])
    return slices
