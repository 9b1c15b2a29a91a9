"""A collection that follows a folder: what is new or changed comes in, what is gone goes, nothing else is touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ingest.pipeline import ingest
from ingest.watch import SETTLED, Changes, FolderWatch
from ragkit.catalog import EMBEDDERS
from ragkit.collection import Collection
from tests import library
from tests.command import ROOT, ragkit


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "papers"
    (made / "more").mkdir(parents=True)
    write(made / "cats.md", "The cat sleeps on the mat.")
    write(made / "more" / "dogs.md", "The dog barks in the yard.")
    return made


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    return library.new(tmp_path / "home")


def write(path: Path, text: str, age: float = 60) -> None:
    """A file that was last changed so many seconds ago."""
    path.write_text(text)
    os.utime(path, (time.time() - age,) * 2)


def names(collection: Collection) -> list[str]:
    return [document.name for document in collection.documents()]


def look(collection: Collection, watch: FolderWatch) -> Changes:
    """What `ragkit ingest --watch` does at each look, without a worker."""
    changes = watch.changes()
    if changes.gone:
        watch.remove(changes.gone)
        changes = watch.changes()
    if changes.found:
        watch.settled(ingest(collection, changes.found, EMBEDDERS.load("hashing")()))
    return changes


def test_a_folder_is_followed(collection: Collection, folder: Path) -> None:
    watch = FolderWatch(collection, folder)
    look(collection, watch)
    assert names(collection) == ["cats.md", "more/dogs.md"]
    assert watch.changes() == Changes()
    write(folder / "cats.md", "The cat has left.", age=30)
    write(folder / "birds.md", "A bird sings.")
    (folder / "more" / "dogs.md").unlink()
    changes = watch.changes()
    assert ([each.name for each in changes.found], changes.gone) == (["birds.md", "cats.md"], ("more/dogs.md",))
    look(collection, watch)
    assert names(collection) == ["birds.md", "cats.md"]
    assert collection.chunks(collection.document("cats.md").id)[0][1].text == "The cat has left."
    assert watch.changes() == Changes()


def test_what_happened_while_nobody_watched_is_seen(collection: Collection, folder: Path) -> None:
    look(collection, FolderWatch(collection, folder))
    (folder / "cats.md").rename(folder / "kittens.md")
    look(collection, FolderWatch(collection, folder))
    assert names(collection) == ["kittens.md", "more/dogs.md"]


def test_what_did_not_come_from_the_folder_stays(collection: Collection, folder: Path, tmp_path: Path) -> None:
    library.put(collection, "mine.md", ["Put in by hand."])
    look(collection, FolderWatch(collection, folder))
    (folder / "cats.md").unlink()
    look(collection, FolderWatch(collection, folder))
    assert names(collection) == ["mine.md", "more/dogs.md"]
    other = tmp_path / "other"
    other.mkdir()
    write(other / "x.md", "Another folder.")
    look(collection, FolderWatch(collection, other))
    look(collection, FolderWatch(collection, folder))
    assert names(collection) == ["mine.md", "more/dogs.md", "x.md"]


def test_a_twin_takes_the_place_of_what_was_removed(collection: Collection, folder: Path) -> None:
    write(folder / "again.md", "The cat sleeps on the mat.")
    watch = FolderWatch(collection, folder)
    look(collection, watch)
    assert len(names(collection)) == 2
    first = next(name for name in ("again.md", "cats.md") if name in names(collection))
    (folder / first).unlink()
    look(collection, watch)
    (left,) = {"again.md", "cats.md"} - {first}
    assert names(collection) == sorted([left, "more/dogs.md"])


def test_a_refused_file_is_not_tried_again_until_it_changes(collection: Collection, folder: Path) -> None:
    (folder / "bad.pdf").write_bytes(b"")
    os.utime(folder / "bad.pdf", (1, 1))
    watch = FolderWatch(collection, folder)
    assert "bad.pdf" in [each.name for each in look(collection, watch).found]
    assert watch.changes() == Changes()
    os.utime(folder / "bad.pdf", (2, 2))
    assert [each.name for each in watch.changes().found] == ["bad.pdf"]


def test_a_file_that_is_being_written_is_left_for_later(collection: Collection, folder: Path) -> None:
    write(folder / "cats.md", "The cat slee", age=0)
    watch = FolderWatch(collection, folder)
    changes = watch.changes()
    assert [each.name for each in changes.found] == ["more/dogs.md"]
    assert changes.unsettled
    write(folder / "cats.md", "The cat sleeps.", age=SETTLED + 1)
    assert "cats.md" in [each.name for each in watch.changes().found]


def test_a_folder_that_is_away_or_suddenly_empty_removes_nothing(collection: Collection, folder: Path) -> None:
    watch = FolderWatch(collection, folder)
    look(collection, watch)
    away = folder.rename(folder.with_name("away"))
    assert "is not there; its documents stay" in look(collection, watch).missing
    folder.mkdir()
    assert "is empty; as a drive may be missing" in look(collection, watch).missing
    assert len(names(collection)) == 2
    folder.rmdir()
    away.rename(folder)
    assert look(collection, watch) == Changes()


def test_from_the_command_line_until_it_is_interrupted(tmp_path: Path, folder: Path) -> None:
    home = tmp_path / "home"
    command = ["ingest", "--watch", str(folder), "-c", "notes", "--embedder", "hashing"]
    with subprocess.Popen(
        [sys.executable, "-m", "ui.cli", *command],
        cwd=ROOT, env={**os.environ, "RAGKIT_HOME": str(home)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as running:  # fmt: skip
        try:
            until(lambda: (home / "notes" / "library.sqlite").exists())
            collection = Collection.open(home, "notes")
            until(lambda: names(collection) == ["cats.md", "more/dogs.md"])
            write(folder / "birds.md", "A bird sings.")
            (folder / "cats.md").unlink()
            until(lambda: names(collection) == ["birds.md", "more/dogs.md"])
        finally:
            running.send_signal(signal.SIGINT)
            told, said = running.communicate(timeout=60)
    assert running.returncode == 0, said
    assert "Traceback" not in said
    assert {"removed   cats.md"} <= set(told.splitlines())
    refused = ragkit("ingest", "--watch", folder / "birds.md", "-c", "notes", home=home, expect=1)
    assert "is no folder" in refused.stderr


def until(true: Callable[[], bool], seconds: float = 90) -> None:
    """Wait for something that takes a process or two."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)
