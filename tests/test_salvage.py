"""A damaged place in the database: said in one sentence, and everything that can still be read is saved."""

from __future__ import annotations

import os
import random
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from ragkit import verify
from ragkit.catalog import EMBEDDERS
from ragkit.collection import Collection
from ragkit.errors import CollectionError, of_storage
from ragkit.projection import Projection
from ragkit.schema import connect
from ragkit.types import Demonstration
from tests import library
from tests.command import ragkit

SIZE = 4096
WORDS = ["alder", "birch", "cedar", "dogwood", "elm", "fir", "gorse", "hazel", "iris", "juniper"]


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    """Forty documents whose pages fill the pages of the database, and some of everything else."""
    draw = random.Random(1)
    collection = library.new(tmp_path / "home")
    for number in range(40):
        texts = [f"document {number} page {page}: {' '.join(draw.choices(WORDS, k=200))}" for page in range(6)]
        library.put(collection, f"{number}.md", texts)
    collection.add_demonstrations([Demonstration(f"Question {n}?", f"Answer {n}.") for n in range(30)])
    Projection(collection).build()
    collection.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return collection


def places(collection: Collection, table: str) -> list[int]:
    """Numbers of the file's pages that hold a table's rows, overflowing texts aside."""
    # The root is found by name; its children are read out of the interior page's cells (SQLite file format, 1.6).
    root = collection.connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0]
    data = collection.path.read_bytes()
    start = (root - 1) * SIZE
    kind, cells = data[start], int.from_bytes(data[start + 3 : start + 5], "big")
    if kind in (0x0D, 0x0A):
        return [root]
    offsets = [int.from_bytes(data[start + 12 + 2 * n : start + 14 + 2 * n], "big") for n in range(cells)]
    children = [int.from_bytes(data[start + at : start + at + 4], "big") for at in offsets]
    return [*children, int.from_bytes(data[start + 8 : start + 12], "big")]


def spoil(collection: Collection, page: int, how: str = "noise") -> None:
    """Overwrite one page of the file, as a failing disk does."""
    collection.close()
    with open(collection.path, "r+b") as file:
        file.seek((page - 1) * SIZE)
        file.write(os.urandom(SIZE) if how == "noise" else bytes(SIZE))


@pytest.mark.parametrize("how", ["noise", "zeros"])
@pytest.mark.parametrize("table", ["documents", "pages", "chunks", "vectors", "chunks_fts_data", "demonstrations"])
def test_what_can_be_read_is_saved_and_what_is_lost_is_named(collection: Collection, table: str, how: str) -> None:
    before = {document.name: document for document in collection.documents()}
    texts = {name: [page.text for page in collection.pages(each.id)] for name, each in before.items()}
    highest = int(collection.ids()[-1])
    middle = places(collection, table)
    spoil(collection, middle[len(middle) // 2], how)
    collection = Collection.open(collection.home, collection.name)
    found = list(verify.check(collection))
    assert found
    assert {problem.repairable for problem in found} == {True}
    lost = verify.repair(collection)
    assert list(verify.check(collection)) == []
    there = {document.name: document for document in collection.documents()}
    if table != "documents":  # else the names of some are what is lost
        assert {*there} == {*before} - {*lost}
    assert len(there) >= (len(before) if table in ("chunks_fts_data", "demonstrations") else 20)
    for name, document in there.items():
        assert document == before[name]
        assert [page.text for page in collection.pages(document.id)] == texts[name]
    assert list(collection.folder.glob("damaged-*-library.sqlite"))
    query = EMBEDDERS.load("hashing")().embed(["document 3 page 1 alder"])
    ids, vectors = collection.vectors()
    ((*hits,),) = Projection(collection).search(query, 5)
    assert np.allclose([score for _, score in hits], np.sort(vectors @ query[0])[::-1][:5], atol=1e-5)
    assert collection.search_words("alder", 5)
    library.put(collection, "new.md", ["A new text."])
    assert collection.ids()[-1] > highest


def test_who_has_it_open_goes_on_with_what_was_saved(collection: Collection) -> None:
    other = connect(collection.path)
    assert other.execute("SELECT count(*) FROM documents").fetchone() == (40,)
    spoil(collection, places(collection, "vectors")[3])
    collection = Collection.open(collection.home, collection.name)
    lost = verify.repair(collection)
    assert 0 < len(lost) < 20
    assert other.execute("SELECT count(*) FROM documents").fetchone() == (40 - len(lost),)
    assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_an_altered_vector_is_noticed_although_sqlite_does_not(collection: Collection) -> None:
    collection.connection.execute("UPDATE vectors SET vector = zeroblob(length(vector)) WHERE chunk = 5")
    (problem,) = [each for each in verify.check(collection) if each.where == "database"]
    assert "1 vectors that are not of length 1" in problem.what


def test_without_its_settings_nothing_is_replaced(collection: Collection) -> None:
    spoil(collection, places(collection, "meta")[0])
    content = collection.path.read_bytes()
    with pytest.raises((CollectionError, sqlite3.DatabaseError)):
        verify.repair(Collection(collection.home, collection.name))
    assert collection.path.read_bytes() == content
    assert not list(collection.folder.glob(".salvage*"))


def test_a_damaged_place_is_one_sentence_and_the_way_out(collection: Collection) -> None:
    for page in places(collection, "chunks"):
        spoil(collection, page)
    done = ragkit("search", "alder birch", "-c", collection.name, home=collection.home, expect=1)
    assert "damaged" in done.stderr
    assert "ragkit verify --repair" in " ".join(done.stderr.split())
    done = ragkit("verify", "--repair", "-c", collection.name, home=collection.home)
    assert "ingest again: 0.md" in " ".join(done.stderr.split())


def test_other_faults_are_no_damage() -> None:
    with pytest.raises(sqlite3.OperationalError) as caught:
        sqlite3.connect(":memory:").execute("SELECT nothing FROM nowhere")
    assert of_storage(caught.value) is None
