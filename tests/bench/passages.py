"""Passages by the million out of real sentences: for benches of search, where no real collection of that size is there.

    python -m tests.bench.passages        makes and keeps what `load` returns; some twenty minutes of embedding

Real are the words and how often they are used, and the vectors of single sentences (MiniLM's). Drawn are the passages:
five sentences of one set each, and as the vector that of their first sentence, moved by a part of the difference of two
other sentences of the set, so that no two are the same and neighbours stay as near as neighbours are.
"""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ragkit.catalog import EMBEDDERS
from tests.command import ROOT

DATA = Path(os.environ.get("RAGKIT_DATA", ROOT.parent / "shared" / "data"))
KEPT = ROOT / ".bench" / "passages"
SENTENCES = 200_000
"""Real sentences embedded: five passages begin with each at a million."""
TO_A_PASSAGE = 5
MOVED = 0.25
"""Length of the movement; sentences that differ this much still say about the same."""
_SENTENCE = re.compile(r"(?<=[.!?])\s+")


def texts_of(data: Path) -> Iterator[str]:
    """The text of every set that is one."""
    for novel in sorted((data / "novels" / "files").iterdir()):
        yield novel.read_text("utf-8", errors="replace")
    for line in (data / "medquad" / "medquad-dev.jsonl").read_text("utf-8").splitlines():
        yield json.loads(line)["answer"]
    for corpus in sorted([*data.glob("ir/*/corpus.jsonl"), data / "squad" / "beir-v1.1" / "corpus.jsonl"]):
        for line in corpus.read_text("utf-8").splitlines():
            yield json.loads(line)["text"]


def sentences(count: int) -> list[str]:
    """Distinct real sentences of 40 to 300 characters, in the order of their sets."""
    found: dict[str, None] = {}
    for text in texts_of(DATA):
        for sentence in _SENTENCE.split(" ".join(text.split())):
            if 40 <= len(sentence) <= 300:
                found[sentence] = None
    there = list(found)
    kept = sorted(random.Random(0).sample(range(len(there)), min(count, len(there))))
    return [there[place] for place in kept]


def load(count: int = SENTENCES) -> tuple[list[str], np.ndarray]:
    """Sentences and their vectors, shape (n, 384); embedded once."""
    KEPT.mkdir(parents=True, exist_ok=True)
    texts, table = KEPT / f"{count}.json", KEPT / f"{count}.npy"
    if not table.is_file():
        chosen = sentences(count)
        vectors = EMBEDDERS.load("auto")("minilm").embed(chosen)
        texts.write_text(json.dumps(chosen), encoding="utf-8")
        np.save(table, vectors)
    return json.loads(texts.read_text("utf-8")), np.load(table)


class Passages:
    """As many as are asked for, the same ones each time."""

    def __init__(self, count: int = SENTENCES) -> None:
        self._sentences, self._vectors = load(count)
        self._draw = np.random.default_rng(0)

    def take(self, count: int) -> tuple[list[str], np.ndarray]:
        """The next passages: texts and vectors of length 1."""
        there = len(self._sentences)
        first = self._draw.integers(0, there, count)
        # The rest comes from nearby in the order of the sets: a novel's sentence keeps company with that novel's.
        others = (first[:, None] + self._draw.integers(-2000, 2000, (count, TO_A_PASSAGE + 1))) % there
        texts = [
            " ".join(self._sentences[place] for place in (start, *rest[: TO_A_PASSAGE - 1]))
            for start, rest in zip(first.tolist(), others.tolist(), strict=True)
        ]
        away = self._vectors[others[:, -1]] - self._vectors[others[:, -2]]
        away /= np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-6)
        vectors = self._vectors[first] + MOVED * away
        return texts, (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


if __name__ == "__main__":
    load()
