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
    dense_weight: float = 0.85
    """Weight of the search by meaning in the fusion."""
    words_weight: float = 0.15
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
    reader: str = "auto"
    """Reader that quotes the answer from the passages: the collection's (auto), an adapter's name, or none (empty)."""
    reader_below: float = 0.25
    """Say that the documents do not say when the reader's best quotation is less likely right than this; 0: never."""
    reader_above: float = 0.6
    """Answer with the reader's quotation, if it is as likely right as this, when the model finds none; 1: never."""


@dataclass(frozen=True, slots=True)
class TuneSettings:
    """How an adapter is trained. A value of 0 or nothing takes the default of the method and the model's size."""

    task: Literal["generate", "extract"] = "generate"
    """Write answers with a language model (generate), or quote them from the passage with an encoder (extract)."""
    base: str = "smollm2-135m"
    """Model to tune: a built-in name, a folder or a hub id; for extract an encoder such as minilm."""
    method: str = "lora"
    """What is trained: a low-rank adapter beside the weights (lora), or all weights (full)."""
    template: str = "grounded"
    """Prompt template through which rows are rendered, and through which the adapter is asked later."""
    start: str = ""
    """Adapter to go on from, with its rank and scale, such as grounded; empty begins with the base alone."""
    rank: int = 0
    """Rank of the LoRA matrices; higher learns more and weighs more."""
    alpha: int = 0
    """Scale of the LoRA update: its weight is alpha / rank (alpha / sqrt(rank) with rsLoRA); usually twice the rank."""
    dropout: float = 0.1
    """Share of the features that is left out at random in each step: of the LoRA input, and of an encoder's layers."""
    rslora: bool = False
    """Rank-stabilised LoRA: scales by the square root of the rank, so that high ranks learn as fast as low ones."""
    dora: bool = False
    """DoRA: learns the weights' direction and length apart; a little better at low ranks, slower."""
    learning_rate: float = 0.0
    """Largest step size, reached after the warm-up."""
    sweep: bool = False
    """Try a third, one and three times the learning rate on a tenth of the data first, and take the best."""
    epochs: float = 0.0
    """How often each row is seen."""
    batch: int = 16
    """Rows in one step of the optimiser."""
    batch_tokens: int = 4096
    """Tokens, padding included, that go through the model at once; lower takes less memory."""
    max_tokens: int = 2048
    """Longest row in tokens of the model; longer rows are left out and counted."""
    passages: int = 5
    """Passages in a row: the gold one and others that retrieval found."""
    absent: float = 0.15
    """Share of the answerable rows whose gold passage is taken away, with the abstaining answer as the target."""
    shared_evidence: bool = True
    """Questions on one gold passage share the evidence found for one of them, so its prompt is computed once."""
    holdout: float = 0.1
    """Share of the documents whose rows are held out, to see when to stop."""
    patience: int = 3
    """Stop after so many looks at the held-out loss without an improvement; 0 never stops early."""
    looks: int = 10
    """How often the held-out loss is measured over the whole training."""
    checkpointing: bool = False
    """Compute activations twice instead of keeping them: less memory, about a third slower."""
    seed: int = 0
    """Seed of the order of rows, of dropout and of new weights."""


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
