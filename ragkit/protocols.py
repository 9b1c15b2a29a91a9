"""The sockets: what a part of each kind must offer. The parts themselves are listed in `catalog.py`.

Parts are classes. What they need (a collection, an embedder, settings) comes through their constructors, which the
doors call; the methods below are all that the rest of the house uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Literal, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ragkit.types import Asked, Chunk, Decoding, Demonstration, Fingerprint, Generation, Page, Prompt, Reading, Vectors

Ids = NDArray[np.int64]
Scored = list[tuple[int, float]]
"""Chunk ids with scores, best first."""


class Rows(Protocol):
    """Vectors that may be more than memory holds: an array, or anything that gives slices of its rows."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(rows, dimension)."""
        ...

    def __getitem__(self, rows: slice, /) -> Vectors:
        """These rows, shape (n, dimension)."""
        ...


class Loader(Protocol):
    """Reads one kind of file. `load` yields pages in order, numbered from 1, and holds no more than it must."""

    suffixes: ClassVar[tuple[str, ...]]
    """File endings this loader is meant for, lower case, with the dot."""

    def load(self, path: Path) -> Iterator[Page]:
        """Pages of the file. Raises LoadError with the reason when there is no text to be had."""
        ...


class Splitter(Protocol):
    """Cuts one page into chunks: `Splitter(count_tokens, chunk_tokens, overlap_tokens)`."""

    def split(self, page: Page) -> list[Chunk]:
        """Chunks in reading order, offsets exact, no chunk's `embedded_text` longer than `chunk_tokens`."""
        ...


class Embedder(Protocol):
    """Turns texts into vectors of length 1."""

    fingerprint: Fingerprint

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, the embedder's special tokens included; never truncated."""
        ...

    def embed(self, texts: Sequence[str], kind: Literal["passage", "query"] = "passage") -> Vectors:
        """Vectors, shape (len(texts), fingerprint.dimension)."""
        ...


class Index(Protocol):
    """Nearest neighbours by inner product over fixed ids. Never changed once built (see DESIGN: generations)."""

    @classmethod
    def build(cls, ids: Ids, vectors: Rows) -> Self:
        """An index over the vectors, which are taken a slice at a time; `ids` ascend and stay what `search` returns."""
        ...

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        ...

    def save(self, path: Path) -> None:
        """Write to exactly this path."""
        ...

    @property
    def ids(self) -> Ids:
        """All ids, ascending."""
        ...

    def search(self, queries: Vectors, k: int, only: Ids | None = None) -> tuple[NDArray[np.float32], Ids]:
        """Scores and ids, each of shape (queries, k), best first; missing places have id -1 and score -inf.

        `only` restricts the search to these ids.
        """
        ...

    def vectors(self, ids: Ids) -> Vectors:
        """The vectors of ids that are in it, shape (ids, dimension); as exact as the scores of `search` are."""
        ...


class Retriever(Protocol):
    """Finds passages for a question."""

    def retrieve(self, question: str, k: int, documents: Sequence[str] | None = None) -> Scored:
        """At most k chunks, best first; `documents` restricts the search to documents of these names."""
        ...


class Reranker(Protocol):
    """Scores passages against a question by reading both together."""

    def score(self, question: str, passages: Sequence[str]) -> list[float]:
        """One score a passage, higher is better."""
        ...


class Selector(Protocol):
    """Chooses demonstrations for a question: `Selector(embed, seed)`, where `embed(texts)` gives unit vectors."""

    def select(self, question: str, bank: Sequence[Demonstration], n: int) -> list[Demonstration]:
        """At most n of the bank, in the order in which the prompt shows them."""
        ...


class Generator(Protocol):
    """A language model: `Generator(model, adapter)`. One call at a time; callers queue."""

    context_tokens: int

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, without special tokens."""
        ...

    def render(self, prompt: Prompt) -> str:
        """The exact text the model reads, chat marks included."""
        ...

    def generate(self, prompt: Prompt, decoding: Decoding, on_text: Callable[[str], bool]) -> Generation:
        """Answer the prompt. `on_text` gets each new piece of text and returns False to stop."""
        ...


@runtime_checkable
class Batching(Generator, Protocol):
    """A language model that answers several prompts at once."""

    def generate_together(self, asked: Sequence[Asked]) -> list[Generation]:
        """One generation a prompt, as `generate` makes it; pieces of text come as they are written."""
        ...


class Reader(Protocol):
    """Quotes from passages: `Reader(model, adapter)`. One call at a time; callers queue."""

    identity: str
    """Hash of everything that decides what it reads: base, adapter and calibration."""

    def read(self, question: str, passages: Sequence[str]) -> Reading | None:
        """The best span of all passages; None if there is no text to read."""
        ...
