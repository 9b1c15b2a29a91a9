"""Where no answer is given: the sentences that come nearest to the question, for a person to look for themselves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ragkit.generate import grounding
from ragkit.protocols import Embedder
from ragkit.types import Citation, Hit

MOST = 2
"""Sentences that are shown."""
_LEAST_WORDS = 4
_LONGEST = 400
"""Characters: what is longer is a table or a list without stops."""


def closest(question: str, hits: Sequence[Hit], embedder: Embedder, most: int = MOST) -> tuple[Citation, ...]:
    """The sentences of the passages with the highest cosine to the question, best first, each once."""
    found: dict[str, Citation] = {}
    for number, hit in enumerate(hits, start=1):
        for part in grounding.passage_sentences(hit.text, titles=False):
            quote = hit.text[part.start : part.end]
            if len(quote.split()) >= _LEAST_WORDS and len(quote) <= _LONGEST:
                found.setdefault(" ".join(quote.split()), grounding.cited(number, hit, part))
    if not found:
        return ()
    cosines = embedder.embed(list(found)) @ embedder.embed([question], "query")[0]
    sentences = list(found.values())
    return tuple(sentences[place] for place in np.argsort(-cosines, kind="stable")[:most])
