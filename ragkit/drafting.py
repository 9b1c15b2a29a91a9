"""The door to drafts: proposes questions from a collection's documents, with or without the language model."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from ragkit.evaluate.drafts import Draft, Write, propose
from ragkit.generate import grounding
from ragkit.prompt.pack import pack
from ragkit.prompt.template import Template
from ragkit.types import Hit, Page, Variant
from ragkit.workbench import Workbench

MOST_PAGES = 2000
"""Pages that are drawn from a large collection."""
_TOKENS = 96

WRITE = Template(
    name="draft",
    summary="A question that a passage answers.",
    when="To draft an evaluation set.",
    system="Write one short question that the passage answers, and its answer in the passage's own words.",
    user="{passages}\n\nWrite exactly two lines:\nQuestion: ...\nAnswer: ...\n{question}",
    passage="<passage {number}>\n{text}\n</passage>",
)


def drafts(
    workbench: Workbench, *, documents: Sequence[str] = (), seed: int = 0, variant: Variant | None = None
) -> Iterator[Draft]:
    """Drafts from the documents in a seeded order, one after another as they are asked for.

    Args:
        workbench: the collection.
        documents: names of the documents to draw from; all if empty.
        seed: the same seed gives the same drafts.
        variant: whose language model writes the questions; None turns sentences into questions without a model.
    """
    pages = _pages(workbench, documents, seed)
    return propose(pages, grounding.sentences, seed, _writer(workbench, variant) if variant else None)


def _pages(workbench: Workbench, documents: Sequence[str], seed: int) -> list[tuple[str, Page]]:
    collection = workbench.collection
    chosen = [collection.document(name) for name in documents] or collection.documents()
    places = [(document, number) for document in chosen for number in range(1, document.pages + 1)]
    drawn = random.Random(seed).sample(places, min(MOST_PAGES, len(places)))
    return [(document.name, collection.page(document.id, number)) for document, number in drawn]


def _writer(workbench: Workbench, variant: Variant) -> Write:
    generator = workbench.generator(variant)

    def write(text: str) -> str:
        hit = Hit(1, 1.0, 0, "", 1, "", 0, len(text), text)
        prompt = pack(WRITE, "", (hit,), (), generator, _TOKENS)
        return generator.generate(prompt, variant.decoding, lambda _: True).text

    return write
