"""Kill -9 in the middle of ingesting, replacing and deleting, at random moments, again and again.

`RAGKIT_KILLS=200 pytest tests/test_survival.py` is the long run; without it a short one.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from ingest.files import Source
from ingest.launch import ensure_worker, start_worker, submit_ingest
from ingest.worker import Worker
from ragkit import verify
from ragkit.catalog import EMBEDDERS
from ragkit.collection import Collection
from ragkit.jobs import Jobs
from ragkit.projection import Projection
from tests import library
from tests.command import ROOT
from tests.filemaker import pdf_bytes

KILLS = int(os.environ.get("RAGKIT_KILLS", "10"))
NAMES = [f"{letter}.{kind}" for letter in "abcdefgh" for kind in ("md", "pdf")]

WORKING = """
import json, random, sys
from pathlib import Path
from ingest.files import Source
from ingest.pipeline import ingest
from ragkit.catalog import EMBEDDERS
from ragkit.collection import Collection
from tests.test_survival import NAMES, write

home, files, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
draw, collection, embedder = random.Random(seed), Collection.open(home, "notes"), EMBEDDERS.load("hashing")()

def say(*what):
    sys.stdout.write(json.dumps(what) + "\\n")
    sys.stdout.flush()

for number in range(100_000):
    names = draw.sample(NAMES, draw.randint(1, 4))
    held = {document.name for document in collection.documents()}
    if draw.random() < 0.3 and held:
        name = draw.choice(sorted(held))
        say("begin", {name: None})
        collection.remove(name)
        say("done", {name: None})
    else:
        marks = {name: f"{seed}-{number}-{name}" for name in names}
        sources = [Source(write(files / name, marks[name], draw), name) for name in names]
        say("begin", marks)
        results = ingest(collection, sources, embedder)
        say("done", {result.file: marks[result.file] for result in results if result.state in ("added", "replaced")})
"""


def write(path: Path, mark: str, draw: random.Random) -> Path:
    """A document of some pages that holds a mark of its own."""
    texts = [f"Page {page} of {mark} holds matter {draw.random()}." for page in range(draw.randint(1, 12))]
    if path.suffix == ".pdf":
        path.write_bytes(pdf_bytes(texts))
    else:
        path.write_text("\n\n".join(texts))
    return path


def marks_of(collection: Collection) -> dict[str, str]:
    """What is in: by name the mark that the document's text holds."""
    found = {}
    for document in collection.documents():
        (page, *_) = collection.pages(document.id)
        found[document.name] = page.text.split(" of ")[1].split(" holds")[0]
    return found


def killed_after(home: Path, files: Path, seed: int, seconds: float) -> list[Any]:
    """What a process said that worked for so long and was killed."""
    with subprocess.Popen(
        [sys.executable, "-c", WORKING, str(home), str(files), str(seed)], cwd=ROOT, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        said = [process.stdout.readline()]  # it has begun
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        said += process.stdout.readlines()
    return [json.loads(line) for line in said if line.endswith(b"\n")]


@pytest.mark.timeout(60 + 15 * KILLS)
def test_kills_lose_nothing_that_was_reported_and_leave_nothing_behind(tmp_path: Path) -> None:
    home, files = tmp_path / "home", tmp_path / "files"
    files.mkdir()
    collection = library.new(home)
    draw, sure = random.Random(7), {}
    embedder = EMBEDDERS.load("hashing")()
    for kill in range(KILLS):
        said = killed_after(home, files, kill, draw.uniform(0.0, 0.6))
        possible: dict[str, list[str | None]] = {name: [mark] for name, mark in sure.items()}
        for what, marks in said:
            for name, mark in marks.items():
                possible[name] = [mark] if what == "done" else [*possible.get(name, [None])[:1], mark]
        there = marks_of(collection)
        for name in {*possible, *there}:
            assert there.get(name) in possible.get(name, [None]), f"kill {kill}: {name} of {said[-2:]}"
        sure = dict(there)
        collection.writer().close()  # what the next ingestion does first
        Projection(collection).build(force=True)
        assert list(verify.check(collection)) == [], f"kill {kill}: {said[-2:]}"
        assert len({document.sha256 for document in collection.documents()}) == len(there)
        query = embedder.embed([f"Page 1 of {mark}" for mark in there.values()] or ["nothing"])
        ids, vectors = collection.vectors()
        exact = [sorted(zip(-row, ids, strict=True))[:3] for row in query @ vectors.T] if len(ids) else []
        for hits, best in zip(Projection(collection).search(query, 3) if len(ids) else [], exact, strict=True):
            assert np.allclose([score for _, score in hits], [-score for score, _ in best], atol=1e-5)


@pytest.mark.timeout(60 + 30 * KILLS)
def test_jobs_go_on_after_their_worker_was_killed_and_nothing_is_done_twice(tmp_path: Path) -> None:
    """Each job's worker is killed twice, a third would give it up; what the job reports in the end is what is there."""
    files, home = tmp_path / "files", tmp_path / "home"
    files.mkdir()
    collection, draw = library.new(home), random.Random(11)
    jobs = Jobs(collection)
    for turn in range(max(1, KILLS // 5)):
        marks = {name: f"{turn}-{name}" for name in draw.sample(NAMES, 10)}
        for name, mark in marks.items():
            write(files / name, mark, draw)
        before = {document.name: document.id for document in collection.documents()}
        job = submit_ingest(collection, sources=[Source(files / name, name) for name in marks])
        reported: dict[str, int] = {}
        for _ in range(2):
            pid = start_worker(home, collection.name, linger=0)
            time.sleep(draw.uniform(0.2, 2.0))
            psutil.Process(pid).kill()
            os.waitpid(pid, 0)
            there = {document.name: document.id for document in collection.documents()}
            for file in jobs.files(job):
                if file.state in ("added", "replaced"):  # stays as it was reported first, and is not brought in again
                    assert there[file.file] == reported.setdefault(file.file, there[file.file])
        while not jobs.get(job).over:
            ensure_worker(collection)
            time.sleep(0.05)
        assert jobs.get(job).state == "done"
        states = {file.file: file.state for file in jobs.files(job)}
        assert set(states) == set(marks)
        # A document may have come in just before the kill, without a word of it: it is found unchanged then.
        assert set(states.values()) <= {"added", "replaced", "unchanged"}
        assert {*marks_of(collection).items()} >= {*marks.items()}
        assert len(collection.documents()) == len({*before, *marks})
        assert list(verify.check(collection)) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of sixteen megabytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("only root may mount a file system")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_a_full_disk_stops_the_job_with_the_reason_and_after_making_room_the_rest_comes_in(
    small_disk: Path, tmp_path: Path
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    for number in range(40):
        text = "\n".join(f"Line {line} of file {number} is about {line * number}." for line in range(600))
        (files / f"{number:02}.txt").write_text(text)
    hoard = small_disk / "hoard"
    hoard.write_bytes(bytes(14_000_000))
    collection = library.new(small_disk / "home")
    jobs = Jobs(collection)
    job = jobs.submit("ingest", {"paths": [str(files)]})
    Worker(collection).work()
    assert (jobs.get(job).state, jobs.get(job).reason[:17]) == ("failed", "The disk is full.")
    there = {document.name for document in collection.documents()}
    reported = {file.file for file in jobs.files(job) if file.state == "added"}
    assert reported <= there != set(os.listdir(files))
    assert [problem for problem in verify.check(collection) if problem.where != "projection"] == []
    hoard.unlink()
    again = jobs.submit("ingest", {"paths": [str(files)]})
    Worker(collection).work()
    assert jobs.get(again).state == "done"
    assert {document.name for document in collection.documents()} == set(os.listdir(files))
    assert list(verify.check(collection)) == []
