"""Retrieval quality of each way to search, on sets in BEIR layout, through the real ingestion.

    python -m tests.bench.retrieval SET_FOLDER... [--questions N] [--home DIR] [--embedder static]

Each folder holds corpus.jsonl, queries.jsonl and qrels/*.tsv. Prints one JSON line a set and way: recall@1, recall@5
(a relevant page among the first 1 or 5), nDCG@10. With --questions N a seeded sample of the questions is used.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from ingest.pipeline import ingest
from ragkit.catalog import EMBEDDERS
from ragkit.collection import Collection
from ragkit.evaluate.retrieval import ndcg
from ragkit.settings import IngestSettings, RetrieveSettings
from ragkit.workbench import Workbench

WAYS = {
    "hybrid (default)": RetrieveSettings(k=30),
    "hybrid, reciprocal rank fusion": RetrieveSettings(k=30, fusion="rrf", dense_weight=1.0, words_weight=1.0),
    "dense": RetrieveSettings(k=30, retriever="dense"),
    "words": RetrieveSettings(k=30, retriever="words"),
}


def read_set(folder: Path, questions: int) -> tuple[dict[str, str], dict[str, dict[str, float]]]:
    """Questions by id, and the relevant pages of each with their grades."""
    relevant: dict[str, dict[str, float]] = {}
    files = sorted(folder.glob("qrels/*.tsv"))
    judged = next((file for file in files if file.stem == "test"), files[0])
    for line in judged.read_text().splitlines()[1:]:
        query, page, grade = line.split("\t")
        if float(grade) > 0:
            relevant.setdefault(query, {})[page] = float(grade)
    rows = [json.loads(line) for line in (folder / "queries.jsonl").read_text().splitlines()]
    asked = {row["_id"]: row["text"] for row in rows if row["_id"] in relevant}
    sample = random.Random(0).sample(sorted(asked), min(questions, len(asked)))
    return {key: asked[key] for key in sample}, relevant


def collection_of(folder: Path, home: Path, settings: IngestSettings) -> Collection:
    """The set's corpus, ingested as a person would (once a home)."""
    name = f"{folder.name.replace('.', '-')}-{settings.embedder}"
    collection = Collection.open(home, name, create=True, settings=settings)
    ingest(collection, [folder / "corpus.jsonl"], EMBEDDERS.load(settings.embedder)(settings.embedder_model))
    return collection


def score(workbench: Workbench, settings: RetrieveSettings, asked: dict, relevant: dict) -> dict[str, float]:
    """Means over the questions."""
    totals = {"recall@1": 0.0, "recall@5": 0.0, "ndcg@10": 0.0}
    for key, question in asked.items():
        hits = workbench.retrieve(question, settings).hits
        ranking = list(dict.fromkeys(hit.page_label for hit in hits))
        first_five = [hit.page_label for hit in hits[:5]]
        totals["recall@1"] += first_five[:1] != [] and first_five[0] in relevant[key]
        totals["recall@5"] += any(label in relevant[key] for label in first_five)
        totals["ndcg@10"] += ndcg(ranking, relevant[key], 10)
    return {name: round(total / len(asked), 4) for name, total in totals.items()}


def main() -> None:
    """Measure the sets named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--home", type=Path, default=None)
    parser.add_argument("--embedder", default="auto")
    parser.add_argument("--embedder-model", default="minilm")
    options = parser.parse_args()
    ingested = IngestSettings(embedder=options.embedder, embedder_model=options.embedder_model)
    with tempfile.TemporaryDirectory() as scratch:
        for folder in options.folders:
            workbench = Workbench(collection_of(folder, options.home or Path(scratch), ingested))
            asked, relevant = read_set(folder, options.questions)
            for name, settings in WAYS.items():
                result = score(workbench, replace(settings, abstain_below=0.0), asked, relevant)
                sys.stdout.write(
                    json.dumps({"set": folder.name, "questions": len(asked), "way": name, **result}) + "\n"
                )
                sys.stdout.flush()


if __name__ == "__main__":
    main()
