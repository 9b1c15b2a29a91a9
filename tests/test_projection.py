"""The vector index as a projection of the database: in step, rebuilt when damaged, never changed under a reader."""

import json
import random
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragkit import projection, verify
from ragkit.catalog import EMBEDDERS
from ragkit.index.faiss import HNSWIndex
from ragkit.projection import Projection, index_for
from tests import library
from tests.command import ROOT

TOPICS = ["low-rank matrices", "a cat on a mat", "attention vectors", "gardens", "tides"]
EMBEDDER = EMBEDDERS.load("hashing")()


def exact(collection, queries, k):
    """What brute force over the database's vectors finds: the set of scores, which ids may share."""
    _, vectors = collection.vectors()
    return np.sort(queries @ vectors.T, axis=1)[:, ::-1][:, :k]


def found(projection, queries, k):
    return [[score for _, score in row] for row in projection.search(queries, k)]


QUERIES = EMBEDDER.embed(["low-rank matrices", "a cat on a mat", "attention vectors"], "query")


def test_search_equals_brute_force_before_and_after_a_build(home):
    collection = library.filled(home)
    projection = Projection(collection)
    assert np.allclose(found(projection, QUERIES, 4), exact(collection, QUERIES, 4), atol=1e-6)
    library.put(collection, "more.txt", ["Matrices of low rank are cheap.", "Cats like mats."])
    collection.remove("cats.txt")
    assert np.allclose(found(projection, QUERIES, 4), exact(collection, QUERIES, 4), atol=1e-6)
    projection.build(force=True)
    assert np.allclose(found(projection, QUERIES, 4), exact(collection, QUERIES, 4), atol=1e-6)


@pytest.mark.parametrize("index", ["flat", "rabitq", "ivf"])
def test_vectors_come_out_of_the_index_and_from_beside_it_but_not_of_what_is_gone(home, index):
    collection = library.new(home, settings=replace(library.HASHING, index=index))
    for number in range(30):
        library.put(collection, f"{number}.txt", [f"{TOPICS[number % 5]} number {number}"])
    projection = Projection(collection)
    projection.build()
    library.put(collection, "new.txt", ["zebra stripes"])
    collection.remove("7.txt")
    ids, vectors = collection.vectors()
    got = projection.vectors_of([*ids.tolist(), 8, 10_000])
    assert sorted(got) == ids.tolist()
    assert 8 not in got
    assert np.allclose([got[chunk] for chunk in ids.tolist()], vectors, atol=0.01)
    assert np.allclose(got[int(ids[-1])], vectors[-1], atol=1e-6)
    assert projection.vectors_of([]) == {}


def test_an_empty_collection_has_no_vectors(home):
    assert Projection(library.new(home)).vectors_of([1, 2]) == {}


def test_another_reader_sees_changes_without_being_told(home):
    collection = library.filled(home)
    writer, reader = Projection(collection), Projection(collection)
    reader.search(QUERIES, 2)
    library.put(collection, "more.txt", ["zebra stripes"])
    writer.build(force=True)
    query = EMBEDDER.embed(["zebra stripes"], "query")
    assert reader.search(query, 1)[0][0][1] > 0.7


def test_one_generation_is_left_after_a_build(home):
    collection = library.filled(home)
    for number in range(3):
        library.put(collection, f"{number}.txt", [f"text number {number}"])
        Projection(collection).build(force=True)
    assert len(list(collection.folder.glob("vectors-*.faiss"))) == 1
    assert len(list(collection.folder.glob("vectors-*.json"))) == 1


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "delete", "delete manifest", "garbage manifest"])
def test_a_damaged_index_is_rebuilt_from_the_database(home, damage):
    collection = library.filled(home)
    Projection(collection).build()
    data = next(collection.folder.glob("vectors-*.faiss"))
    content = bytearray(data.read_bytes())
    if damage == "flip":
        content[-200] ^= 255
        data.write_bytes(content)
    elif damage == "truncate":
        data.write_bytes(content[: len(content) // 2])
    elif damage == "empty":
        data.write_bytes(b"")
    elif damage == "delete":
        data.unlink()
    elif damage == "delete manifest":
        data.with_suffix(".json").unlink()
    else:
        data.with_suffix(".json").write_text("{")
    assert [problem.where for problem in verify.check(collection)] == ["projection"]
    assert np.allclose(found(Projection(collection), QUERIES, 4), exact(collection, QUERIES, 4), atol=1e-6)
    assert not list(verify.check(collection))


def test_the_index_of_another_collection_is_not_believed(home):
    """An index file of the same shape but of other content: its hash is right, its ids are not."""
    one, other = library.filled(home, "one"), library.new(home, "other")
    for number in range(9):
        library.put(other, f"{number}.txt", [f"unrelated text {number}"])
    other.remove("3.txt")
    for collection in (one, other):
        Projection(collection).build(force=True)
    for path in one.folder.glob("vectors-*"):
        path.unlink()
    for path in other.folder.glob("vectors-*"):
        (one.folder / path.name).write_bytes(path.read_bytes())
    assert np.allclose(found(Projection(one), QUERIES, 3), exact(one, QUERIES, 3), atol=1e-6)


def test_filters_hold_for_old_and_new_passages(home):
    collection = library.filled(home)
    projection = Projection(collection)
    projection.build()
    library.put(collection, "more.txt", ["low-rank again"])
    only = collection.ids_of(["cats.txt", "more.txt"])
    ids = [chunk for chunk, _ in projection.search(QUERIES[:1], 10, only)[0]]
    assert sorted(ids) == sorted(only.tolist())


def test_searching_while_documents_come_and_go_gives_no_error_and_no_ghost(home):
    collection = library.filled(home)
    projection = Projection(collection)
    stop, errors = threading.Event(), []

    def search():
        try:
            while not stop.is_set():
                for row in projection.search(QUERIES, 5):
                    assert all(-1.01 <= score <= 1.01 for _, score in row)
        except BaseException as error:  # reported by the test's own thread
            errors.append(error)
        finally:
            collection.close()

    readers = [threading.Thread(target=search) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(25):
        library.put(collection, "moving.txt", [f"version {number}"])
        projection.build(force=True)
    stop.set()
    for reader in readers:
        reader.join()
    assert not errors


def test_a_generation_is_written_when_enough_has_changed(home, monkeypatch):
    monkeypatch.setattr("ragkit.projection._REBUILD_LEAST", 5)
    collection = library.filled(home)  # five passages
    projection, numbers = Projection(collection), []
    for name in ("a", "b", "c", "d", "a", "b", "c"):
        library.put(collection, name, [f"{name} {len(numbers)}", f"more of {name} {len(numbers)}"])
        projection.build()
        assert np.allclose(found(projection, QUERIES, 4), exact(collection, QUERIES, 4), atol=1e-6)
        (path,) = collection.folder.glob("vectors-*.json")
        numbers.append(json.loads(path.read_text())["generation"])
    # Written at first, when three new documents are there, when two were replaced.
    assert numbers == [1, 1, 1, 2, 2, 3, 3]


def test_what_is_gone_does_not_crowd_out_what_is_there(home):
    """All of the nearest passages have gone, many more of them than were asked for."""
    collection = library.filled(home)
    library.put(collection, "old.txt", [f"low-rank matrices version {number}" for number in range(300)])
    projection = Projection(collection)
    projection.build(force=True)
    collection.remove("old.txt")
    assert np.allclose(found(projection, QUERIES, 4), exact(collection, QUERIES, 4), atol=1e-6)


@pytest.mark.timeout(300)
def test_after_a_thousand_operations_search_equals_a_fresh_build(home, monkeypatch, tmp_path):
    monkeypatch.setattr("ragkit.projection._REBUILD_LEAST", 40)
    draw, collection, held = random.Random(3), library.new(home), {}
    projection, generations = Projection(collection), set()
    for number in range(1000):
        name = f"{draw.randrange(60)}.md"
        if name in held and draw.random() < 0.4:
            collection.remove(name)
            del held[name]
        else:
            held[name] = [f"{name} holds {draw.choice(TOPICS)} {draw.randrange(50)}" for _ in range(draw.randint(1, 6))]
            library.put(collection, name, held[name], content=f"{number}")
        if draw.random() < 0.2:
            projection.build()
            generations.update(path.name for path in collection.folder.glob("vectors-*.json"))
        if number % 50 == 0:
            assert np.allclose(found(projection, QUERIES, 5), exact(collection, QUERIES, 5), atol=1e-6)
    assert len(generations) > 5
    fresh = library.new(tmp_path / "fresh")
    for name, texts in held.items():
        library.put(fresh, name, texts)
    queries = EMBEDDER.embed([f"{topic} {number}" for topic in TOPICS for number in range(20)], "query")
    both = Projection(collection), Projection(fresh)
    assert np.allclose(found(both[0], queries, 10), found(both[1], queries, 10), atol=1e-6)
    for topic in TOPICS:
        texts = [
            sorted((-round(hit.score, 6), hit.text) for hit in each.hits(each.search_words(f"{topic} 7", 10_000)))
            for each in (collection, fresh)
        ]
        assert texts[0] == texts[1] != []
    assert list(verify.check(collection)) == []


_FULL_DISK = """
import resource, sys
from pathlib import Path
from ragkit.collection import Collection
from ragkit.projection import Projection
from tests.test_projection import QUERIES

resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))  # enough for SQLite, not for the index
projection = Projection(Collection.open(Path(sys.argv[1]), "notes"))
for _ in range(2):
    sys.stdout.write(str(projection.search(QUERIES[:1], 1)[0][0][1]) + "\\n")
"""


def test_where_the_index_finds_no_room_search_goes_on_without_its_file(home):
    collection = library.filled(home)
    library.put(collection, "long.txt", [f"matter {number}" for number in range(400)])
    done = subprocess.run(
        [sys.executable, "-c", _FULL_DISK, str(home)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert np.allclose([float(line) for line in done.stdout.split()], exact(collection, QUERIES[:1], 1), atol=1e-6)
    assert "could not be written" in done.stderr
    assert not list(collection.folder.glob("*vectors-*"))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from(["put", "remove", "build"])), max_size=25))
def test_after_any_history_search_equals_a_fresh_build(tmp_path_factory, history):
    collection = library.new(tmp_path_factory.mktemp("home"))
    projection = Projection(collection)
    for step, (name, what) in enumerate(history):
        there = {document.name for document in collection.documents()}
        if what == "put":
            library.put(collection, name, [f"{name} holds low-rank matter {step}", f"cat {step} of {name}"])
        elif what == "remove" and name in there:
            collection.remove(name)
        elif what == "build":
            projection.build(force=True)
    if collection.count():
        k = min(3, collection.count())
        assert np.allclose(found(projection, QUERIES, k), exact(collection, QUERIES, k), atol=1e-6)
    else:
        assert found(projection, QUERIES, 3) == [[], [], []]
    assert not [problem for problem in verify.check(collection) if problem.where != "projection"]


def test_the_index_is_chosen_by_size_unless_it_is_named():
    assert [index_for(n) for n in (1, 50_000, 50_001, 200_000, 200_001)] == [
        "flat",
        "flat",
        "rabitq",
        "rabitq",
        "ivf",
    ]
    assert index_for(3, "hnsw") == "hnsw"


def test_the_recall_of_an_index_is_measured_when_it_is_built_and_kept_with_it(home, monkeypatch):
    """An index that misses half of what it should find is told from one that misses little."""
    vectors = np.random.default_rng(0).normal(size=(400, EMBEDDER.fingerprint.dimension)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = np.arange(1, 401, dtype=np.int64)
    index = HNSWIndex.build(ids, vectors)
    assert projection._recall(index, ids, vectors) >= 0.9
    monkeypatch.setattr(HNSWIndex, "search", half_blind(HNSWIndex.search))
    assert 0.4 <= projection._recall(index, ids, vectors) <= 0.6
    monkeypatch.setattr(projection, "_recall", lambda *_: 0.25)
    collection = library.new(home, settings=replace(library.HASHING, index="hnsw"))
    library.put(collection, "a.txt", TOPICS)
    Projection(collection).build(force=True)
    (manifest,) = collection.folder.glob("vectors-*.json")
    assert json.loads(manifest.read_text())["recall"] == 0.25


def half_blind(search):
    def see_half(self, queries, k, only=None):
        scores, ids = search(self, queries, k, only)
        ids[:, ::2] = -1
        return scores, ids

    return see_half


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="shows mapped files on Linux alone")
def test_the_index_is_mapped_and_not_read_into_memory(home):
    collection = library.filled(home)
    projection = Projection(collection)
    projection.search(QUERIES, 2)
    (file,) = collection.folder.glob("vectors-*.faiss")
    assert str(file) in Path("/proc/self/maps").read_text()
