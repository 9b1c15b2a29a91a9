"""Adding, changing and deleting in a large collection, and opening it: medians of several tries.

    python -m tests.bench.scale -n 100000 [--tries 9] [--keep]

The passages are sentences of drawn words with drawn unit vectors (384 dimensions, in clusters as real ones are), 50 to
a document. Embedding is left out: what is measured is what the collection adds to it.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ragkit.collection import Collection
from ragkit.projection import Projection
from ragkit.settings import IngestSettings
from ragkit.types import Chunk, Fingerprint, Page
from tests.bench import results

FINGERPRINT = Fingerprint("drawn", "0" * 64, 384, 256)
PASSAGES = 50
CENTRES = 300


def main() -> None:
    """One JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=100_000, help="Passages.")
    parser.add_argument("--tries", type=int, default=9)
    parser.add_argument("--keep", action="store_true", help="Write the result into tests/bench/results.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        found = {"passages": given.n, **measure(Path(home), given.n, given.tries)}
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    if given.keep:
        results.keep("scale", found, n=given.n, tries=given.tries)


def measure(home: Path, count: int, tries: int) -> dict[str, float]:
    """Seconds of each, and the peak of memory."""
    collection = Collection.open(home, "large", create=True, settings=IngestSettings())
    documents = count // PASSAGES
    made = Drawn()
    begun = time.perf_counter()
    with collection.writer() as writer:
        for number in range(documents):
            _put(writer, f"{number}.txt", made)
    filled = time.perf_counter() - begun
    begun = time.perf_counter()
    Projection(collection).build(force=True)
    built = time.perf_counter() - begun
    draw = random.Random(1)
    names = [f"{number}.txt" for number in draw.sample(range(documents), 3 * tries)]
    query = made.vectors(1)
    projection = Projection(collection)
    projection.search(query, 10)

    def replaced(name: str) -> None:
        with collection.writer() as writer:
            _put(writer, name, made)

    def changed(name: str) -> float:
        collection.remove(name)
        begun = time.perf_counter()
        projection.search(query, 10)
        return time.perf_counter() - begun

    def opened(_: str) -> None:
        fresh = Collection.open(home, "large")
        Projection(fresh).search(query, 10)
        fresh.close()

    return {
        "seconds to fill": filled,
        "seconds to build the index": built,
        "seconds to delete a document": _median(collection.remove, names[:tries]),
        "seconds to replace a document": _median(replaced, names[tries : 2 * tries]),
        "seconds to the first search after that": statistics.median(map(changed, names[2 * tries :])),
        "seconds to any other search": _median(lambda _: projection.search(query, 10), names[:tries]),
        "seconds to open and search": _median(opened, names[:3]),
        "seconds to list the documents": _median(lambda _: collection.documents(), names[:tries]),
        "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


class Drawn:
    """Passages from nowhere."""

    def __init__(self) -> None:
        self._numbers = np.random.default_rng(0)
        self._words = random.Random(0)
        self._centres = self._numbers.normal(size=(CENTRES, 384))
        self._vocabulary = ["".join(self._words.choices("abcdefghijklmnop", k=6)) for _ in range(20_000)]

    def vectors(self, count: int) -> np.ndarray:
        """Shape (count, 384), of length 1."""
        chosen = self._centres[self._numbers.integers(0, CENTRES, count)]
        found = chosen + 0.7 * self._numbers.normal(size=(count, 384))
        return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)

    def text(self) -> str:
        """A passage of 120 words."""
        return " ".join(self._words.choices(self._vocabulary, k=120))


def _put(writer, name: str, made: Drawn) -> None:  # noqa: ANN001
    texts = [made.text() for _ in range(PASSAGES)]
    token = writer.begin(name, f"{random.getrandbits(256):064x}", "text", name, 1)
    for number, text in enumerate(texts, start=1):
        writer.add_page(token, Page(number, str(number), text))
    chunks = [Chunk(number, 0, len(text), text, ()) for number, text in enumerate(texts, start=1)]
    writer.add_chunks(token, chunks, made.vectors(PASSAGES))
    writer.publish([token], FINGERPRINT)


def _median(do: Callable[[str], object], names: list[str]) -> float:
    spent = []
    for name in names:
        begun = time.perf_counter()
        do(name)
        spent.append(time.perf_counter() - begun)
    return statistics.median(spent)


if __name__ == "__main__":
    main()
