"""Small collections for tests: documents written straight into the database, without files or models."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from ragkit.catalog import EMBEDDERS
from ragkit.collection import Collection
from ragkit.settings import IngestSettings
from ragkit.types import Chunk, Page

HASHING = IngestSettings(embedder="hashing", embedder_model="")

FIELD = {
    "lora.md": [
        "LoRA freezes the pretrained weights and learns two low-rank matrices for each of them.",
        "After training the low-rank update can be merged, so inference costs nothing extra.",
    ],
    "prefix.md": ["Prefix tuning prepends trainable key and value vectors to every attention layer."],
    "cats.txt": ["The cat sleeps on the mat.", "A dog barks in the yard at night."],
}
"""Documents by name; each text is a page and a passage."""


def new(home: Path, name: str = "notes", settings: IngestSettings = HASHING) -> Collection:
    """An empty collection."""
    return Collection.open(home, name, create=True, settings=settings)


def put(collection: Collection, name: str, texts: Sequence[str], content: str = "") -> str:
    """Publish a document of one passage a page; `content` stands for its bytes (default: its texts)."""
    embedder = EMBEDDERS.load("hashing")()
    chunks = [Chunk(number, 0, len(text), text, (name,)) for number, text in enumerate(texts, start=1)]
    sha256 = hashlib.sha256((content or "\n".join(texts)).encode()).hexdigest()
    with collection.writer() as writer:
        token = writer.begin(name, sha256, "text", name, sum(map(len, texts)))
        for number, text in enumerate(texts, start=1):
            writer.add_page(token, Page(number, str(number), text))
        writer.add_chunks(token, chunks, embedder.embed([chunk.embedded_text for chunk in chunks]))
        return writer.publish([token], embedder.fingerprint)[0]


def filled(home: Path, name: str = "notes") -> Collection:
    """A collection that holds FIELD."""
    collection = new(home, name)
    for document, texts in FIELD.items():
        put(collection, document, texts)
    return collection
