# /// script
# dependencies = ["txtai==9.14.0", "sentence-transformers==6.2.0", "torch==2.13.0"]
# ///
"""txtai's Embeddings with stored content; records go in whole, files by paragraphs as its Textractor cuts them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
from serve import MODEL, rows, serve, timed
from txtai import Embeddings


class Txtai:
    hybrid = False

    def load(self) -> None:
        self.store = Embeddings(path=MODEL, content=True, hybrid=self.hybrid)
        self.store.batchtransform(["warm"])
        self.encoder = self.store

    def ingest(self, files: list[str]) -> int:
        texts = [piece for file in files for piece in _paragraphs(Path(file).read_text("utf-8"))]
        return self._put([text for text in map(str.strip, texts) if text])

    def records(self, file: str) -> int:
        given = rows(file)
        return self._put([row["text"] for row in given], [row["id"] for row in given])

    def fill(self, texts: str, vectors: str) -> int:
        with open(texts, encoding="utf-8") as handle:
            given = json.load(handle)
        ready = iter(np.load(vectors))
        store = Embeddings(
            method="external", transform=lambda texts: np.stack([next(ready) for _ in texts]), content=True,
            hybrid=self.hybrid,
        )  # fmt: skip
        store.index((place, text, None) for place, text in enumerate(given))
        store.model.transform = lambda texts: np.array(self.encoder.batchtransform(texts, "query"))
        self.store = store
        return len(given)

    def embedded(self) -> list[str]:
        return self.texts

    def search(self, questions: list[str], k: int) -> dict:
        return timed(questions, lambda text: [hit["id"] for hit in self.store.search(text, k)])

    def _put(self, texts: list[str], ids: list[str] | None = None) -> int:
        self.texts = texts
        names = ids or [str(place) for place in range(len(texts))]
        self.store.index((name, text, None) for name, text in zip(names, texts, strict=True))
        return len(texts)


def _paragraphs(text: str) -> list[str]:
    pieces = re.split(r"\n\s*\n", text)
    return pieces if len(pieces) > 1 else text.splitlines()  # a file with a paragraph to a line


if __name__ == "__main__":
    serve(Txtai())
