"""`verify` finds what is wrong, `repair` mends what the database allows."""

import pytest

from ragkit import verify
from ragkit.projection import Projection
from tests import library


@pytest.fixture
def collection(home):
    collection = library.filled(home)
    Projection(collection).build()
    return collection


def test_a_sound_collection_has_no_problem(collection):
    assert list(verify.check(collection)) == []


DAMAGE = {
    "pages without a document": ("PRAGMA foreign_keys=OFF", "INSERT INTO pages VALUES (99, 1, '1', '', 'x')"),
    "passages without a document": (
        "PRAGMA foreign_keys=OFF",
        "INSERT INTO chunks (document, page, start, stop, text, context) VALUES (99, 1, 0, 1, 'x', '')",
    ),
    "vectors without a passage": ("PRAGMA foreign_keys=OFF", "INSERT INTO vectors VALUES (9999, zeroblob(1024))"),
    "full-text index differs": ("INSERT INTO chunks_fts (chunks_fts) VALUES ('delete-all')",),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_repair_mends_what_the_truth_allows(collection, what):
    for statement in DAMAGE[what]:
        collection.connection.execute(statement)
    problems = list(verify.check(collection))
    assert any(what in problem.what and problem.repairable for problem in problems)
    verify.repair(collection)
    assert list(verify.check(collection)) == []


LOSS = {
    "without a vector": "DELETE FROM vectors WHERE chunk = (SELECT min(chunk) FROM vectors)",
    "not the text of their page": "UPDATE pages SET text = 'altered' WHERE number = 2",
    "page count is off": "UPDATE documents SET pages = 7 WHERE id = 1",
    "passage count is off": "UPDATE documents SET chunks = 7 WHERE id = 1",
    "stand twice": "INSERT INTO chunks (document, page, start, stop, text, context)"
    " SELECT document, page, start, stop, text, context FROM chunks WHERE id = 1",
    "another length": "UPDATE vectors SET vector = x'00' WHERE chunk = 1",
}


@pytest.mark.parametrize("what", LOSS)
def test_what_is_lost_is_said_and_not_hidden_by_a_repair(collection, what):
    collection.connection.execute(LOSS[what])
    assert any(what in problem.what and not problem.repairable for problem in verify.check(collection))


def test_files_nobody_owns_are_found_and_removed(collection):
    (collection.folder / "files").mkdir()
    (collection.folder / "files" / f"{'0' * 64}.pdf").write_bytes(b"x")
    (collection.folder / "files" / f".{'0' * 64}.pdf.1.tmp").write_bytes(b"x")
    (collection.folder / ".vectors-1.faiss.1.tmp").write_bytes(b"x")
    assert len([problem for problem in verify.check(collection) if problem.where == "files"]) == 3
    verify.repair(collection)
    assert list(verify.check(collection)) == []
