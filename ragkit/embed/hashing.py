"""An embedder without a model: hashed words. Deterministic, instant, and good enough to test everything around it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Literal

import numpy as np

from ragkit.types import Fingerprint, Vectors
from ragkit.words import content_words

_TOKEN = re.compile(r"\w+|[^\w\s]")
DIMENSION = 256


class HashingEmbedder:
    """Each content word adds +1 or -1 to one of 256 places chosen by its hash (Weinberger et al. 2009)."""

    def __init__(self, model: str = "", max_tokens: int = 256) -> None:
        self.fingerprint = Fingerprint("hashing", "weinberger-2009", DIMENSION, max_tokens)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Words and punctuation marks; a word longer than 16 characters counts once for every 16."""
        return [sum(1 + len(token) // 16 for token in _TOKEN.findall(text)) for text in texts]

    def embed(self, texts: Sequence[str], kind: Literal["passage", "query"] = "passage") -> Vectors:
        """Vectors of length 1, shape (len(texts), 256); an empty text gives the first unit vector."""
        table = np.zeros((len(texts), DIMENSION), dtype=np.float32)
        for row, text in zip(table, texts, strict=True):
            for word in content_words(text):
                code = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
                row[code % DIMENSION] += 1.0 if code >> 63 else -1.0
            if not row.any():
                row[0] = 1.0
        return table / np.linalg.norm(table, axis=1, keepdims=True)
