"""Attention that trains fast on a CPU: plain matrix products over blocks of queries, computed again going backwards.

PyTorch's fused attention takes half of a training step on a CPU in its backward pass alone, and the plain one keeps
squares of scores in memory. Here a block of queries meets the tokens up to its end and no others, which halves the
work of a causal model; of a block only the result is kept (Rabe and Staats 2021), and heads that share keys are
computed together. `tests/bench/tuning.py` measures what it gains.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

NAME = "ragkit_blocks"
BLOCK = 256
"""Queries in a block: its scores stay in the processor's cache."""
_KNOWN = {"position_ids", "cache_position", "use_cache", "output_attentions", "sliding_window", "past_key_values"}
"""What models hand on that changes nothing here: a window is in the mask."""


def register() -> str:
    """Tell transformers of this attention, for causal models; the name that it goes by."""
    AttentionInterface.register(NAME, forward)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    return NAME


def forward(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **more: Any,  # noqa: ANN401
) -> tuple[torch.Tensor, None]:
    """Causal self-attention by the interface of transformers; what is more than that goes to the fused attention.

    Args:
        module: the layer; not causal if it says so.
        query: shape (batch, heads, tokens, features).
        key, value: shape (batch, heads or a divisor of it, tokens, features).
        attention_mask: None, or shape (batch, 1, tokens, tokens): what is added to scores, or True for what is seen.
        dropout: of the weights.
        scaling: of the scores; 1 / sqrt(features) if None.
        is_causal: False for attention that looks ahead.
        more: what else the model has to say.

    Returns:
        Shape (batch, tokens, heads, features), and None for the weights.
    """
    causal = is_causal if is_causal is not None else getattr(module, "is_causal", True)
    extra = {name for name, given in more.items() if given is not None} - _KNOWN
    if dropout or not causal or extra or key.shape[2] != query.shape[2] or key.shape != value.shape:
        given = {"dropout": dropout, "scaling": scaling, "is_causal": is_causal}
        return sdpa_attention_forward(module, query, key, value, attention_mask, **given, **more)  # type: ignore[return-value]
    if attention_mask is not None and attention_mask.dtype == torch.bool:
        least = torch.finfo(query.dtype).min
        attention_mask = torch.zeros_like(attention_mask, dtype=query.dtype).masked_fill_(~attention_mask, least)
    scaled = query * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    kind = value.dtype  # under autocast the products are in bfloat16, and what was turned by its place is not
    mask = None if attention_mask is None else attention_mask.to(kind)
    with torch.autocast(query.device.type, enabled=False):  # going backwards there is none
        result = _Blocks.apply(scaled.to(kind), key.to(kind), value, mask)
    return result.transpose(1, 2).contiguous(), None


class _Blocks(torch.autograd.Function):
    """softmax(query key^T + mask) value, block by block."""

    @staticmethod
    def forward(  # noqa: D102
        ctx: Any,  # noqa: ANN401
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None,
    ) -> torch.Tensor:
        ctx.save_for_backward(query, key, value, mask)
        query, key, value = query.contiguous(), key.contiguous(), value.contiguous()
        result = torch.empty_like(query)
        for begin in range(0, query.shape[2], BLOCK):
            end = min(begin + BLOCK, query.shape[2])
            weights = _weights(query, key, mask, begin, end)
            result[:, :, begin:end] = (weights @ value[:, :, :end]).view(result[:, :, begin:end].shape)
        return result

    @staticmethod
    def backward(ctx: Any, wanted: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # noqa: ANN401, D102
        query, key, value, mask = ctx.saved_tensors
        query, key, value = query.contiguous(), key.contiguous(), value.contiguous()
        groups = key.shape[1]
        to_query = torch.empty_like(query)
        to_key = torch.zeros(key.shape, device=key.device)  # sums over blocks, in float32
        to_value = torch.zeros(value.shape, device=value.device)
        for begin in range(0, query.shape[2], BLOCK):
            end = min(begin + BLOCK, query.shape[2])
            weights = _weights(query, key, mask, begin, end)
            given = _together(wanted[:, :, begin:end], groups)
            to_value[:, :, :end] += weights.transpose(2, 3) @ given
            slope = given @ value[:, :, :end].transpose(2, 3)
            slope = torch._softmax_backward_data(slope, weights, -1, weights.dtype)
            to_query[:, :, begin:end] = (slope @ key[:, :, :end]).view(to_query[:, :, begin:end].shape)
            to_key[:, :, :end] += slope.transpose(2, 3) @ _together(query[:, :, begin:end], groups)
        return to_query, to_key.to(key.dtype), to_value.to(value.dtype), None


def _together(values: torch.Tensor, groups: int) -> torch.Tensor:
    """Heads that share keys, one below the other: shape (batch, groups, rows, features)."""
    return values.reshape(values.shape[0], groups, -1, values.shape[-1])


def _weights(query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor | None, begin: int, end: int) -> torch.Tensor:
    """What queries `begin` to `end` give to the keys before `end`: shape (batch, groups, rows, end)."""
    batch, heads = query.shape[:2]
    scores = _together(query[:, :, begin:end], key.shape[1]) @ key[:, :, :end].transpose(2, 3)
    squares = scores.view(batch, heads, end - begin, end)
    if mask is None:
        ones = torch.ones(end - begin, end - begin, dtype=torch.bool, device=query.device)
        squares[..., begin:].masked_fill_(ones.triu(1), torch.finfo(scores.dtype).min)
    else:
        part = mask[:, :, begin:end, :end]
        hidden = part.amin(dim=(0, 1, 2)).nonzero()  # most columns are seen by all queries: there is nothing to add
        if len(hidden):
            first = int(hidden[0])
            squares[..., first:] += part[..., first:]
    return scores.softmax(dim=-1)
