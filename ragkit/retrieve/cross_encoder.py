"""Reranking by a cross-encoder."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import torch
from sentence_transformers import CrossEncoder

from ragkit import models
from ragkit.errors import ModelError


class CrossEncoderReranker:
    """A sentence-transformers cross-encoder: reads question and passage together; slower and better than cosine."""

    def __init__(self, model: str) -> None:
        found = models.resolve(model, "reranker")
        try:
            self._model = CrossEncoder(
                str(found.path),
                device="cuda" if torch.cuda.is_available() else "cpu",
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True},
            )
        except (OSError, ValueError) as error:
            raise ModelError(
                f"The cross-encoder {model!r} cannot be loaded: {str(error).splitlines()[0]}",
                "Give a folder of a cross-encoder, or a hub id with the hub in reach.",
            ) from error
        self._lock = threading.Lock()

    def score(self, question: str, passages: Sequence[str]) -> list[float]:
        """One score a passage, higher is better; 32 pairs at a time."""
        with self._lock:
            scores = self._model.predict(
                [(question, passage) for passage in passages], batch_size=32, show_progress_bar=False
            )
        return [float(score) for score in scores]
