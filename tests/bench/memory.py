"""Peak of memory while text comes in, and while ten times as much comes in: of the whole family of processes, and of
each kind of them.

Half of the text is one file, the rest are files of 1 MB and records of one JSON Lines file. What is measured is the
resident memory of the worker and of the parsing process, several times a second; pages of files that the system maps
into several processes count in each. With `hashing` 250 MB take minutes; with the built-in model they would take an
hour.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from ingest.launch import submit_ingest
from ragkit.collection import Collection
from ragkit.jobs import Jobs
from ragkit.settings import IngestSettings


def measure(scratch: Path, *, megabytes: dict[str, Sequence[int]]) -> list[dict[str, Any]]:
    """By embedder and amount of text: files, passages, seconds and the peaks in megabytes."""
    found = []
    for embedder, sizes in megabytes.items():
        for size in sizes:
            place = scratch / f"{embedder}-{size}"
            peaks = _one(place / "home", write(place / "files", size), embedder)
            found.append({"embedder": embedder, "MB": size, **peaks})
    return found


def write(folder: Path, megabytes: int) -> Path:
    """Text of drawn words: half in one file, a quarter in files of 1 MB, a quarter in records."""
    folder.mkdir(parents=True)
    draw = random.Random(0)
    vocabulary = ["".join(draw.choices("abcdefghijklmnoprstuvw", k=draw.randint(2, 9))) for _ in range(30_000)]

    def sentences(size: int) -> Iterator[str]:
        while size > 0:
            sentence = " ".join(draw.choices(vocabulary, k=draw.randint(6, 24))).capitalize() + ".\n"
            size -= len(sentence)
            yield sentence

    with open(folder / "long.txt", "w", encoding="utf-8") as file:
        file.writelines(sentences(megabytes * 500_000))
    for number in range(megabytes // 4):
        (folder / f"{number:04}.txt").write_text("".join(sentences(1_000_000)), encoding="utf-8")
    with open(folder / "records.jsonl", "w", encoding="utf-8") as file:
        for number in range(megabytes * 250_000 // 2_000):
            file.write(json.dumps({"_id": str(number), "text": "".join(sentences(2_000))}) + "\n")
    return folder


def _one(home: Path, files: Path, embedder: str) -> dict[str, Any]:
    model = {} if embedder == "minilm" else {"embedder": embedder, "embedder_model": ""}
    collection = Collection.open(home, "large", create=True, settings=IngestSettings(**model))
    begun = time.monotonic()
    job = submit_ingest(collection, [files])
    peak: Counter[str] = Counter()
    while not Jobs(collection).get(job).over:
        now: Counter[str] = Counter()
        for process in psutil.Process().children(recursive=True):
            try:
                kind = "parsing" if "ingest.child" in process.cmdline() else "worker"
                now[kind] += process.memory_info().rss
            except psutil.Error:
                continue
        now["together"] = now.total()
        peak |= now
        time.sleep(0.1)
    psutil.wait_procs(psutil.Process().children(recursive=True), timeout=60)  # a worker waits a while for more work
    found = Jobs(collection).get(job)
    return {
        "state": found.state,
        "files": len(Jobs(collection).files(job)),
        "passages": collection.count(),
        "seconds": time.monotonic() - begun,
        **{f"peak MB, {kind}": size / 1e6 for kind, size in sorted(peak.items())},
    }

