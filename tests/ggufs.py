"""Tiny GGUF files: a llama model of transformers, written as converters write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType


def save_gguf(model: Any, tokenizer: Any, target: Path, kind: str = "F32") -> Path:
    """Write a model of the llama type with its tokenizer (byte-level BPE); matrices as `kind`, all else as float32."""
    config = model.config
    writer = gguf.GGUFWriter(target, "llama")
    writer.add_name(target.stem)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(10_000.0)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    types = gguf.LlamaFileType
    writer.add_file_type(types.ALL_F32 if kind == "F32" else types[f"MOSTLY_{kind}"])
    _add_tokenizer(writer, tokenizer)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, value in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        weights = value.float().numpy()
        if ".q_proj." in name:
            weights = permuted(weights, config.num_attention_heads)
        if ".k_proj." in name:
            weights = permuted(weights, config.num_key_value_heads)
        form = GGMLQuantizationType[kind if weights.ndim > 1 else "F32"]
        place = names.get_name(name, (".weight", ".bias"))
        writer.add_tensor(place, gguf.quants.quantize(weights, form), raw_dtype=form)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def permuted(weights: np.ndarray, heads: int) -> np.ndarray:
    """As llama.cpp's convert_hf_to_gguf.py does it, LlamaModel.permute."""
    return (
        weights.reshape(heads, 2, weights.shape[0] // heads // 2, *weights.shape[1:])
        .swapaxes(1, 2)
        .reshape(weights.shape)
    )


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Any) -> None:
    described = json.loads(tokenizer.backend_tokenizer.to_str())
    special = {entry["content"] for entry in described["added_tokens"]}
    tokens = [tokenizer.convert_ids_to_tokens(place) for place in range(len(tokenizer))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in special else 1 for token in tokens])
    writer.add_token_merges([" ".join(merge) for merge in described["model"]["merges"]])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_bos_token_id(tokenizer.eos_token_id)
    writer.add_unk_token_id(tokenizer.unk_token_id)
    writer.add_add_bos_token(False)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)
