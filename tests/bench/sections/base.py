"""What the sections share: names, tables, figures as text."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

Found = Mapping[str, Any]
Target = tuple[str, str, str, str, bool | None]
"""What, on what, the target, what was measured, and whether it was met (None: in part)."""

OURS = "ragkit_workbench"
NAMES = {
    OURS: "ragkit",
    f"{OURS}:read_and_store": "ragkit, stored and indexed",
    f"{OURS} hybrid": "ragkit",
    f"{OURS} dense": "ragkit, by meaning alone",
    f"{OURS} words": "ragkit, by words alone",
    "langchain_faiss": "LangChain + FAISS",
    "langchain_faiss:read_pdfium": "LangChain, PDFium loader",
    "llama_index_default": "LlamaIndex",
    "chroma_store": "Chroma",
    "txtai_embeddings": "txtai",
    "txtai_hybrid": "txtai, hybrid",
    "bm25s_words": "bm25s",
    "llama_cpp_generation": "llama.cpp",
    "floor": "embedding + exact FAISS alone",
}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def seconds(value: float) -> str:
    """Milliseconds below a second."""
    if value < 0.0995:
        return f"{value * 1e3:.1f} ms"
    return f"{value * 1e3:.0f} ms" if value < 1 else f"{value:.2f} s"


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, least, most."""
    return statistics.median(values), min(values), max(values)


def ratio_text(found: tuple[float, float, float]) -> str:
    """A ratio with its spread."""
    return f"{found[0]:.1f} ({found[1]:.1f} to {found[2]:.1f})"


def all_or_some(met: Sequence[bool]) -> bool | None:
    """None where some are met."""
    return True if all(met) else (None if any(met) else False)
