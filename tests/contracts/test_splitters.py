"""What every splitter keeps, counted with the tokenizer of the built-in embedding model."""

from __future__ import annotations

import inspect

import pytest
from tokenizers import Tokenizer

from ingest.catalog import SPLITTERS
from ragkit import models
from ragkit.settings import IngestSettings
from ragkit.types import Page

SETTINGS = IngestSettings()


@pytest.fixture(scope="module")
def count():
    tokenizer = Tokenizer.from_file(str(models.resolve("minilm", "embedder").path / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda texts: [len(encoded.ids) for encoded in tokenizer.encode_batch(list(texts))]


@pytest.fixture(params=SPLITTERS.names)
def splitter(request, count):
    return SPLITTERS.load(request.param)(count, SETTINGS.chunk_tokens, SETTINGS.overlap_tokens)


def check(splitter, count, page, size=SETTINGS.chunk_tokens):
    chunks = splitter.split(page)
    assert all(page.text[chunk.start : chunk.end] == chunk.text for chunk in chunks)
    assert max(count([chunk.embedded_text for chunk in chunks])) <= size
    covered = bytearray(len(page.text))
    for chunk in chunks:
        covered[chunk.start : chunk.end] = b"\1" * (chunk.end - chunk.start)
    assert all(covered[place] for place, char in enumerate(page.text) if not char.isspace())
    assert [chunk.start for chunk in chunks] == sorted(chunk.start for chunk in chunks)
    return chunks


@pytest.mark.parametrize("row", list(SPLITTERS), ids=lambda row: row.name)
def test_it_is_made_as_the_protocol_says(row):
    parameters = list(inspect.signature(SPLITTERS.load(row.name)).parameters)
    assert parameters == ["count_tokens", "chunk_tokens", "overlap_tokens"]


@pytest.mark.parametrize(
    "text",
    [
        "One short sentence.", "a" * 5000, "检索增强生成是一种方法。" * 300, "ข้อความภาษาไทย" * 300, "🙂 " * 900,
        "\n".join(f"| {number} | {number * 17} | cell |" for number in range(400)),
        "def f(x):\n    return x\n\n" * 200, "§ 1 (a) ii. " * 500, "https://example.org/" + "path/" * 900,
    ],
)  # fmt: skip
def test_any_kind_of_text_keeps_the_contract(splitter, count, text):
    check(splitter, count, Page(1, "1", text, "A title"))


def test_an_empty_page_has_no_chunks(splitter):
    assert splitter.split(Page(1, "1", "")) == []
    assert splitter.split(Page(1, "1", " \n\t")) == []


def test_long_headings_leave_room_for_the_text(splitter, count):
    text = f"# {'Very long heading ' * 60}\n\n## {'Another one ' * 60}\n\n{'Some text follows here. ' * 200}"
    chunks = check(splitter, count, Page(1, "1", text, "Title " * 100))
    assert len(chunks) < 30


@pytest.mark.data
def test_real_documents_keep_the_contract(splitter, count, data):
    for path in sorted((data / "docs-tree").rglob("*.md"))[::12]:
        chunks = check(splitter, count, Page(1, "1", path.read_text("utf-8")))
        tiny = sum(len(chunk.text) < 20 for chunk in chunks)
        assert tiny <= 0.1 * len(chunks) + 1
