"""Search by words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ragkit.protocols import Scored
from ragkit.word_index import WordIndex


class WordsRetriever:
    """BM25 (Robertson and Zaragoza 2009) over stemmed words and heading paths."""

    def __init__(self, word_index: WordIndex, **_: Any) -> None:  # noqa: ANN401 - parts the other retrievers take
        self._word_index = word_index

    def retrieve(self, question: str, k: int, documents: Sequence[str] | None = None) -> Scored:
        """At most k chunks by BM25, best first."""
        return self._word_index.search(question, k, documents)
