"""Whether an adapter's weights fit a base, found out by peft itself on a model without memory: nothing is computed."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Literal

from ragkit import models
from ragkit.adapter_files import WEIGHTS, AdapterError
from ragkit.tensors import tensors

_TIED = ("embed_tokens.", "lm_head.", "wte.", "word_embeddings.")
"""Layers that peft saves beside an adapter when their size was changed; they need not be there."""


def check(folder: Path, base: models.ResolvedModel, task: Literal["generate", "extract"]) -> None:
    """Raise AdapterError unless every weight of the adapter has its place in the base, and every place its weight."""
    import peft  # seconds that only an import needs
    import torch
    import transformers

    source = models.as_safetensors(base)
    hint = "Use the base it was trained on."
    try:
        config = transformers.AutoConfig.from_pretrained(source, trust_remote_code=False)
        kind = transformers.AutoModelForCausalLM
        if task == "extract":
            kind = transformers.AutoModelForQuestionAnswering
        elif config.is_encoder_decoder:
            kind = transformers.AutoModelForSeq2SeqLM
        with torch.device("meta"):
            model = kind.from_config(config, trust_remote_code=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it would warn of is checked below
            loaded = peft.PeftModel.from_pretrained(
                model, folder, is_trainable=False, use_safetensors=True, low_cpu_mem_usage=True
            )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, NotImplementedError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        raise AdapterError(f"The adapter does not fit the model {base.name!r}: {lines[0]}", hint) from error
    wanted = set(peft.get_peft_model_state_dict(loaded, save_embedding_layers=False))
    there = set(tensors(folder / WEIGHTS))
    odd = sorted(name for name in wanted ^ there if not any(tied in name for tied in _TIED))
    if odd:
        what = "lacks" if odd[0] in wanted else "has a weight for which there is no place:"
        raise AdapterError(f"The adapter does not fit the model {base.name!r}: it {what} {odd[0]}.", hint)
