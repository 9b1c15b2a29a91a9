"""Static embeddings: one vector a token, looked up and averaged. No network runs, so it is tens of times as fast.

The table is distilled from a sentence-transformers model (`ragkit/embed/distill.py`) and kept in the format of
sentence-transformers' own StaticEmbedding, which any tool of that family loads.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Literal

import numpy as np
from safetensors.numpy import load_file
from scipy.sparse import csr_matrix
from tokenizers import Tokenizer

from ragkit import models
from ragkit.cache import file_sha256, made_once
from ragkit.errors import ModelError
from ragkit.types import Fingerprint, Vectors

MAX_TOKENS = 512
"""Longest passage: an average over more words says little of any."""
_FORMAT = 2
"""Part of the cache folder's name: a change of the distillation makes new folders."""
_AT_ONCE = 2_000
"""Texts looked up together."""


class StaticEmbedder:
    """The static model of a folder, or the one distilled from any other model.

    The first use of another model distils it (half a minute for MiniLM, needs torch); after that the table alone is
    opened. Its vectors are not those of the model it came from: a collection is made with one or the other.
    """

    def __init__(self, model: str = "minilm") -> None:
        found = models.resolve(model, "embedder")
        folder, name = found.path, found.name
        if not models.is_static(folder):
            cached = f"embedders/static-{Path(found.name).name}-{found.sha256[:16]}-{_FORMAT}"
            folder = made_once(cached, lambda target: _distil(found.name, target))
            name = f"static {found.name}"
        file = folder / "model.safetensors"
        if not file.is_file() or not (folder / "tokenizer.json").is_file():
            raise ModelError(
                f"{folder} lacks model.safetensors or tokenizer.json.", "Distil it again with: ragkit distill"
            )
        weights = load_file(file)
        if set(weights) != {"embedding.weight"}:
            raise ModelError(
                f"{file} holds {', '.join(sorted(weights))}, not one table of token vectors.",
                "Give a folder that `ragkit distill` or sentence-transformers wrote.",
            )
        self._table = np.ascontiguousarray(weights["embedding.weight"], dtype=np.float32)
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.fingerprint = Fingerprint(name, file_sha256(file), self._table.shape[1], MAX_TOKENS)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text; nothing is truncated."""
        return [len(ids) for ids in self._ids(texts)]

    def embed(self, texts: Sequence[str], kind: Literal["passage", "query"] = "passage") -> Vectors:  # noqa: ARG002
        """Vectors of length 1, shape (len(texts), dimension); a text without a known token gives a unit vector."""
        table = np.empty((len(texts), self._table.shape[1]), dtype=np.float32)
        for start in range(0, len(texts), _AT_ONCE):
            table[start : start + _AT_ONCE] = self._sums(texts[start : start + _AT_ONCE])
        length = np.linalg.norm(table, axis=1, keepdims=True)
        table[length[:, 0] == 0.0, 0] = 1.0
        return table / np.where(length == 0.0, 1.0, length)

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        return [each.ids for each in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    def _sums(self, texts: Sequence[str]) -> Vectors:
        """The sum of each text's token vectors: a mean of another length, which is normalised away."""
        rows = self._ids(texts)
        bounds = np.cumsum([0, *map(len, rows)])
        ids = np.fromiter((token for row in rows for token in row), dtype=np.int64, count=int(bounds[-1]))
        ones = np.ones(len(ids), dtype=np.float32)
        return csr_matrix((ones, ids, bounds), shape=(len(rows), len(self._table))) @ self._table


def _distil(model: str, folder: Path) -> None:
    import_module("ragkit.embed.distill").distill(model, folder)
