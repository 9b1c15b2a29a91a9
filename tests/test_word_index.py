"""The word index as a projection of the database: in step, rebuilt when damaged, out of the way when it cannot be."""

import json
import random
import shutil
import tracemalloc

import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st

from ragkit import verify, word_index
from ragkit.word_index import WordIndex
from tests import library

TOPICS = ["rank", "cat", "attention", "garden", "tide", "matrix", "mat"]


@pytest.fixture(autouse=True)
def _large(monkeypatch):
    monkeypatch.setattr(word_index, "FTS5_UP_TO", 0)


def unsound(collection):
    """What `ragkit verify` says of the word index."""
    return [problem for problem in verify.check(collection) if problem.where == "words"]


def names(collection, index, question, k=10, documents=None):
    """Documents of the passages found, and each passage's text."""
    return [(hit.document, hit.text) for hit in collection.hits(index.search(question, k, documents))]


def by_database(collection, question, k=10):
    return [(hit.document, hit.text) for hit in collection.hits(collection.search_words(question, k))]


def test_it_finds_what_the_database_finds(home):
    collection = library.filled(home)
    index = WordIndex(collection)
    for question in ("Which low-rank matrices does LoRA learn?", "cats on mats", "Who barks at night?", "zebra", "the"):
        assert sorted(names(collection, index, question)) == sorted(by_database(collection, question))
    assert (collection.folder / "words.json").is_file()


def test_words_are_stemmed_and_accents_and_case_do_not_count(home):
    collection = library.new(home)
    library.put(collection, "a.txt", ["The cafés were FINETUNING their résumés."])
    index = WordIndex(collection)
    for question in ("cafe", "Café", "finetune", "resume"):
        assert names(collection, index, question), question


def test_a_question_without_words_finds_nothing(home):
    collection = library.filled(home)
    assert WordIndex(collection).search("?! \0", 5) == []


def test_changes_reach_every_reader_without_being_told(home):
    collection = library.filled(home)
    first, second = WordIndex(collection), WordIndex(collection)
    assert not first.search("zebra", 3)
    assert not second.search("zebra", 3)
    library.put(collection, "more.txt", ["A zebra has stripes."])
    assert names(collection, first, "zebra") == [("more.txt", "A zebra has stripes.")]
    library.put(collection, "more.txt", ["No stripes here."], content="its next version")
    assert not second.search("zebra", 3)
    collection.remove("more.txt")
    assert not first.search("stripes", 3)


def test_a_search_is_restricted_to_documents(home):
    collection = library.filled(home)
    index = WordIndex(collection)
    everywhere = index.search("low-rank key mat", 10)
    there = index.search("low-rank key mat", 10, ["prefix.md"])
    assert {hit.document for hit in collection.hits(everywhere)} == {"lora.md", "prefix.md", "cats.txt"}
    assert {hit.document for hit in collection.hits(there)} == {"prefix.md"}
    assert dict(everywhere)[there[0][0]] == pytest.approx(there[0][1])


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete", "no manifest", "bad manifest", "cut off", "gone"])
def test_damaged_files_are_made_again(home, damage):
    collection = library.filled(home)
    WordIndex(collection).build()
    folder, manifest = collection.folder / "words", collection.folder / "words.json"
    segment = max(folder.glob("*.idx"), key=lambda path: path.stat().st_size)
    data = segment.read_bytes()
    if damage == "flip":
        segment.write_bytes(data[:20] + bytes([data[20] ^ 4]) + data[21:])
    elif damage == "truncate":
        segment.write_bytes(data[:-7])
    elif damage == "delete":
        segment.unlink()
    elif damage == "no manifest":
        manifest.unlink()
    elif damage == "bad manifest":
        manifest.write_text("{")
    elif damage == "cut off":  # files have moved on, the manifest has not
        kept = json.loads(manifest.read_text())
        library.put(collection, "more.txt", ["A zebra has stripes."])
        WordIndex(collection).build()
        manifest.write_text(json.dumps(kept))
    else:
        shutil.rmtree(folder)
    assert unsound(collection)
    assert names(collection, WordIndex(collection), "barks at night") == by_database(collection, "barks at night")
    assert not unsound(collection)


def test_repair_makes_it_again(home):
    collection = library.filled(home)
    WordIndex(collection).build()
    (collection.folder / "words.json").unlink()
    verify.repair(collection)
    assert not unsound(collection)


def test_the_database_answers_while_another_process_writes(home, monkeypatch):
    monkeypatch.setattr(word_index, "_WAIT", 0.05)
    collection = library.filled(home)
    with FileLock(collection.folder / ".words.lock"):
        assert names(collection, WordIndex(collection), "barks") == by_database(collection, "barks")


def test_the_database_answers_where_nothing_can_be_written(home):
    collection = library.filled(home)
    (collection.folder / "words").write_text("in the way")
    assert names(collection, WordIndex(collection), "barks") == by_database(collection, "barks")


def test_a_collection_that_has_become_small_keeps_no_files(home, monkeypatch):
    collection = library.filled(home)
    WordIndex(collection).build()
    monkeypatch.setattr(word_index, "FTS5_UP_TO", 1000)
    WordIndex(collection).build()
    assert not (collection.folder / "words").exists()
    assert not unsound(collection)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["put", "remove", "build", "search"]), st.integers(0, 3)), max_size=12))
def test_any_history_ends_with_what_the_database_holds(tmp_path_factory, history):
    collection = library.new(tmp_path_factory.mktemp("home"))
    draw, index = random.Random(0), WordIndex(collection)
    there = set()
    for number, (what, which) in enumerate(history):
        name = f"{which}.txt"
        if what == "put":
            words = draw.choices(TOPICS, k=4)
            library.put(collection, name, [f"{' '.join(words)} number{number}."])
            there.add(name)
        elif what == "remove" and name in there:
            collection.remove(name)
            there.discard(name)
        elif what == "build":
            index.build()
        elif what == "search":
            index.search("cat", 3)
    assert {chunk for topic in TOPICS for chunk, _ in index.search(topic, 99)} <= set(collection.ids().tolist())
    for topic in TOPICS:
        assert sorted(names(collection, index, topic)) == sorted(by_database(collection, topic))


def test_a_long_document_is_indexed_a_passage_at_a_time(home):
    text = "A passage of a long document, as long as passages are. " * 20
    collection = library.new(home)
    library.put(collection, "long.txt", [f"{number} {text}" for number in range(2000)])
    tracemalloc.start()
    try:
        WordIndex(collection).build(force=True)
        assert tracemalloc.get_traced_memory()[1] < 2000 * len(text) / 4
    finally:
        tracemalloc.stop()
