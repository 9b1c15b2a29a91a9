"""A question to its passages, at 10,000 to 1,000,000 passages: ragkit's hybrid search, its peers', and the floor: the
question embedded, then faiss's exact search, with nothing around them.

Questions are those of MedQuAD and SQuAD. Memory is that of a fresh process that opened the filled collection and
answered all questions; recall is measured on their vectors, against exact search.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.passages import DATA, Passages
from tests.bench.sides import Side

TURN = 20
"""Questions to a side before the next has its turn."""
PAUSE = 0.5
"""Seconds before a turn: threads of the side before spin on for a fifth of a second."""
OURS = "ragkit_workbench"


def measure(
    scratch: Path, *, sizes: Sequence[int], sides: Sequence[str], peers_up_to: int, questions: int, k: int,
    sentences: int,
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """By size and side: seconds of each question; ragkit's `opened` has its memory, recall and index as well."""
    found: dict[str, dict[str, Any]] = {}
    asked = questions_of(questions)
    for size in sizes:
        texts, vectors = Passages(sentences).take(size)
        files = {"texts": str(scratch / f"{size}.json"), "vectors": str(scratch / f"{size}.npy")}
        Path(files["texts"]).write_text(json.dumps(texts), encoding="utf-8")
        np.save(files["vectors"], vectors)
        del texts, vectors
        taking = [OURS, *(side for side in sides if side != OURS and size <= peers_up_to)]
        found[str(size)] = _one_size(scratch, taking, files, asked, k)
    return found


def _one_size(scratch: Path, names: Sequence[str], files: dict[str, str], asked: list[str], k: int) -> dict[str, Any]:
    with Side(OURS, scratch) as filling:
        filling.ask("load")
        home = filling.ask("fill", **files)
        filled, filling_mb = filling.seconds, filling.peak_mb
    with ExitStack() as stack:
        sides = {name: stack.enter_context(Side(name, scratch)) for name in names}
        for name, side in sides.items():
            side.ask("load")
            if name == OURS:
                side.ask("open", home=home)
                opened = side.seconds
            else:
                side.ask("fill", **files)
            side.ask("search", questions=asked[:TURN], k=k)
        with Side(OURS, scratch) as floor:
            floor.ask("load")
            floor.ask("bare_fill", vectors=files["vectors"])
            floor.ask("bare_search", questions=asked[:TURN], k=k)
            seconds: dict[str, list[float]] = {name: [] for name in (*names, "floor")}
            for start in range(0, len(asked), TURN):
                turn = asked[start : start + TURN]
                for name, side in (*sides.items(), ("floor", floor)):
                    time.sleep(PAUSE)
                    do = "bare_search" if name == "floor" else "search"
                    seconds[name] += side.ask(do, questions=turn, k=k)["seconds"]
            ours = sides[OURS]
            memory = ours.ask("memory")
            recall = _recall(ours.ask("nearest", questions=asked, k=k), floor.ask("nearest_bare", questions=asked, k=k))
        return {
            "seconds": seconds, "filled in": filled, "filling_mb": filling_mb, "opened in": opened, **memory,
            f"recall@{k}": recall, **ours.ask("about"),
        }  # fmt: skip


def _recall(found: list[list[int]], exact: list[list[int]]) -> float:
    shared = [len(set(mine) & set(right)) / len(right) for mine, right in zip(found, exact, strict=True)]
    return sum(shared) / len(shared)


def questions_of(count: int) -> list[str]:
    """Half of MedQuAD's, half of SQuAD's."""
    medquad = [json.loads(line)["question"] for line in (DATA / "medquad" / "medquad-dev.jsonl").open(encoding="utf-8")]
    squad = [json.loads(line)["text"] for line in (DATA / "squad/beir-v1.1/queries.jsonl").open(encoding="utf-8")]
    draw = random.Random(0)
    asked = draw.sample(sorted(set(medquad)), count - count // 2) + draw.sample(sorted(set(squad)), count // 2)
    draw.shuffle(asked)
    return asked
