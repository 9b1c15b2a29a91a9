"""The process that trains, measures or holds a gate; started and followed by `ingest/tunings.py`.

A process of its own: a cancellation takes effect whatever step it is in, its memory is given back at its end, and if
the system kills it for memory, a job has failed and no worker has died. It says one JSON object a line on standard
output: `{"point": {...}}` as it goes on, then `{"done": ...}`, `{"cancelled": reason}` or `{"failed": [reason, hint]}`.
A line on its standard input asks it to stop; the end of that stream means that nobody follows it any more.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from filelock import FileLock

from ragkit import tuning
from ragkit.collection import Collection
from ragkit.errors import Cancelled, RagkitError
from ragkit.evaluation import Progress
from ragkit.promotion import gate
from ragkit.settings import RetrieveSettings
from ragkit.tune.rows import Point
from ragkit.tuning import TunePlan
from ragkit.types import from_json, to_json
from ragkit.workbench import Workbench

LOCK = ".lock"
"""In a run's folder: two processes never train in one."""
_PACE = 0.2
"""Seconds between two points that are told; those with a held-out loss always are."""


class Teller:
    """Says how far the work is, a few times a second."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._told = 0.0

    def say(self, **message: object) -> None:
        """One line, at once."""
        self._out.write(json.dumps(message) + "\n")
        self._out.flush()

    def point(self, point: Point) -> None:
        """A point of a training."""
        if point.held_out_loss is not None or time.monotonic() - self._told >= _PACE:
            self._told = time.monotonic()
            self.say(point=dataclasses.asdict(point))


def train(workbench: Workbench, task: dict[str, Any], teller: Teller, stop: Callable[[], bool]) -> object:
    """Train an adapter; returns its name."""
    folder = Path(task["folder"])
    with FileLock(folder / LOCK):
        plan = from_json(TunePlan, task["plan"])
        adapter = tuning.tune(workbench, plan, folder, teller.point, stop)
    tuning.discard(folder)  # the lock's file is in it
    return adapter.name


def measure(workbench: Workbench, task: dict[str, Any], teller: Teller, stop: Callable[[], bool]) -> object:
    """Make the rows of a plan and measure what training on them takes; returns both."""
    plan = from_json(TunePlan, task["plan"])

    def tell(done: int, total: int) -> None:
        teller.point(Point(done, total, phase="preparing"))

    folder = Path(task["folder"])
    with FileLock(folder / LOCK):
        prepared = tuning.prepare_plan(workbench, plan, folder, tell, stop)
        teller.say(point=dataclasses.asdict(Point(0, 0, phase="checking")))
        estimate = tuning.estimate(workbench, plan.settings, prepared)
    rows = (*prepared.train, *prepared.held)
    return {
        "estimate": to_json(estimate),
        "train": len(prepared.train),
        "held": len(prepared.held),
        "kinds": dict(Counter(row.kind for row in rows)),
        "left_out": prepared.left_out,
        "warnings": list(prepared.warnings),
    }


def hold_gate(workbench: Workbench, task: dict[str, Any], teller: Teller, stop: Callable[[], bool]) -> object:
    """Hold an adapter against the default; returns what came of it."""

    def tell(now: Progress) -> None:
        teller.point(Point(now.done, now.total, seconds=now.seconds, tokens_per_second=now.rate, left=now.left))

    retrieve = from_json(RetrieveSettings, task["retrieve"])
    held = gate(workbench, task["adapter"], task["set"], retrieve=retrieve, listen=tell, should_stop=stop)
    return to_json(held)


TASKS = {"tune": train, "estimate": measure, "gate": hold_gate}


def _listen(stop: threading.Event) -> None:
    """Wait for the word to stop; when nobody follows any more, end at once: checkpoints are whole or not there."""
    for _ in sys.stdin:
        stop.set()
    os._exit(3)


def main(arguments: list[str] | None = None) -> None:
    """Do one task, which is described on the first line of standard input."""
    parser = argparse.ArgumentParser(prog="python -m ingest.training", description="Trains or measures an adapter.")
    parser.add_argument("--home", type=Path, required=True, help="Folder of the collections.")
    parser.add_argument("--collection", required=True, help="Name of the collection.")
    options: Any = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    teller = Teller(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)  # what a library prints does not end up between our lines
    task = json.loads(sys.stdin.readline())
    stop = threading.Event()
    threading.Thread(target=_listen, args=(stop,), daemon=True).start()
    try:
        workbench = Workbench(Collection.open(options.home, options.collection))
        teller.say(done=TASKS[task["task"]](workbench, task, teller, stop.is_set))
    except Cancelled as error:
        teller.say(cancelled=error.message)
    except RagkitError as error:
        teller.say(failed=[error.message, error.hint])
    except MemoryError:
        teller.say(failed=["There was not enough memory.", "Take a smaller batch_tokens, or checkpointing."])
    os._exit(0)  # threads of libraries have nothing more to say


if __name__ == "__main__":
    main()
