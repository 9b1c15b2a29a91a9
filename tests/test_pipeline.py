"""Ingestion: what becomes of each file, what is published when, and what a bad file or a cancellation leaves."""

from __future__ import annotations

import itertools
import threading
import time

import numpy as np
import pytest

from ingest.cage import Cage
from ingest.events import Advanced, FileChanged, Planned
from ingest.pipeline import ingest
from ingest.reembed import reembed
from ragkit.collection import Collection
from ragkit.embed.hashing import HashingEmbedder
from ragkit.errors import Cancelled, CollectionError, EmbedderMismatch, SettingsError
from ragkit.projection import Projection
from ragkit.settings import IngestSettings
from tests.filemaker import MAKERS, make_zip, pdf_bytes

SETTINGS = IngestSettings(embedder="hashing", embedder_model="", chunk_tokens=60, overlap_tokens=10)


class Slow(HashingEmbedder):
    """Takes its time, as a real one does."""

    def embed(self, texts, kind="passage"):
        time.sleep(0.002 * len(texts))
        return super().embed(texts, kind)


class Waiting(HashingEmbedder):
    """Does nothing before it is told to."""

    def __init__(self, told):
        super().__init__()
        self._told = told

    def embed(self, texts, kind="passage"):
        self._told.wait(30)
        return super().embed(texts, kind)


@pytest.fixture
def collection(tmp_path):
    return Collection.open(tmp_path / "home", "c", create=True, settings=SETTINGS)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    return folder


def run(collection, *paths, **options):
    results = ingest(collection, paths, HashingEmbedder(), **options)
    return {result.file: result for result in results}


def states(results):
    return {name: result.state for name, result in results.items()}


def long_text(sentences):
    return " ".join(f"Sentence {number} speaks of topic {number % 7}." for number in range(sentences))


def test_every_kind_of_file_goes_in_and_can_be_found(collection, folder):
    for name, make in MAKERS.items():
        make(folder / f"{name}{'.md' if name == 'markdown' else '.txt' if name == 'text' else '.' + name}")
    results = run(collection, folder)
    assert set(states(results).values()) == {"added"}
    assert len(results) == len(MAKERS)
    documents = {document.name: document for document in collection.documents()}
    assert {document.kind for document in documents.values()} == set(MAKERS)
    for name, result in results.items():
        document = documents[name]
        assert (document.pages, document.chunks) == (result.pages, result.chunks)
        pages = {page.number: page.text for page in collection.pages(document.id)}
        assert len(pages) == document.pages
        for _, chunk in collection.chunks(document.id):
            assert pages[chunk.page][chunk.start : chunk.end] == chunk.text
    assert documents["docx.docx"].title == "A Word file"
    ids, vectors = collection.vectors()
    assert len(ids) == collection.count() == sum(result.chunks for result in results.values())
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    question = HashingEmbedder().embed(["brown fox river bank"])
    assert Projection(collection).search(question, 3)[0]


def test_vectors_belong_to_their_passages(collection, folder):
    """Passages are embedded sorted by length; each must still get its own vector."""
    for number in range(30):
        (folder / f"{number}.txt").write_text(long_text(5 + 7 * number))
    run(collection, folder)
    embedder = HashingEmbedder()
    for document in collection.documents():
        chunks = collection.chunks(document.id)
        stored = Projection(collection).vectors_of([number for number, _ in chunks])
        wanted = embedder.embed([chunk.embedded_text for _, chunk in chunks])
        assert np.allclose([stored[number] for number, _ in chunks], wanted)


def test_the_same_again_changes_nothing_and_other_bytes_replace(collection, folder):
    file = folder / "a.txt"
    file.write_text("One text about foxes.")
    (folder / "b.txt").write_text("Another text about dogs.")
    assert states(run(collection, folder)) == {"a.txt": "added", "b.txt": "added"}
    sequence = collection.sequence
    assert states(run(collection, folder)) == {"a.txt": "unchanged", "b.txt": "unchanged"}
    assert collection.sequence == sequence
    file.write_text("A new text about cats.")
    assert states(run(collection, folder)) == {"a.txt": "replaced", "b.txt": "unchanged"}
    assert [page.text for page in collection.pages(collection.document("a.txt").id)] == ["A new text about cats."]
    assert len(collection.documents()) == 2


def test_the_same_bytes_under_two_names_are_one_document(collection, folder):
    for name in ("a.txt", "b.txt"):
        (folder / name).write_text("Equal bytes here.")
    (folder / "c.pdf").write_bytes(b"")
    (folder / "d.pdf").write_bytes(b"")
    results = run(collection, folder)
    assert states(results) == {"a.txt": "added", "b.txt": "unchanged", "c.pdf": "refused", "d.pdf": "refused"}
    assert "'a.txt'" in results["b.txt"].reason
    assert results["d.pdf"].reason == results["c.pdf"].reason
    (folder / "e.txt").write_text("Other bytes.")
    run(collection, folder / "e.txt")
    (folder / "e.txt").write_text("Equal bytes here.")
    assert states(run(collection, folder / "e.txt")) == {"e.txt": "replaced"}
    assert [document.name for document in collection.documents()] == ["a.txt"]


def test_a_file_that_was_renamed_is_kept_when_another_takes_its_name(collection, folder):
    """Its bytes are in under the old name when it is looked at, and go as the new file is published."""
    (folder / "news.txt").write_text("The news of January.")
    run(collection, folder)
    (folder / "news.txt").rename(folder / "archived.txt")
    (folder / "news.txt").write_text("The news of February.")
    assert states(run(collection, folder)) == {"archived.txt": "added", "news.txt": "replaced"}
    assert [document.name for document in collection.documents()] == ["archived.txt", "news.txt"]
    assert states(run(collection, folder)) == {"archived.txt": "unchanged", "news.txt": "unchanged"}


def test_small_files_go_in_together(collection, folder):
    """Each transaction waits for the disk."""
    for number in range(40):
        (folder / f"{number}.txt").write_text(f"A note with number {number}.")
    read = threading.Event()

    def listen(event):
        if isinstance(event, FileChanged) and event.file.file == "9.txt" and event.file.pages:  # the last by name
            read.set()

    results = ingest(collection, [folder], Waiting(read), listen=listen)
    assert [each.state for each in results] == ["added"] * 40
    assert collection.sequence <= 3
    assert len(collection.documents()) == 40


def test_a_file_that_cannot_be_stored_does_not_hold_up_those_it_would_go_in_with(collection, folder):
    for name in "abc":
        (folder / f"{name}.pdf").write_bytes(pdf_bytes([f"Page of {name}"]))
    read = threading.Event()

    def listen(event):
        if isinstance(event, FileChanged) and event.file.file == "c.pdf" and event.file.pages:
            (folder / "b.pdf").unlink(missing_ok=True)
            read.set()

    results = {each.file: each for each in ingest(collection, [folder], Waiting(read), listen=listen)}
    assert states(results) == {"a.pdf": "added", "b.pdf": "refused", "c.pdf": "added"}
    assert "could not be stored" in results["b.pdf"].reason
    assert [document.name for document in collection.documents()] == ["a.pdf", "c.pdf"]


def test_the_same_bytes_again_hold_up_nothing_and_share_the_fate_of_the_first(collection, folder):
    (folder / "a.txt").write_text("The cat sleeps on the mat.")
    (folder / "b.txt").write_text("The cat sleeps on the mat.")
    (folder / "c.pdf").write_bytes(b"%PDF-1.7 broken")
    (folder / "d.pdf").write_bytes(b"%PDF-1.7 broken")
    (folder / "e.txt").write_text("A dog barks.")
    read = threading.Event()
    seen = []

    def listen(event):
        if isinstance(event, FileChanged):
            seen.append((event.file.file, event.file.state))
            if event.file.file == "e.txt" and event.file.pages:
                read.set()

    results = {each.file: each for each in ingest(collection, [folder], Waiting(read), listen=listen)}
    assert read.is_set()
    assert states(results) == {
        "a.txt": "added", "b.txt": "unchanged", "c.pdf": "refused", "d.pdf": "refused", "e.txt": "added"
    }  # fmt: skip
    assert "as 'a.txt'" in results["b.txt"].reason
    assert results["d.pdf"].reason == results["c.pdf"].reason != ""
    assert seen.index(("e.txt", "reading")) < seen.index(("b.txt", "unchanged"))


def test_a_bad_file_stops_nothing(collection, folder):
    (folder / "a.txt").write_text("Good text.")
    (folder / "b.pdf").write_bytes(b"%PDF-1.7 broken")
    (folder / "c.bin").write_bytes(bytes(range(256)) * 20)
    (folder / "d.txt").write_text("Good text too.")
    results = run(collection, folder, folder / "missing.txt")
    assert states(results) == {
        "a.txt": "added", "b.pdf": "refused", "c.bin": "refused", "d.txt": "added", "missing.txt": "refused"
    }  # fmt: skip
    assert "damaged" in results["b.pdf"].reason
    assert "no such file" in results["missing.txt"].reason
    assert len(collection.documents()) == 2


def test_a_file_that_fails_half_way_leaves_nothing(collection, folder):
    lines = "".join(f'{{"_id": "{number}", "text": "{long_text(30)}"}}\n' for number in range(60))
    (folder / "a.jsonl").write_text(lines + "{broken\n")
    (folder / "b.txt").write_text("Good text.")
    results = run(collection, folder)
    assert states(results) == {"a.jsonl": "refused", "b.txt": "added"}
    assert "Line 61" in results["a.jsonl"].reason
    assert [document.name for document in collection.documents()] == ["b.txt"]
    assert collection.count() == 1


def test_records_are_pages_with_their_ids_and_titles(collection, folder):
    (folder / "r.jsonl").write_text(
        '{"_id": "q7", "title": "Foxes", "text": "They run."}\n{"id": 8, "text": "Dogs."}\n'
    )
    run(collection, folder)
    document = collection.document("r.jsonl")
    pages = list(collection.pages(document.id))
    assert [(page.number, page.label, page.title, page.text) for page in pages] == [
        (1, "q7", "Foxes", "They run."), (2, "8", "", "Dogs.")
    ]  # fmt: skip
    assert [chunk.embedded_text for _, chunk in collection.chunks(document.id)] == ["Foxes\nThey run.", "Dogs."]


def test_originals_are_kept_for_pdf_alone(collection, folder):
    data = pdf_bytes(["Page one text.", "Page two text."])
    (folder / "a.pdf").write_bytes(data)
    (folder / "b.txt").write_text("Text.")
    run(collection, folder)
    kept = collection.original(collection.document("a.pdf"))
    assert kept is not None
    assert kept.read_bytes() == data
    assert collection.original(collection.document("b.txt")) is None


def test_events_tell_the_story(collection, folder):
    (folder / "a.txt").write_text(long_text(200))
    (folder / "b.pdf").write_bytes(b"")
    events = []
    run(collection, folder, listen=events.append)
    assert events[0] == Planned(("a.txt", "b.pdf"))
    files = [event.file for event in events if isinstance(event, FileChanged)]
    assert [file.state for file in files if file.file == "a.txt"][0] == "reading"
    assert [file.state for file in files if file.file == "a.txt"][-1] == "added"
    shares = [event.progress.share for event in events if isinstance(event, Advanced)]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    last = events[-1].progress
    assert (last.files, last.total, last.chunks) == (2, 2, collection.count())


def test_progress_of_one_long_file_moves(collection, folder):
    (folder / "a.txt").write_text("\f".join(long_text(100) for _ in range(60)))
    shares = []
    ingest(collection, [folder], Slow(), listen=lambda event: shares.append(event.progress.share)
           if isinstance(event, Advanced) else None)  # fmt: skip
    assert len({round(share, 2) for share in shares}) > 3


def test_stopping_keeps_what_is_in_and_loses_nothing(collection, folder):
    for number in range(60):
        (folder / f"{number:02}.txt").write_text(long_text(100 + number))
    stop = threading.Event()

    def listen(event):
        if isinstance(event, FileChanged) and event.file.state == "added":
            stop.set()

    results = ingest(collection, [folder], Slow(), listen=listen, should_stop=stop.is_set)
    assert 0 < len(results) < 60
    assert {result.file for result in results} == {document.name for document in collection.documents()}
    again = run(collection, folder)
    assert len(collection.documents()) == 60
    assert sum(result.state == "unchanged" for result in again.values()) == len(results)


def test_stopping_in_the_middle_of_a_document_publishes_nothing_of_it(collection, folder):
    (folder / "long.md").write_text(long_text(20_000))
    asked = itertools.count()
    assert ingest(collection, [folder], Slow(), should_stop=lambda: next(asked) > 20) == []
    assert collection.documents() == []
    assert collection.count() == 0


def test_a_file_over_the_limits_is_refused_and_the_next_one_read(collection, folder):
    (folder / "a.txt").write_text("\f".join(["x" * 1000] * 20_000))
    (folder / "b.txt").write_text("Good text.")
    cage = Cage(seconds=0.0, seconds_per_mb=0.0)
    results = run(collection, folder / "a.txt", cage=cage)
    assert "took longer than" in results["a.txt"].reason
    assert states(run(collection, folder / "b.txt")) == {"b.txt": "added"}


def test_memory_is_limited(collection, folder):
    space = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    body = "".join(f"<w:p><w:r><w:t>Paragraph {number}</w:t></w:r></w:p>" for number in range(300_000))
    document = f'<w:document xmlns:w="{space}"><w:body>{body}</w:body></w:document>'
    make_zip(folder / "a.docx", {"word/document.xml": document})
    (folder / "b.txt").write_text("Good text.")
    results = run(collection, folder, cage=Cage(memory=150 << 20))
    assert "memory" in results["a.docx"].reason
    assert results["b.txt"].state == "added"


def test_another_embedder_is_refused_before_anything_is_read(collection, folder):
    (folder / "a.txt").write_text("Text.")
    run(collection, folder)
    with pytest.raises(EmbedderMismatch, match="reembed"):
        ingest(collection, [folder], HashingEmbedder(max_tokens=128))


def test_passages_longer_than_the_embedder_reads_are_refused(collection, folder):
    with pytest.raises(SettingsError, match="60 tokens are longer than the 40"):
        ingest(collection, [folder], HashingEmbedder(max_tokens=40))


def test_reembedding_swaps_everything_at_once(collection, folder):
    for number in range(5):
        (folder / f"{number}.txt").write_text(long_text(40 + number))
    run(collection, folder)
    pages = {document.name: list(collection.pages(document.id)) for document in collection.documents()}
    settings = IngestSettings("sentences", 30, 0, "hashing", "")
    embedder = HashingEmbedder(max_tokens=64)
    counts = []

    def listen(event):
        counts.append(collection.count())

    before = collection.count()
    results = reembed(collection, settings, embedder, listen=listen)
    assert set(counts[:-6]) == {before}
    assert collection.count() == sum(result.chunks for result in results) > before
    assert collection.settings == settings
    assert collection.fingerprint == embedder.fingerprint
    assert pages == {document.name: list(collection.pages(document.id)) for document in collection.documents()}
    assert Projection(collection).search(embedder.embed(["topic 3"]), 2)[0]


def test_reembedding_that_is_stopped_or_overtaken_changes_nothing(collection, folder):
    (folder / "a.txt").write_text(long_text(400))
    run(collection, folder)
    before = (collection.count(), collection.settings, collection.sequence)
    settings = IngestSettings("fixed", 30, 0, "hashing", "")
    asked = itertools.count()
    with pytest.raises(Cancelled):
        reembed(collection, settings, Slow(), should_stop=lambda: next(asked) > 0)
    assert before == (collection.count(), collection.settings, collection.sequence)
    (folder / "b.txt").write_text("Late text.")

    def late(event):
        run(collection, folder / "b.txt")

    with pytest.raises(CollectionError, match="came or went"):
        reembed(collection, settings, HashingEmbedder(), listen=late)
    assert collection.settings == SETTINGS
    assert len(collection.documents()) == 2
