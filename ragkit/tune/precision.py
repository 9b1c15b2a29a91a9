"""Numbers: where training runs, and in which type."""

from __future__ import annotations

import contextlib

import torch

from ragkit.tune.attention import register


def device() -> torch.device:
    """A GPU where PyTorch can use one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def half() -> torch.dtype:
    """bfloat16 where the processor or the GPU computes in it, else float32. Frozen weights are kept in this type."""
    if torch.cuda.is_available():
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32


def mixed(model: torch.nn.Module) -> contextlib.AbstractContextManager[object]:
    """For a model in float32, such as one whose weights all learn: matrix products in `half()`.

    Only while it trains: what is measured of it at the end is exact. A model that is in bfloat16 itself needs none of
    this, and is faster without: nothing is cast.
    """
    first = next(model.parameters())
    if half() == torch.float32 or first.dtype != torch.float32 or not model.training:
        return contextlib.nullcontext()
    return torch.autocast(first.device.type, dtype=half())


def attention(windows: bool, causal: bool = False) -> str:
    """Name of the attention that trains fastest.

    On a CPU, PyTorch's fused attention takes long in its backward pass: plain matrix products train MiniLM, which reads
    short `windows`, 2.6 times as fast (5.7 k against 2.2 k tokens a second on two cores, dropout off in both). Over a
    thousand tokens the softmax of the whole square costs more than that; a causal model gets it in blocks.
    """
    if torch.cuda.is_available():
        return "sdpa"
    if causal:
        return register()
    return "eager" if windows else "sdpa"
