"""Settings as dataclasses: the sentence under each field serves the code, `--help` and the browser's tooltips."""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import textwrap
from dataclasses import dataclass
from typing import Any, Literal

from ragkit.errors import SettingsError


@dataclass(frozen=True, slots=True)
class IngestSettings:
    """How files become searchable passages; fixed for a collection once it holds documents."""

    splitter: str = "recursive"
    """How pages are cut into passages."""
    chunk_tokens: int = 200
    """Longest passage with its heading path, in tokens of the embedder."""
    overlap_tokens: int = 30
    """Tokens that neighbouring passages share, so that no sentence loses its surroundings."""
    embedder: str = "auto"
    """Engine that turns passages into vectors."""
    embedder_model: str = "minilm"
    """Embedding model: a built-in name, a folder or a sentence-transformers hub id."""
    index: str = "auto"
    """Vector index; auto chooses by the number of passages."""


@dataclass(frozen=True, slots=True)
class RetrieveSettings:
    """How passages are found for a question."""

    retriever: str = "hybrid"
    """Search by meaning (dense), by words, or both (hybrid)."""
    k: int = 5
    """Passages handed to the prompt."""
    depth: int = 100
    """Candidates that each search contributes before fusion, MMR or reranking."""
    fusion: Literal["convex", "rrf"] = "convex"
    """How the two searches are joined: by their scores (convex) or by their ranks (rrf)."""
    dense_weight: float = 0.6
    """Weight of the search by meaning in the fusion."""
    words_weight: float = 0.4
    """Weight of the search by words in the fusion."""
    rrf_constant: int = 60
    """Constant of reciprocal rank fusion (rrf); larger values flatten the difference between ranks."""
    mmr: float = 1.0
    """Maximal marginal relevance: 1 ranks by relevance alone, lower values prefer passages that differ."""
    reranker: str = ""
    """Second look at the candidates by a cross-encoder; empty means none."""
    reranker_model: str = "cross-encoder/ms-marco-MiniLM-L6-v2"
    """Cross-encoder: a folder or a hub id."""
    abstain_below: float = 0.3
    """Say that the documents do not say when no passage is nearer to the question than this cosine; 0: never."""


def check_names(cls: type, values: dict[str, Any]) -> None:
    """Raise SettingsError for a name that is no field of the settings class."""
    names = [part.name for part in dataclasses.fields(cls)]
    for name in values:
        if name not in names:
            raise SettingsError(f"{name!r} is no setting.", f"There are: {', '.join(names)}.")


@functools.cache
def sentences(cls: type) -> dict[str, str]:
    """The sentence under each field of a dataclass, by field name (read from its source)."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(tree, ast.ClassDef)
    found: dict[str, str] = {}
    for statement, following in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            literal = following.value if isinstance(following, ast.Expr) else None
            if isinstance(literal, ast.Constant) and isinstance(literal.value, str):
                found[statement.target.id] = " ".join(literal.value.split())
    return found
