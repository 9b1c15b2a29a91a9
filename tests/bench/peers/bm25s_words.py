# /// script
# dependencies = ["bm25s==0.3.16", "PyStemmer==3.1.0", "numpy"]
# ///
"""bm25s with English stop words and stemming, as its readme shows it. Words alone; records go in whole."""

from __future__ import annotations

import json

import bm25s
import Stemmer
from serve import rows, serve, timed


class Words:
    def load(self) -> None:
        self.stemmer = Stemmer.Stemmer("english")

    def records(self, file: str) -> int:
        given = rows(file)
        return self._put([row["text"] for row in given], [row["id"] for row in given])

    def fill(self, texts: str, vectors: str) -> int:  # noqa: ARG002 - words need none
        with open(texts, encoding="utf-8") as handle:
            given = json.load(handle)
        return self._put(given, list(range(len(given))))

    def search(self, questions: list[str], k: int) -> dict:
        return timed(questions, lambda text: self._nearest(text, min(k, len(self.ids))))

    def _nearest(self, text: str, k: int) -> list:
        tokens = bm25s.tokenize(text, stopwords="en", stemmer=self.stemmer, show_progress=False)
        places, _ = self.store.retrieve(tokens, k=k, show_progress=False)
        return [self.ids[place] for place in places[0].tolist()]

    def _put(self, texts: list[str], ids: list) -> int:
        self.ids = ids
        tokens = bm25s.tokenize(texts, stopwords="en", stemmer=self.stemmer, show_progress=False)
        self.store = bm25s.BM25()
        self.store.index(tokens, show_progress=False)
        return len(texts)


serve(Words())
