"""Which adapter is the default: the stack of promotions, and databases made before there was one."""

from __future__ import annotations

import sqlite3
import threading

import pytest

from ragkit import schema
from ragkit.collection import Collection
from ragkit.errors import CollectionError
from ragkit.promotions import Promotions
from ragkit.sets import Sets
from ragkit.types import Question
from ragkit.votes import Votes
from tests.library import FIELD, filled, new

BASE, OTHER = "smollm2-135m", "smollm2-360m"


@pytest.fixture
def promotions(tmp_path):
    return Promotions(new(tmp_path))


def add(promotions, name, base=BASE, task="generate"):
    return promotions.add(task, name, f"hash of {name}", base, "grounded", 7, {"rows": [{"metric": "f1"}]})


def names(found):
    return [each.adapter for each in found]


def test_nothing_is_the_default_at_first(promotions):
    assert promotions.current("generate", BASE) is None
    assert promotions.history() == []
    assert promotions.roll_back("generate", BASE) is None


def test_what_was_promoted_last_is_the_default_and_comes_back_as_it_was(promotions, tmp_path):
    add(promotions, "one")
    added = add(promotions, "two")
    assert promotions.current("generate", BASE) == added
    assert (added.sha256, added.template, added.run, added.state) == ("hash of two", "grounded", 7, "promoted")
    assert added.gate == {"rows": [{"metric": "f1"}]}
    again = Promotions(Collection.open(tmp_path, "notes"))
    assert again.current("generate", BASE) == added


def test_rolling_back_uncovers_one_step_at_a_time(promotions):
    add(promotions, "one"), add(promotions, "two"), add(promotions, "three")
    assert promotions.roll_back("generate", BASE).adapter == "three"
    assert promotions.current("generate", BASE).adapter == "two"
    add(promotions, "four")
    assert names(promotions.standing("generate", BASE)) == ["four", "two", "one"]
    assert promotions.roll_back("generate", BASE).state == "rolled back"
    assert promotions.roll_back("generate", BASE).adapter == "two"
    assert promotions.roll_back("generate", BASE).adapter == "one"
    assert promotions.current("generate", BASE) is None
    assert [(each.adapter, each.state) for each in promotions.history()] == [
        (name, "rolled back") for name in ("four", "three", "two", "one")
    ]
    assert all(each.rolled_back for each in promotions.history())


def test_each_base_and_each_task_has_a_default_of_its_own(promotions):
    add(promotions, "small"), add(promotions, "large", OTHER), add(promotions, "quotes", "minilm", "extract")
    assert promotions.current("generate", BASE).adapter == "small"
    assert promotions.current("generate", OTHER).adapter == "large"
    assert promotions.current("generate", "minilm") is None
    assert promotions.current("extract").adapter == "quotes"
    promotions.roll_back("generate", OTHER)
    assert promotions.current("generate", BASE).adapter == "small"
    assert promotions.roll_back("extract").adapter == "quotes"


def age(path, *tables):
    """Make a database what an earlier version would have left: format 1, without these tables."""
    connection = sqlite3.connect(path)
    for table in tables:
        connection.execute(f"DROP TABLE {table}")
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()


def state(path):
    connection = sqlite3.connect(path)
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    connection.close()
    return version, tables


LAB = ("votes", "grades", "run_answers", "runs", "outcomes", "set_versions", "questions")


@pytest.mark.parametrize("lacking", [(), LAB], ids=["with the lab", "before the lab"])
def test_a_database_of_the_first_format_gets_what_it_lacks_and_loses_nothing(tmp_path, lacking):
    collection = filled(tmp_path)
    if not lacking:
        Sets(collection).put("kept", [Question("a", "Where does the cat sleep?", ("on the mat",))])
    collection.close()
    age(collection.path, "promotions", *lacking)
    opened = Collection.open(tmp_path, "notes")
    assert state(collection.path)[0] == schema.FORMAT == 2
    assert {document.name for document in opened.documents()} == set(FIELD)
    assert opened.count() == sum(map(len, FIELD.values()))
    assert opened.search_words("cat", 1)
    assert [each.name for each in Sets(opened).list()] == ([] if lacking else ["kept"])
    assert Votes(opened).list() == []
    add(Promotions(opened), "one")
    opened.close()
    assert Promotions(Collection.open(tmp_path, "notes")).current("generate", BASE).adapter == "one"


def test_a_migration_that_fails_halfway_changes_nothing(tmp_path):
    collection = filled(tmp_path)
    collection.close()
    age(collection.path, "promotions", "votes", "outcomes")
    connection = sqlite3.connect(collection.path)
    connection.execute("CREATE TABLE votes (something TEXT)")  # its index cannot be made
    connection.commit()
    connection.close()
    before = state(collection.path)
    opened = schema.connect(collection.path)
    with pytest.raises(CollectionError, match="not a readable ragkit database"):
        schema.prepare(opened, collection.path)
    assert state(collection.path) == before
    connection = sqlite3.connect(collection.path, timeout=0.1)
    connection.execute("BEGIN IMMEDIATE")  # the one that failed, still open, holds no lock
    connection.close()
    opened.close()


def test_two_that_open_an_old_database_at_once_both_find_it_migrated(tmp_path):
    collection = filled(tmp_path)
    collection.close()
    age(collection.path, "promotions", *LAB)
    found, start = [], threading.Barrier(4)

    def open_it():
        start.wait()
        opened = Collection.open(tmp_path, "notes")
        found.append((Promotions(opened).history(), opened.count()))
        opened.close()

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [([], 5)] * 4
