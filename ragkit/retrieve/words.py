"""Search by words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ragkit.collection import Collection
from ragkit.protocols import Scored


class WordsRetriever:
    """BM25 (Robertson and Zaragoza 2009, as SQLite's FTS5 computes it) over stemmed words and heading paths."""

    def __init__(self, collection: Collection, **_: Any) -> None:  # noqa: ANN401 - parts the other retrievers take
        self._collection = collection

    def retrieve(self, question: str, k: int, documents: Sequence[str] | None = None) -> Scored:
        """At most k chunks by BM25, best first."""
        return self._collection.search_words(question, k, documents)
