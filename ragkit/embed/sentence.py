"""Embeddings by sentence-transformers."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer

from ragkit import models
from ragkit.errors import ModelError
from ragkit.types import Fingerprint, Vectors

_BATCH_TOKENS = 4096
"""Tokens in one forward pass: large enough to keep two cores busy, small enough for any machine's cache and memory."""


_TOKENS_AT_ONCE = 1024
_UNUSED = re.compile(r"\[unused\d+\]")
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class _Stack(torch.nn.Module):
    """A sentence-transformers model as a function of tensors, for tracing."""

    def __init__(self, model: SentenceTransformer, names: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.names = names

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        """Sentence embeddings, shape (texts, dimension)."""
        return self.model(dict(zip(self.names, tensors, strict=True)))["sentence_embedding"]


class SentenceEmbedder:
    """Any sentence-transformers model by built-in name, folder or hub id; vectors are normalised to length 1.

    On a CPU with bf16 arithmetic the encoder runs under bf16 autocast: 1.7 times as fast for MiniLM, cosine to fp32
    above 0.9999 (DESIGN section 5).
    """

    def __init__(self, model: str = "minilm", *, bf16: bool = True) -> None:
        found = models.resolve(model, "embedder")
        if models.is_static(found.path):
            raise ModelError(f"The model {model!r} is a table of token vectors.", "Use the embedder engine static.")
        transformers.utils.logging.disable_progress_bar()
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            self._model = SentenceTransformer(
                str(found.path), device=self._device, trust_remote_code=False, model_kwargs={"use_safetensors": True}
            )
        except (OSError, ValueError) as error:
            raise ModelError(
                f"The embedding model {model!r} cannot be loaded: {str(error).splitlines()[0]}",
                "Give a built-in name, a folder of a sentence-transformers model, or a hub id with the hub in reach.",
            ) from error
        self._lock = threading.Lock()
        prompts: dict[str, Any] = self._model.prompts or {}
        self._prefixes = {
            "query": prompts.get("query", "") or "",
            "passage": prompts.get("document", prompts.get("passage", "")) or "",
        }
        self._bf16 = bf16 and self._device == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
        limit = self._model.max_seq_length or self._model.tokenizer.model_max_length
        self._tokenizer = self._model.tokenizer
        self.fingerprint = Fingerprint(
            name=found.name,
            weights=found.sha256,
            dimension=int(self._model.get_embedding_dimension() or 0),
            max_tokens=int(min(limit, 8192)),
            query_prefix=self._prefixes["query"],
            passage_prefix=self._prefixes["passage"],
        )

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text with the model's special tokens and passage prefix; nothing is truncated."""
        if not texts:
            return []
        prefix = self._prefixes["passage"]
        encoded = self._tokenizer(
            [prefix + text for text in texts], truncation=False, verbose=False, return_attention_mask=False
        )
        return [len(ids) for ids in encoded["input_ids"]]

    def embed(self, texts: Sequence[str], kind: Literal["passage", "query"] = "passage") -> Vectors:
        """Vectors of length 1, shape (len(texts), dimension), in batches of similar length."""
        if not texts:
            return np.zeros((0, self.fingerprint.dimension), dtype=np.float32)
        prefixed = [self._prefixes[kind] + text for text in texts]
        lengths = [len(text) for text in prefixed]
        order = sorted(range(len(texts)), key=lengths.__getitem__, reverse=True)
        table = np.empty((len(texts), self.fingerprint.dimension), dtype=np.float32)
        with self._lock, torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=self._bf16):
            for places in self._batches(order, lengths):
                vectors = self._model.encode(
                    [prefixed[place] for place in places],
                    batch_size=len(places),
                    show_progress_bar=False,
                    convert_to_numpy=False,
                    convert_to_tensor=True,
                )
                table[places] = torch.nn.functional.normalize(vectors.float(), dim=1).cpu().numpy()
        return table

    @property
    def tokenizer(self) -> Tokenizer:
        """The fast tokenizer, without what transformers wraps around it."""
        return Tokenizer.from_str(self._tokenizer.backend_tokenizer.to_str())

    def tokens(self) -> list[str]:
        """The vocabulary, in the order of the ids."""
        return [token or "" for token in self._tokenizer.convert_ids_to_tokens(list(range(len(self._tokenizer))))]

    def token_vectors(self) -> tuple[Vectors, NDArray[np.bool_]]:
        """What the model makes of each token of its vocabulary alone: shape (vocabulary, dimension), not normalised.

        And which tokens are plain: special and unused ones are not, and have zeros.
        """
        tokens = self.tokens()
        special = set(self._tokenizer.all_special_ids)
        plain = np.array([
            number not in special and token and not _UNUSED.fullmatch(token)
            for number, token in enumerate(tokens)
        ])  # fmt: skip
        bare, dressed = (self._tokenizer("a", add_special_tokens=each)["input_ids"] for each in (False, True))
        place = next(at for at in range(len(dressed)) if dressed[at : at + len(bare)] == bare)
        before, after = dressed[:place], dressed[place + len(bare) :]
        table = np.zeros((len(tokens), self.fingerprint.dimension), dtype=np.float32)
        numbers = np.flatnonzero(plain)
        with self._lock, torch.inference_mode():
            for start in range(0, len(numbers), _TOKENS_AT_ONCE):
                some = numbers[start : start + _TOKENS_AT_ONCE]
                ids = torch.tensor([[*before, int(each), *after] for each in some])
                given = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
                given = {name: value.to(self._device) for name, value in given.items()}
                table[some] = self._model(given)["sentence_embedding"].float().cpu().numpy()
        return table, plain

    def export(self, folder: Path, openvino: ModuleType) -> tuple[list[str], int]:
        """Write the model as OpenVINO IR (`model.xml`, `model.bin`) and its `tokenizer.json` into a folder.

        Returns the names of its inputs and the id that pads short texts. The whole module stack is traced, pooling
        included, so every architecture that sentence-transformers knows and the tracer can follow is covered.
        """
        names = [name for name in self._tokenizer.model_input_names if name in _INPUTS]
        example = {name: torch.ones(2, 7, dtype=torch.long) for name in names}
        stack = _Stack(self._model.float().cpu().eval(), names)
        converted = openvino.convert_model(stack, example_input=tuple(example.values()))
        for given, name in zip(converted.inputs, names, strict=True):
            given.get_tensor().set_names({name})
        openvino.save_model(converted, str(folder / "model.xml"), compress_to_fp16=False)
        self._tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
        return names, int(self._tokenizer.pad_token_id or 0)

    def _batches(self, order: list[int], lengths: list[int]) -> list[list[int]]:
        """Places in batches of about _BATCH_TOKENS, longest first, at four characters a token."""
        batches: list[list[int]] = []
        room = 0
        for place in order:
            if not batches or len(batches[-1]) >= room:
                tokens = min(max(lengths[place] // 4, 8), self.fingerprint.max_tokens)
                room = max(1, _BATCH_TOKENS // tokens)
                batches.append([])
            batches[-1].append(place)
        return batches
