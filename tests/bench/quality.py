"""How good the passages are that each side finds, out of the box: nDCG@10 on sets in BEIR layout, MedQuAD among them.

ragkit's own ways (by meaning alone, by words alone) stand beside its default.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ragkit.evaluate.retrieval import ndcg
from tests.bench.passages import DATA
from tests.bench.retrieval import read_set
from tests.bench.sides import KEPT, SCRIPTS, Side

WAYS: dict[str, dict[str, Any]] = {"hybrid": {}, "dense": {"retriever": "dense"}, "words": {"retriever": "words"}}
"""ragkit's own, by what they set."""
DEEP = 30
"""Passages asked for: several may belong to one record."""


def measure(
    scratch: Path, *, sides: Sequence[str], sets: Sequence[str], questions: int, documents: int, each: bool = False
) -> dict[str, dict[str, Any]]:
    """By set and way: the mean nDCG@10, and where `each` is wanted that of every question, to be compared in pairs.

    `documents` bounds MedQuAD alone, whose answers would take an hour.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in sets:
        folder = _medquad(scratch, documents) if name == "medquad" else DATA / name
        asked, relevant = read_set(folder, questions)
        rows = (folder / "corpus.jsonl").read_text("utf-8").splitlines()
        scores: dict[str, list[float]] = {}
        for side in sides:
            # A peer's scores change with its script alone, and take minutes: they survive a kill of the bench.
            kept = _kept(side, name, questions, documents)
            if kept.is_file():
                scores |= json.loads(kept.read_text())
            else:
                scores |= (new := _scores(side, scratch, folder, asked, relevant))
                if side != "ragkit_workbench":
                    kept.parent.mkdir(exist_ok=True)
                    kept.write_text(json.dumps(new))
        means = {way: sum(one) / len(one) for way, one in scores.items()}
        found[name] = {"documents": len(rows), "questions": len(asked), "ndcg@10": means}
        if each:
            found[name]["each"] = scores
    return found


def _kept(side: str, name: str, questions: int, documents: int) -> Path:
    what = ["each", (SCRIPTS / f"{side}.py").read_text("utf-8"), name, str(questions), str(documents)]
    return KEPT / "quality" / f"{hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]}.json"


def _scores(
    name: str, scratch: Path, folder: Path, asked: Mapping[str, str], relevant: Mapping[str, Mapping[str, float]]
) -> dict[str, list[float]]:
    """By way of a side: nDCG@10 of each question."""
    with Side(name, scratch) as side:
        side.ask("load")
        side.ask("records", file=str(folder / "corpus.jsonl"))
        found = {}
        for way, settings in (WAYS if name == "ragkit_workbench" else {"": {}}).items():
            hits = side.ask("search", questions=list(asked.values()), k=DEEP, **settings)["ids"]
            found[f"{name} {way}".strip()] = [
                _score(ids, relevant[key]) for key, ids in zip(asked, hits, strict=True)
            ]
    return found


def _score(ids: Sequence[str], relevant: Mapping[str, float]) -> float:
    return ndcg(list(dict.fromkeys(map(str, ids))), dict(relevant), 10)


def _medquad(scratch: Path, documents: int) -> Path:
    """Answers as records and their questions, the focus left out of the record as a person's file would not name it."""
    folder = scratch / "medquad-set"
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    lines = (DATA / "medquad" / "medquad-dev.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    distinct = list({row["answer"]: row for row in rows if row["answer"].strip()}.values())
    rows = random.Random(0).sample(distinct, min(documents, len(distinct)))
    corpus = [json.dumps({"_id": row["qid"], "title": "", "text": row["answer"]}) for row in rows]
    queries = [json.dumps({"_id": row["qid"], "text": row["question"]}) for row in rows]
    (folder / "corpus.jsonl").write_text("\n".join(corpus), encoding="utf-8")
    (folder / "queries.jsonl").write_text("\n".join(queries), encoding="utf-8")
    judged = "".join(f"{row['qid']}\t{row['qid']}\t1\n" for row in rows)
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged, encoding="utf-8")
    return folder
