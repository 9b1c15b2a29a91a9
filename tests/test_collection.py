"""The collection: identity, replacement, deletion, search by words, and what happens when things go wrong."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from ragkit.catalog import EMBEDDERS
from ragkit.collection import Collection
from ragkit.errors import CollectionError, EmbedderMismatch, SettingsError
from ragkit.types import Chunk, Demonstration, Fingerprint, Page
from tests import library


def texts(collection):
    return {document.name: [page.text for page in collection.pages(document.id)] for document in collection.documents()}


def test_documents_pages_and_chunks_come_back_as_they_were_put(home):
    collection = library.filled(home)
    assert texts(collection) == {name: library.FIELD[name] for name in sorted(library.FIELD)}
    lora = collection.document("lora.md")
    assert (lora.pages, lora.chunks, lora.kind) == (2, 2, "text")
    for _, chunk in collection.chunks(lora.id):
        page = collection.page(lora.id, chunk.page)
        assert page.text[chunk.start : chunk.end] == chunk.text
        assert chunk.headings == ("lora.md",)
    assert collection.count() == 5
    assert [chunk.page for _, chunk in collection.chunks(lora.id, page=2)] == [2]


def test_other_bytes_under_the_same_name_replace_the_document_everywhere(home):
    collection = library.filled(home)
    before = collection.sequence
    assert library.put(collection, "cats.txt", ["A parrot talks."]) == "replaced"
    assert texts(collection)["cats.txt"] == ["A parrot talks."]
    assert collection.sequence > before
    assert not collection.search_words("sleeps mat", 5)
    assert collection.search_words("parrot", 5)
    assert len(collection.ids()) == collection.count() == 4


def test_removing_takes_pages_words_and_vectors_along(home):
    collection = library.filled(home)
    gone = set(collection.ids_of(["lora.md"]).tolist())
    collection.remove("lora.md")
    assert "lora.md" not in texts(collection)
    assert not gone & set(collection.ids().tolist())
    assert not collection.search_words("low-rank", 5)
    assert collection.words_damage() == ""
    with pytest.raises(CollectionError, match=r"no document 'lora\.md'"):
        collection.remove("lora.md")


def test_chunk_ids_are_never_used_twice(home):
    collection = library.filled(home)
    last = int(collection.ids()[-1])
    collection.remove("cats.txt")
    library.put(collection, "new.txt", ["something new"])
    assert int(collection.ids()[-1]) > last


def test_a_staged_document_is_invisible_until_it_is_published(home):
    collection = library.filled(home)
    with collection.writer() as writer:
        token = writer.begin("half.txt", "0" * 64, "text", "half", 1)
        writer.add_page(token, Page(1, "1", "half a document"))
        assert "half.txt" not in texts(collection)
    assert "half.txt" not in texts(collection)


def test_search_by_words_stems_and_is_filtered_by_document(home):
    collection = library.filled(home)
    names = [hit.document for hit in collection.hits(collection.search_words("merging an update", 5))]
    assert names == ["lora.md"]
    assert not collection.search_words("merging an update", 5, ["cats.txt"])


@pytest.mark.parametrize("question", ['"', "AND OR NOT", "(", "a* NEAR(b)", "col:umn", "\0", "   ", "-x ^y", "…?!"])
def test_no_question_breaks_the_query_language(home, question):
    library.filled(home).search_words(question, 5)


def test_hits_carry_place_and_rank_and_leave_out_what_is_gone(home):
    collection = library.filled(home)
    ids = collection.ids().tolist()
    hits = collection.hits([(ids[1], 0.9), (10_000, 0.8), (ids[0], 0.7)], {ids[1]: 0.5})
    assert [(hit.rank, hit.chunk, hit.similarity) for hit in hits] == [(1, ids[1], 0.5), (2, ids[0], None)]


def test_another_embedder_is_refused_with_both_fingerprints_and_the_way_out(home):
    collection = library.filled(home)
    other = Fingerprint("other", "abc", 12, 100)
    with pytest.raises(EmbedderMismatch, match=r"hashing \(256 .*other \(12 .*ragkit reembed --collection notes"):
        collection.check_embedder(other)


def test_a_writer_refuses_vectors_of_another_embedder(home):
    collection = library.filled(home)
    with collection.writer() as writer:
        token = writer.begin("x", "1" * 64, "text", "x", 1)
        with pytest.raises(CollectionError, match="re-embedded"):
            writer.publish([token], Fingerprint("other", "abc", 12, 100))
    assert "x" not in texts(collection)


def test_a_missing_collection_names_those_that_are_there(home):
    library.filled(home)
    with pytest.raises(CollectionError, match="There are: notes"):
        Collection.open(home, "nots")


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a b", "x" * 65, "ä", ".hidden"])
def test_names_that_could_leave_the_home_are_refused(home, name):
    with pytest.raises(SettingsError, match="cannot name a collection"):
        Collection.open(home, name, create=True)


def test_a_damaged_database_is_refused_in_one_sentence(home):
    path = library.filled(home).path
    path.with_name("library.sqlite-wal").unlink(missing_ok=True)
    path.write_bytes(b"not a database " * 100)
    with pytest.raises(CollectionError, match="cannot be opened|not a readable"):
        Collection.open(home, "notes")


def test_a_newer_format_is_refused_and_not_touched(home):
    collection = library.filled(home)
    collection.connection.execute("PRAGMA user_version = 99")
    with pytest.raises(CollectionError, match="newer ragkit"):
        Collection.open(home, "notes")


def test_the_kept_original_follows_its_document(home, tmp_path):
    collection = library.filled(home)
    source = tmp_path / "paper.pdf"
    source.write_bytes(b"%PDF-1.4 something")
    embedder_print = collection.fingerprint
    with collection.writer() as writer:
        token = writer.begin("paper.pdf", "2" * 64, "pdf", "paper", 5, original=source)
        writer.add_page(token, Page(1, "1", "text"))
        writer.publish([token], embedder_print)
    document = collection.document("paper.pdf")
    assert collection.original(document).read_bytes() == source.read_bytes()
    collection.remove("paper.pdf")
    assert not list((collection.folder / "files").iterdir())


def test_the_bank_takes_each_example_once(home):
    collection = library.new(home)
    example = Demonstration("What is LoRA?", "A low-rank update.")
    assert collection.add_demonstrations([example, example]) == 1
    assert collection.demonstrations() == [example]
    collection.clear_demonstrations()
    assert collection.demonstrations() == []


def test_interleaved_staging_keeps_documents_apart(home):
    collection = library.filled(home)
    vectors = collection.vectors()[1][:1]
    with collection.writer() as writer:
        tokens = [writer.begin(name, name * 64, "text", name, 1) for name in "ab"]
        for number in (1, 2):
            for token, name in zip(tokens, "ab", strict=True):
                text = f"{name}{number}"
                writer.add_page(token, Page(number, str(number), text))
                writer.add_chunks(token, [Chunk(number, 0, 2, text)], vectors)
        for token in tokens:
            writer.publish([token], collection.fingerprint)
    assert texts(collection)["a"] == ["a1", "a2"]
    assert [chunk.text for _, chunk in collection.chunks(collection.document("b").id)] == ["b1", "b2"]


def test_readers_see_whole_documents_while_a_writer_works(home):
    """Readers in threads of their own never meet a document whose chunks are not all there."""
    collection = library.filled(home)
    stop = threading.Event()
    wrong = []

    def read():
        while not stop.is_set():
            for document in collection.documents():
                chunks = len(collection.chunks(document.id))
                if chunks not in (0, document.chunks):  # 0: replaced between the two reads
                    wrong.append((document.name, chunks, document.chunks))
        collection.close()

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(30):
        library.put(collection, "moving.txt", [f"version {number} page {page}" for page in range(number % 4 + 1)])
    stop.set()
    for reader in readers:
        reader.join()
    assert not wrong


_ENDLESS = """
import sys
from pathlib import Path
from tests import library
collection = library.new(Path(sys.argv[1]))
for number in range(10_000):
    library.put(collection, f"{number}.txt", [f"document {number} page {page}" for page in range(3)])
    print(number, flush=True)
"""


def test_kill_dash_nine_loses_nothing_that_was_reported(home):
    for wait in (0.02, 0.1, 0.25):
        process = subprocess.Popen(
            [sys.executable, "-c", _ENDLESS, str(home)], stdout=subprocess.PIPE, text=True, cwd=os.getcwd()
        )
        reported = [process.stdout.readline()]
        deadline = time.monotonic() + wait
        while time.monotonic() < deadline:
            reported.append(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        reported += process.stdout.readlines()
        process.wait()
        collection = Collection.open(home, "notes")
        there = {document.name: document for document in collection.documents()}
        for line in filter(str.strip, reported):
            assert len(collection.chunks(there[f"{line.strip()}.txt"].id)) == 3
        assert collection.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert collection.words_damage() == ""


def test_a_full_disk_leaves_the_collection_as_it_was(home):
    collection = library.filled(home)
    before = texts(collection)
    with collection.writer() as writer:
        writer._connection.execute(
            f"PRAGMA max_page_count = {writer._connection.execute('PRAGMA page_count').fetchone()[0]}"
        )
        token = writer.begin("big.txt", "3" * 64, "text", "big", 1)
        writer.add_page(token, Page(1, "1", "x" * 1_000_000))
        with pytest.raises(sqlite3.OperationalError, match="full"):
            writer.publish([token], collection.fingerprint)
    assert texts(collection) == before
    assert library.put(collection, "small.txt", ["fits"]) == "added"


def test_a_long_document_that_is_discarded_leaves_nothing_staged_and_its_neighbour_whole(home):
    collection = library.new(home)
    embedder = EMBEDDERS.load("hashing")()
    vector = embedder.embed(["The cat sleeps."])
    with collection.writer() as writer:
        tokens = [writer.begin(name, name * 64, "text", name, 1) for name in "ab"]
        for token, count in zip(tokens, (2500, 2), strict=True):
            writer.add_page(token, Page(1, "1", "The cat sleeps."))
            writer.add_chunks(token, [Chunk(1, 0, 15, "The cat sleeps.")] * count, np.repeat(vector, count, axis=0))
        writer.discard(tokens[0])
        left = [writer._connection.execute(f"SELECT count(*) FROM staged_{kind}").fetchone()[0]
                for kind in ("documents", "pages", "chunks")]  # fmt: skip
        assert left == [1, 1, 2]
        writer.publish(tokens[1:], embedder.fingerprint)
    assert [(document.name, document.chunks) for document in collection.documents()] == [("b", 2)]
