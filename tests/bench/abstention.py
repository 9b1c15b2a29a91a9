"""What each abstention threshold costs and brings, on questions whose article is there and on questions whose is not.

    python -m tests.bench.abstention [--questions N]

Every second article of SQuAD's two dev sets is embedded. For each threshold on the cosine of the nearest passage:
the share of answerable questions that would be refused, and the share of foreign questions that would be. One JSON
line a set and threshold. (Unanswerable questions about an article that is there look like answerable ones to
retrieval; they are the language model's to refuse.)
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from pathlib import Path

from ragkit.catalog import EMBEDDERS

DATA = Path(os.environ.get("RAGKIT_DATA", Path(__file__).resolve().parents[2].parent / "shared" / "data"))
THRESHOLDS = (0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)


def questions_of(articles: list[dict]) -> list[str]:
    """Every answerable question of some articles."""
    rows = [row for article in articles for part in article["paragraphs"] for row in part["qas"]]
    return [row["question"] for row in rows if not row.get("is_impossible")]


def main() -> None:
    """Measure both sets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=800)
    wanted = parser.parse_args().questions
    embedder = EMBEDDERS.load("auto")("minilm")
    generator = random.Random(1)
    for name in ("squad-v1.1-dev", "squad-v2.0-dev"):
        articles = json.loads((DATA / "squad" / f"{name}.json").read_text(encoding="utf-8"))["data"]
        here, elsewhere = articles[::2], articles[1::2]
        texts = [
            f"{article['title'].replace('_', ' ')}\n{part['context']}"
            for article in here
            for part in article["paragraphs"]
        ]
        passages = embedder.embed(texts)
        nearest = [
            (embedder.embed(generator.sample(questions_of(group), wanted), "query") @ passages.T).max(axis=1)
            for group in (here, elsewhere)
        ]
        for threshold in THRESHOLDS:
            refused, foreign = (float((scores < threshold).mean()) for scores in nearest)
            row = {"set": name, "threshold": threshold, "answerable refused": refused, "foreign refused": foreign}
            sys.stdout.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
