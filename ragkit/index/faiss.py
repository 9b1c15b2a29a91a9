"""Vector indexes by faiss-cpu. Once built an index is only read: faiss may crash when one thread adds while another
searches, so new vectors get a new index (see `ragkit/projection.py`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar, Self

import faiss
import numpy as np
from numpy.typing import NDArray

from ragkit.errors import CollectionError
from ragkit.protocols import Ids, Rows
from ragkit.types import Vectors

# One thread a query: on two cores two threads are slower than one (11.6 ms against 29 ms at 200,000 vectors), and
# several people may ask at once.
_SEARCH_THREADS = 1

_BLOCK = 8_192
"""Vectors added at a time: building takes little more memory than the index itself."""
_SAMPLE = 32_768
"""Vectors to train on at least. Twice as many found 0.003 and 0.008 more of the ten nearest among 150,000 and 250,000
clustered vectors (recall@10 0.990 and 0.969), and took 50 MB more while the index was built."""
_TO_A_LIST = 40
"""Vectors to train on for each inverted list; faiss warns below 39."""


class FaissIndex:
    """Inner product over vectors of length 1 (so: cosine). One file holds the index and the ids of its rows."""

    def __init__(self, index: Any) -> None:  # noqa: ANN401 - a faiss IndexIDMap, untyped
        self._whole = index
        self._index = faiss.downcast_index(index.index)
        self._ids: Ids = faiss.vector_to_array(index.id_map).astype(np.int64)

    @classmethod
    def build(cls, ids: Ids, vectors: Rows) -> Self:
        """Train where the type needs it, then add all vectors, of shape (n, dimension). `ids` ascending, shape (n,)."""
        count, dimension = vectors.shape
        faiss.omp_set_num_threads(os.cpu_count() or 1)
        empty = cls._empty(dimension, count)
        if not empty.is_trained:
            empty.train(_spread(vectors, cls._sample(count)))
        whole = faiss.IndexIDMap(empty)
        for start in range(0, count, _BLOCK):
            rows = slice(start, start + _BLOCK)
            whole.add_with_ids(np.ascontiguousarray(vectors[rows], dtype=np.float32), ids[rows])
        return cls(whole)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote. Raises CollectionError if it is no such file."""
        try:
            # Mapped: the file's pages are read when a search needs them, and shared by all processes that search it.
            return cls(faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC))
        except (RuntimeError, AttributeError) as error:
            raise CollectionError(f"{path} is not a readable index.", "It is rebuilt from the database.") from error

    def save(self, path: Path) -> None:
        """Write to exactly this path."""
        faiss.write_index(self._whole, str(path))

    @property
    def ids(self) -> Ids:
        """All ids, ascending."""
        return self._ids

    def search(self, queries: Vectors, k: int, only: Ids | None = None) -> tuple[NDArray[np.float32], Ids]:
        """Scores and ids, each of shape (queries, k), best first; id -1 and score -inf where there are fewer than k."""
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        ids = np.full((len(queries), k), -1, dtype=np.int64)
        rows = None if only is None else np.flatnonzero(np.isin(self._ids, only, kind="sort"))
        take = min(k, len(self._ids) if rows is None else len(rows))
        if take == 0:
            return scores, ids
        faiss.omp_set_num_threads(_SEARCH_THREADS)
        found, places = self._nearest(np.ascontiguousarray(queries, dtype=np.float32), take, rows)
        there = places >= 0
        scores[:, :take][there] = found[there]
        ids[:, :take][there] = self._ids[places[there]]
        return scores, ids

    def vectors(self, ids: Ids) -> Vectors:
        """Vectors of ids that are in it, shape (ids, dimension); of 8-bit codes where the index holds those."""
        rows = np.searchsorted(self._ids, ids)
        return self._index.reconstruct_batch(rows) if len(rows) else np.empty((0, self._index.d), dtype=np.float32)

    def _nearest(
        self, queries: Vectors, k: int, rows: NDArray[np.int64] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Scores and row numbers of the k nearest among `rows` (all rows if None); -1 where there is none."""
        return self._index.search(queries, k, params=self._parameters(k, rows))

    @classmethod
    def _empty(cls, dimension: int, count: int) -> Any:  # noqa: ANN401
        raise TypeError(f"{cls.__name__} is not an index type of its own")

    @classmethod
    def _sample(cls, count: int) -> int:
        """How many of that many vectors are enough to train on."""
        return min(count, _SAMPLE)

    def _parameters(self, k: int, rows: NDArray[np.int64] | None) -> Any:  # noqa: ANN401
        return None if rows is None else faiss.SearchParameters(sel=faiss.IDSelectorBatch(rows))


class FlatIndex(FaissIndex):
    """Exact: every vector is compared. 1,536 bytes a vector at 384 dimensions."""

    @classmethod
    def _empty(cls, dimension: int, count: int) -> Any:  # noqa: ANN401
        return faiss.IndexFlatIP(dimension)


class RaBitQIndex(FaissIndex):
    """One bit a dimension (RaBitQ, Gao and Long 2024), refined with 8-bit codes: 440 bytes a vector of 384."""

    _REFINED: ClassVar[int] = 8
    """Candidates refined for each result; recall@10 0.988 on 200,000 vectors at 8 (DESIGN section 5)."""

    @classmethod
    def _empty(cls, dimension: int, count: int) -> Any:  # noqa: ANN401
        return faiss.index_factory(dimension, "RaBitQ,Refine(SQ8)", faiss.METRIC_INNER_PRODUCT)

    def _parameters(self, k: int, rows: NDArray[np.int64] | None) -> Any:  # noqa: ANN401
        base = faiss.RaBitQSearchParameters(**_selector(rows))
        return faiss.IndexRefineSearchParameters(k_factor=self._REFINED, base_index_params=base)


class HNSWIndex(FaissIndex):
    """Neighbour graph (Malkov and Yashunin 2016), 32 links a vector: fastest queries, slow to build."""

    @classmethod
    def _empty(cls, dimension: int, count: int) -> Any:  # noqa: ANN401
        index = faiss.IndexHNSWFlat(dimension, 32, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = 80
        return index

    def _nearest(
        self, queries: Vectors, k: int, rows: NDArray[np.int64] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        if rows is None:
            return self._index.search(queries, k, params=faiss.SearchParametersHNSW(efSearch=max(128, 2 * k)))
        # A walk through the graph may never reach the few rows asked for; they are compared one by one instead.
        scores = queries @ self._index.reconstruct_batch(rows).T
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(scores, best, axis=1), rows[best]


class IVFIndex(FaissIndex):
    """RaBitQ's codes in about 2 * sqrt(n) inverted lists, of which an eighth is searched, refined with 8-bit codes.

    A million real vectors: recall@10 0.977 in 4.4 ms; RaBitQ without lists 0.992 in 32 ms, as it looks at every code.
    """

    _REFINED: ClassVar[int] = 8

    @classmethod
    def _empty(cls, dimension: int, count: int) -> Any:  # noqa: ANN401
        return faiss.index_factory(dimension, f"IVF{cls._lists(count)},RaBitQ,Refine(SQ8)", faiss.METRIC_INNER_PRODUCT)

    @staticmethod
    def _lists(count: int) -> int:
        return max(1, min(int(2 * count**0.5), count // _TO_A_LIST))

    @classmethod
    def _sample(cls, count: int) -> int:
        return min(count, max(_SAMPLE, _TO_A_LIST * cls._lists(count)))

    def _parameters(self, k: int, rows: NDArray[np.int64] | None) -> Any:  # noqa: ANN401
        # A filtered search looks into every list: the few rows asked for may lie anywhere.
        lists = faiss.extract_index_ivf(self._index).nlist
        probe = lists if rows is not None else max(16, lists // 8)
        base = faiss.IVFRaBitQSearchParameters(nprobe=probe, **_selector(rows))
        return faiss.IndexRefineSearchParameters(k_factor=self._REFINED, base_index_params=base)


def _selector(rows: NDArray[np.int64] | None) -> dict[str, Any]:
    return {} if rows is None else {"sel": faiss.IDSelectorBatch(rows)}


def _spread(vectors: Rows, count: int) -> Vectors:
    """About `count` of the vectors, in pieces from everywhere: documents of a kind often stand together."""
    there = vectors.shape[0]
    pieces = 64 if count < there else 1
    length = count // pieces
    sample = np.empty((pieces * length, vectors.shape[1]), dtype=np.float32)  # filled in place: it is the largest thing
    for number, start in enumerate(np.linspace(0, there - length, pieces).astype(int)):
        sample[number * length : (number + 1) * length] = vectors[start : start + length]
    return sample
