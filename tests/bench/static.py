"""What a static embedder loses and gains beside the model that it was distilled from.

    python -m tests.bench.static SET_FOLDER... [--model minilm] [--keep]

On sets in BEIR layout: nDCG@10 of the search by meaning alone over whole documents (their first 1,000 characters), and
texts embedded a second by each, in turns. One JSON line a set.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from ragkit.catalog import EMBEDDERS
from ragkit.evaluate.retrieval import ndcg
from ragkit.protocols import Embedder
from tests.bench import results
from tests.bench.retrieval import read_set

CHARACTERS = 1000
BLOCK = 1024


def main() -> None:
    """Measure the sets named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--keep", action="store_true", help="Write the result into tests/bench/results.")
    given = parser.parse_args()
    engines = {name: EMBEDDERS.load(name)(given.model) for name in ("static", "auto")}
    found = []
    for folder in given.folders:
        found.append({"set": folder.name, **measure(folder, engines)})
        sys.stdout.write(json.dumps(found[-1]) + "\n")
        sys.stdout.flush()
    if given.keep:
        results.keep("static", found, model=given.model)


def measure(folder: Path, engines: dict[str, Embedder]) -> dict[str, Any]:
    """By engine: nDCG@10 and texts a second."""
    asked, relevant = read_set(folder, 1000)
    rows = [json.loads(line) for line in (folder / "corpus.jsonl").read_text("utf-8").splitlines()]
    texts = [f"{row.get('title', '')}\n{row['text']}"[:CHARACTERS] for row in rows]
    tables: dict[str, list[np.ndarray]] = {name: [] for name in engines}
    seconds = dict.fromkeys(engines, 0.0)
    for start in range(0, len(texts), BLOCK):
        for name, engine in engines.items():
            begun = time.perf_counter()
            tables[name].append(engine.embed(texts[start : start + BLOCK]))
            seconds[name] += time.perf_counter() - begun
    found: dict[str, Any] = {"documents": len(texts), "questions": len(asked)}
    for name, engine in engines.items():
        queries = np.vstack([engine.embed([text], "query") for text in asked.values()])
        nearest = np.argsort(-(queries @ np.vstack(tables[name]).T), axis=1)[:, :10]
        scores = [
            ndcg([rows[place]["_id"] for place in places], relevant[key], 10)
            for key, places in zip(asked, nearest, strict=True)
        ]
        found[name] = {"ndcg@10": float(np.mean(scores)), "texts a second": len(texts) / seconds[name]}
    return found


if __name__ == "__main__":
    main()
