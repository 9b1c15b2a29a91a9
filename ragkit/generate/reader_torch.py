"""The span reader in PyTorch: base and adapter as one model in float32, to convert it and to stand in for it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import peft
import torch
from safetensors import safe_open
from transformers import AutoModelForQuestionAnswering
from transformers.utils import logging

from ragkit.errors import ModelError
from ragkit.span import MAX_TOKENS, Scores, Window, batches, tensors

_HEAD = "qa_outputs"
"""Name of the span head in every question answering model of transformers."""


class _Spans(torch.nn.Module):
    """A question answering model as a function of tensors, for tracing."""

    def __init__(self, model: Any, names: Sequence[str]) -> None:  # noqa: ANN401 - a transformers model
        super().__init__()
        self.model = model
        self.names = names

    def forward(self, *given: torch.Tensor) -> torch.Tensor:
        """Start and end logits, shape (windows, tokens, 2)."""
        output = self.model(**dict(zip(self.names, given, strict=True)))
        return torch.stack((output.start_logits, output.end_logits), dim=-1)


class TorchScorer:
    """Base and adapter, merged in float32."""

    def __init__(self, base: Path, adapter: Path) -> None:
        logging.set_verbosity_error()  # it warns of the base's new head, which the adapter brings
        logging.disable_progress_bar()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft's use of transformers, which nobody here can mend
            self._model = _merged(base, adapter).float().eval()
        config = self._model.config
        self.inputs = ["input_ids", "attention_mask"]
        """Names of the model's inputs, in order."""
        # Peft's question answering model drops token types on the way to its base (0.21.2, the forward of
        # PeftModelForQuestionAnswering), so a low-rank adapter has learnt without them. A whole model has seen them.
        if not _low_rank(adapter) and getattr(config, "type_vocab_size", 0) > 1:
            self.inputs.append("token_type_ids")
        self.max_tokens = min(MAX_TOKENS, int(getattr(config, "max_position_embeddings", MAX_TOKENS)))
        """Longest window that the model reads."""
        self._pad = int(config.pad_token_id or 0)

    def scores(self, windows: Sequence[Window]) -> tuple[list[Scores], list[Scores]]:
        """Start scores and end scores of each window."""
        starts: list[Scores] = []
        ends: list[Scores] = []
        with torch.inference_mode():
            for batch in batches(windows):
                given = tensors(batch, self._pad)
                made = self._model(**{name: torch.from_numpy(given[name]) for name in self.inputs})
                pairs = zip(made.start_logits.numpy(), made.end_logits.numpy(), batch, strict=True)
                for start, end, window in pairs:
                    starts.append(np.array(start[: len(window.ids)]))
                    ends.append(np.array(end[: len(window.ids)]))
        return starts, ends

    def export(self, folder: Path, openvino: ModuleType) -> bool:
        """Write the model as OpenVINO IR (`model.xml`, `model.bin`) into a folder; False if it cannot be converted."""
        example = tuple(torch.ones(2, 7, dtype=torch.long) for _ in self.inputs)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the tracer's remarks on constants in shapes
                converted = openvino.convert_model(_Spans(self._model, self.inputs), example_input=example)
        except (RuntimeError, ValueError, NotImplementedError, AttributeError):
            return False
        for given, name in zip(converted.inputs, self.inputs, strict=True):
            given.get_tensor().set_names({name})
        openvino.save_model(converted, str(folder / "model.xml"), compress_to_fp16=False)
        return True


def _low_rank(adapter: Path) -> bool:
    return (adapter / "adapter_config.json").is_file()


def _merged(base: Path, adapter: Path) -> Any:  # noqa: ANN401
    """The question answering model of base and adapter. Raises ModelError if they do not fit, or there is no head."""
    low_rank = _low_rank(adapter)
    file = adapter / ("adapter_model.safetensors" if low_rank else "model.safetensors")
    with safe_open(file, "np") as weights:
        if not any(_HEAD in name for name in weights.keys()):  # noqa: SIM118 - not a mapping
            raise ModelError(f"{adapter} is no reader: it holds no span head ({_HEAD}).", "Give a reader's folder.")
    try:
        model = AutoModelForQuestionAnswering.from_pretrained(
            base if low_rank else adapter, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
        )
        if not low_rank:
            return model
        tuned: Any = peft.PeftModel.from_pretrained(model, adapter, is_trainable=False, use_safetensors=True)
        return tuned.merge_and_unload()
    except (ValueError, RuntimeError, KeyError, TypeError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(
            f"The adapter {adapter} does not fit the model {base}: {reason}", "Use the base it was trained on."
        ) from error
