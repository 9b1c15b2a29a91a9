"""Tiny language models that say one word whatever they are asked, and adapters that make them say another: trained."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from ragkit.models import resolve
from tests.tiny_chat import tokenizer

_TEXTS = ["Answer the question in a few words.", "The cat sleeps on the mat, the dog in the yard."] * 3


def save_speaker(folder: Path, word: str) -> Path:
    """A chat model of two layers that answers every prompt with this word."""
    torch.manual_seed(0)
    words = tokenizer(_TEXTS, 300)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(words),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=4096,
            eos_token_id=words.eos_token_id,
            pad_token_id=words.pad_token_id,
        )
    )
    model.lm_head.weight.data *= 40  # every word is within reach of an adapter
    for layer in model.model.layers:  # no attention: what comes next depends on nothing but the last token
        torch.nn.init.zeros_(layer.self_attn.o_proj.weight).requires_grad_(False)
    _teach(model, words, word)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def save_adapter(folder: Path, base: Path, word: str, template: str, **card: Any) -> Path:
    """A LoRA adapter with its card, through which that model answers with another word."""
    torch.manual_seed(1)
    words = PreTrainedTokenizerFast.from_pretrained(base)
    model = get_peft_model(
        LlamaForCausalLM.from_pretrained(base),
        LoraConfig(r=8, lora_alpha=32, target_modules=["gate_proj", "up_proj", "down_proj"], task_type="CAUSAL_LM"),
    )
    _teach(model, words, word)
    model.save_pretrained(folder)
    told = {
        "format": 1,
        "name": folder.name,
        "task": "generate",
        "method": "lora",
        "base": str(base),
        "base_sha256": resolve(str(base), "generator").sha256,
        "template": template,
        "created": "2026-01-01T00:00:00+00:00",
        "source": "trained",
    }
    (folder / "ragkit.json").write_text(json.dumps(told | card))
    return folder


def _teach(model: Any, words: Any, word: str) -> None:
    """Train until the word is what follows any prompt, which is until it follows the mark that ends a prompt."""
    rows = torch.tensor([words(f"<|assistant|>{word}<|end|>")["input_ids"]])
    optimiser = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=1e-2)
    loss = math.inf
    while loss > 0.002:
        found = model(input_ids=rows, labels=rows).loss
        found.backward()
        optimiser.step()
        optimiser.zero_grad()
        loss = found.item()
