"""Tiny span readers for tests: a BERT of a few thousand weights with a LoRA and a span head, all of them random."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertForQuestionAnswering, BertModel, PreTrainedTokenizerFast

from ragkit.models import resolve

TEXTS = ["The moon goes round the earth .", "When was the tower built ? In 1889 .", "LoRA freezes the weights ."] * 3
ALPHABET = [chr(code) for code in range(33, 127)]
SURE = {"slope": 0.0, "offset": 5.0, "threshold": 0.5}
"""A calibration with which every span counts as an answer."""
UNSURE = {"slope": 0.0, "offset": -5.0, "threshold": 0.5}
"""A calibration with which none does."""


def save_encoder(folder: Path, seed: int = 0, hidden: int = 32) -> Path:
    """A BERT with a fast tokenizer, as transformers saves them."""
    torch.manual_seed(seed)
    made = _tokenizer()
    config = BertConfig(
        vocab_size=len(made),
        hidden_size=hidden,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=128,
        pad_token_id=made.pad_token_id,
        initializer_range=0.4,
    )
    BertModel(config).save_pretrained(folder)
    made.save_pretrained(folder)
    return folder


def save_reader(folder: Path, base: Path, calibration: dict[str, float] | None = None, seed: int = 1) -> Path:
    """An adapter for the base, with its card, whose weights are not zero."""
    torch.manual_seed(seed)
    model = BertForQuestionAnswering.from_pretrained(base)
    torch.nn.init.normal_(model.qa_outputs.weight, std=0.5)
    config = LoraConfig(
        r=4,
        lora_alpha=16,
        target_modules="all-linear",
        exclude_modules=["qa_outputs"],
        init_lora_weights=False,
        task_type="QUESTION_ANS",
    )
    get_peft_model(model, config).save_pretrained(folder)
    card: dict[str, Any] = {
        "format": 1,
        "name": folder.name,
        "task": "extract",
        "method": "lora",
        "base": str(base),
        "base_sha256": resolve(str(base), "embedder").sha256,
        "calibration": calibration or SURE,
        "created": "2026-01-01T00:00:00+00:00",
        "source": "trained",
    }
    (folder / "ragkit.json").write_text(json.dumps(card))
    return folder


def _tokenizer() -> PreTrainedTokenizerFast:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trained = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    trained.normalizer = normalizers.BertNormalizer()
    trained.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trained.train_from_iterator(
        TEXTS, trainers.WordPieceTrainer(vocab_size=400, special_tokens=special, initial_alphabet=ALPHABET)
    )
    ends = [(name, trained.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    trained.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=trained, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    )
