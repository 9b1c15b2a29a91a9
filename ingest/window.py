"""Passages of any number of documents on their way to the embedder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import numpy as np

from ragkit.protocols import Embedder
from ragkit.types import Chunk, Vectors

WINDOW = 256
"""Passages sorted by length together, so that batches hold texts of similar length; some seconds of work."""
SLICE = 24_000
"""Characters embedded between two looks at the wish to stop: about 6,000 tokens, half a second on two cores."""

Owner = TypeVar("Owner")


class Window(Generic[Owner]):
    """Collects passages, embeds them in windows, and delivers them with their vectors in the order they came.

    `deliver(owner, chunks, vectors)` gets runs of one owner; `between(n)` is called after every n passages that were
    embedded, and may raise to stop.
    """

    def __init__(
        self,
        embedder: Embedder,
        deliver: Callable[[Owner, Sequence[Chunk], Vectors], None],
        between: Callable[[int], None],
    ) -> None:
        self._embedder, self._deliver, self._between = embedder, deliver, between
        self._owners: list[Owner] = []
        self._chunks: list[Chunk] = []

    def __len__(self) -> int:
        return len(self._chunks)

    def add(self, owner: Owner, chunks: Sequence[Chunk]) -> None:
        """Take passages; embed while there is a full window."""
        self._owners += [owner] * len(chunks)
        self._chunks += chunks
        while len(self._chunks) >= WINDOW:
            self.embed()

    def drop(self, owner: Owner) -> None:
        """Forget the waiting passages of an owner."""
        kept = [place for place, other in enumerate(self._owners) if other is not owner]
        self._chunks = [self._chunks[place] for place in kept]
        self._owners = [self._owners[place] for place in kept]

    def flush(self) -> None:
        """Embed all that waits."""
        while self._chunks:
            self.embed()

    def embed(self) -> None:
        """Embed and deliver the first window."""
        chunks, owners = self._chunks[:WINDOW], self._owners[:WINDOW]
        vectors = self._vectors([chunk.embedded_text for chunk in chunks])
        del self._chunks[:WINDOW], self._owners[:WINDOW]
        start = 0
        while start < len(chunks):
            end = start
            while end < len(chunks) and owners[end] is owners[start]:
                end += 1
            self._deliver(owners[start], chunks[start:end], vectors[start:end])
            start = end

    def _vectors(self, texts: Sequence[str]) -> Vectors:
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        table = np.empty((len(texts), self._embedder.fingerprint.dimension), dtype=np.float32)
        while order:
            places = [order.pop()]
            size = len(texts[places[0]])
            while order and size + len(texts[order[-1]]) <= SLICE:
                places.append(order.pop())
                size += len(texts[places[-1]])
            table[places] = self._embedder.embed([texts[place] for place in places], "passage")
            self._between(len(places))
        return table
