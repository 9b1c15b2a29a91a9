"""An embedder that does not embed the same texts again and again."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Literal

import numpy as np

from ragkit.protocols import Embedder
from ragkit.types import Fingerprint, Vectors

_MOST_EXAMPLES = 20_000
"""Worked examples whose vectors are remembered: 31 MB at 384 numbers each."""


class Remembering:
    """An embedder that remembers its last queries and the bank of worked examples.

    One question is embedded once, however many parts need it, and a bank once, however many questions are asked.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._queries: dict[str, Vectors] = {}
        self._examples: dict[str, Vectors] = {}
        self._lock = threading.Lock()

    @property
    def plain(self) -> Embedder:
        """The embedder itself, for texts that need not be remembered."""
        return self._embedder

    @property
    def fingerprint(self) -> Fingerprint:
        """That of the embedder."""
        return self._embedder.fingerprint

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text."""
        return self._embedder.count_tokens(texts)

    def embed(self, texts: Sequence[str], kind: Literal["passage", "query"] = "passage") -> Vectors:
        """Vectors as the embedder gives them, out of memory where they were asked for before."""
        if not texts or kind == "query" and len(texts) > 1:
            return self._embedder.embed(texts, kind)
        if kind == "passage":
            return self._remembered(texts)
        with self._lock:
            if texts[0] not in self._queries:
                if len(self._queries) >= 64:
                    self._queries.pop(next(iter(self._queries)))
                self._queries[texts[0]] = self._embedder.embed(texts, kind)
            return np.array(self._queries[texts[0]])

    def _remembered(self, texts: Sequence[str]) -> Vectors:
        with self._lock:
            new = [text for text in dict.fromkeys(texts) if text not in self._examples]
            if len(self._examples) + len(new) > _MOST_EXAMPLES:
                self._examples.clear()
                new = list(dict.fromkeys(texts))
            if new:
                self._examples.update(zip(new, self._embedder.embed(new), strict=True))
            return np.stack([self._examples[text] for text in texts])
