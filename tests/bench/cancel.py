"""Seconds from the wish to stop to a job that has ended, at random moments of every kind of long job.

    python -m tests.bench.cancel [--tries 5] [--keep]

With the built-in models: ingesting, embedding again, evaluating, training.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ingest.evaluations import submit_evaluation
from ingest.launch import submit_ingest, submit_reembed
from ingest.tunings import discard_tuning, submit_tuning
from ragkit.collection import Collection
from ragkit.jobs import Jobs
from ragkit.runs import Plan
from ragkit.sets import Sets
from ragkit.settings import IngestSettings, TuneSettings
from ragkit.tuning import TunePlan
from ragkit.tuning_data import Sources
from ragkit.types import Question, Variant
from ragkit.workbench import Workbench
from tests.bench import results

LATEST = {"ingest": 15.0, "reembed": 15.0, "evaluate": 25.0, "tune": 40.0}
"""Seconds that a job gets at most before it is cancelled."""


def main() -> None:
    """One JSON object: by kind the seconds of each try."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tries", type=int, default=5)
    parser.add_argument("--keep", action="store_true", help="Write the result into tests/bench/results.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        found = measure(Path(place), given.tries)
    sys.stdout.write(json.dumps({kind: [round(each, 2) for each in tried] for kind, tried in found.items()}) + "\n")
    if given.keep:
        results.keep("cancel", found, tries=given.tries)


def measure(place: Path, tries: int) -> dict[str, list[float]]:
    """Seconds by kind."""
    files = place / "files"
    files.mkdir()
    draw = random.Random(0)
    for number in range(400):
        lines = [f"On day {day} tower {number} counted {draw.randrange(999)} birds." for day in range(300)]
        (files / f"{number:03}.txt").write_text("\n".join(lines))
    full = Collection.open(place / "home", "full", create=True)
    wait(full, submit_ingest(full, sorted(files.iterdir())[:40]))
    questions = [
        Question(f"q{number}", f"How many birds did tower {number} count on day 7?", ("7",))
        for number in range(40)
    ]
    Sets(full).put("birds", questions)
    rows = [{"question": each.question, "answers": ["7"], "passage": "On day 7 there were 7."} for each in questions]
    data = place / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    bench = Workbench(full)

    def ingest() -> tuple[Collection, int]:
        fresh = Collection.open(place / "home", f"fresh{random.getrandbits(40)}", create=True)
        return fresh, submit_ingest(fresh, [files])

    def reembed() -> tuple[Collection, int]:
        return full, submit_reembed(full, dataclasses.replace(IngestSettings(), chunk_tokens=150))

    def evaluate() -> tuple[Collection, int]:
        variant = Variant(template="concise", adapter="")
        return full, submit_evaluation(bench, Sets(full).get("birds"), Plan((variant,)))[0]

    def tune() -> tuple[Collection, int]:
        return full, submit_tuning(bench, TunePlan("birds", Sources(files=(str(data),)), TuneSettings()))

    kinds: dict[str, Callable[[], tuple[Collection, int]]] = {
        "ingest": ingest, "reembed": reembed, "evaluate": evaluate, "tune": tune
    }  # fmt: skip
    found: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(tries):
        for kind, begin in kinds.items():
            collection, job = begin()
            time.sleep(draw.uniform(0.5, LATEST[kind]))
            if Jobs(collection).get(job).over:
                sys.stderr.write(f"{kind}: ended by itself, {Jobs(collection).get(job).reason}\n")
                continue
            begun = time.monotonic()
            Jobs(collection).cancel(job)
            wait(collection, job)
            found[kind].append(time.monotonic() - begun)
            if kind == "tune":
                discard_tuning(collection, "birds")
    return found


def wait(collection: Collection, job: int) -> None:
    """Until a job has ended."""
    while not Jobs(collection).get(job).over:
        time.sleep(0.02)


if __name__ == "__main__":
    main()
