"""Two writers and eight readers in processes of their own: no errors, no wrong results.

`RAGKIT_CROWD=120 pytest tests/test_crowd.py` is the long run, in seconds; without it a short one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ragkit import verify
from ragkit.projection import Projection
from tests import library
from tests.command import ROOT

SECONDS = float(os.environ.get("RAGKIT_CROWD", "4"))

WRITER = """
import random, sys, time
from pathlib import Path
from ragkit.collection import Collection
from ragkit.projection import Projection
from tests import library

collection, mine, seconds = Collection.open(Path(sys.argv[1]), "notes"), sys.argv[2], float(sys.argv[3])
draw, until, done, version = random.Random(mine), time.monotonic() + seconds, 0, 0
projection = Projection(collection)
while time.monotonic() < until:
    version += 1
    name = f"{mine}{draw.randrange(6)}.md"
    held = {document.name for document in collection.documents()}
    if name in held and draw.random() < 0.3:
        collection.remove(name)
    else:
        count = draw.randint(1, 9)
        library.put(collection, name, [f"{name} version {version} part {part} of {count}" for part in range(count)])
    if draw.random() < 0.2:
        projection.build()
    done += 1
sys.stdout.write(str(done))
"""

READER = """
import random, sys, time
from pathlib import Path
from ragkit.catalog import EMBEDDERS
from ragkit.collection import Collection
from ragkit.projection import Projection

collection, seconds = Collection.open(Path(sys.argv[1]), "notes"), float(sys.argv[3])
projection, embedder = Projection(collection), EMBEDDERS.load("hashing")()
draw, until, done = random.Random(sys.argv[2]), time.monotonic() + seconds, 0
while time.monotonic() < until:
    name = f"{draw.choice('ab')}{draw.randrange(6)}.md"
    question = f"{name} version {draw.randrange(99)} part 1"
    ((*found,),) = projection.search(embedder.embed([question]), 5)
    scores = [score for _, score in found]
    assert scores == sorted(scores, reverse=True), scores
    assert len({chunk for chunk, _ in found}) == len(found), found
    for hits in (collection.hits(found), collection.hits(collection.search_words(name, 5))):
        for hit in hits:
            assert hit.text.startswith(hit.document), hit
            assert hit.text.split(" part ")[1].split(" of ")[0] == str(hit.page - 1), hit
    for document in collection.documents():
        parts = collection.chunks(document.id)
        texts = [chunk.text for _, chunk in parts]
        if texts:  # else it went after it was listed
            assert len(texts) == document.chunks == int(texts[0].rsplit(" ", 1)[1]), (document, texts)
            assert len({text.split(" part ")[0] for text in texts}) == 1, texts
    done += 1
sys.stdout.write(str(done))
"""


@pytest.mark.timeout(120 + 3 * SECONDS)
def test_readers_and_writers_do_not_disturb_each_other(tmp_path: Path) -> None:
    home = tmp_path / "home"
    collection = library.new(home)
    library.put(collection, "a0.md", ["a0.md version 0 part 0 of 1"])
    crowd = {
        f"{kind} {who}": subprocess.Popen(
            [sys.executable, "-c", code, str(home), who, str(SECONDS)],
            cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for kind, code, names in (("writer", WRITER, "ab"), ("reader", READER, "01234567"))
        for who in names
    }  # fmt: skip
    done = {}
    for who, process in crowd.items():
        said, errors = process.communicate()
        assert process.returncode == 0, f"{who}: {errors[-2000:]}"
        done[who] = int(said)
    assert min(done.values()) > 0, json.dumps(done)
    Projection(collection).build(force=True)
    assert list(verify.check(collection)) == []


INGESTING = """
import sys
from pathlib import Path
from ingest.pipeline import ingest
from ragkit.catalog import EMBEDDERS
from ragkit.collection import Collection

results = ingest(Collection.open(Path(sys.argv[1]), "notes"), [sys.argv[2]], EMBEDDERS.load("hashing")())
sys.stdout.write(" ".join(sorted({result.state for result in results})))
"""


def test_three_processes_that_ingest_the_same_files_at_once_make_one_of_each(tmp_path: Path) -> None:
    collection, files = library.new(tmp_path / "home"), tmp_path / "files"
    files.mkdir()
    for number in range(60):
        (files / f"{number}.txt").write_text(" ".join(f"Sentence {part} of file {number}." for part in range(200)))
    command = [sys.executable, "-c", INGESTING, str(collection.home), str(files)]
    several = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for process in several:
        said, _ = process.communicate()
        assert process.returncode == 0
        assert set(said.split()) <= {"added", "unchanged", "replaced"}
    documents = collection.documents()
    assert sorted(document.name for document in documents) == sorted(path.name for path in files.iterdir())
    assert collection.count() == len(collection.ids()) == sum(document.chunks for document in documents)
    assert list(verify.check(collection)) == []
