"""Attention in blocks: the results and gradients of PyTorch's own, in each of the shapes that models ask for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import Gemma2Config, Gemma2ForCausalLM

from ragkit.tune import attention, generate

TOKENS = 150


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "BLOCK", 64)


def inputs(heads: int = 6, groups: int = 2, batch: int = 2) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(0)
    shapes = [(batch, heads, TOKENS, 8), (batch, groups, TOKENS, 8), (batch, groups, TOKENS, 8)]
    return tuple(torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes)


def causal() -> torch.Tensor:
    return torch.ones(TOKENS, TOKENS, dtype=torch.bool).tril()


def tree() -> torch.Tensor:
    """Two branches on a trunk of 70 tokens: the second sees the trunk and itself."""
    seen = causal()
    seen[110:, 70:110] = False
    return seen.expand(2, 1, -1, -1)


def padded() -> torch.Tensor:
    """The second row is shorter; its padding, which nobody reads, sees itself."""
    seen = causal().repeat(2, 1, 1, 1)
    seen[1, :, :, 120:] = False
    return seen | torch.eye(TOKENS, dtype=torch.bool)


MASKS = {"none": lambda: None, "tree": tree, "padded": padded}


def layer(is_causal: bool = True) -> torch.nn.Module:
    made = torch.nn.Module()
    made.is_causal, made.num_key_value_groups = is_causal, 3
    return made


def expected(query, key, value, seen, scale=None):
    """PyTorch's, with the heads of a group given the same keys; as transformers wants it."""
    key, value = (each.repeat_interleave(query.shape[1] // each.shape[1], dim=1) for each in (key, value))
    found = scaled_dot_product_attention(query, key, value, causal() if seen is None else seen, scale=scale)
    return found.transpose(1, 2)


@pytest.mark.parametrize("scale", [None, 0.2])
@pytest.mark.parametrize("additive", [False, True])
@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("name", MASKS)
def test_results_and_gradients_are_those_of_pytorch(
    name: str, groups: int, additive: bool, scale: float | None
) -> None:
    given, seen = inputs(groups=groups), MASKS[name]()
    mask = seen
    if additive and seen is not None:
        mask = torch.zeros(seen.shape, dtype=torch.float64).masked_fill_(~seen, torch.finfo(torch.float64).min)
    found, _ = attention.forward(layer(), *given, mask, scaling=scale)
    weight = torch.randn(found.shape, dtype=found.dtype)
    gradients = torch.autograd.grad((found * weight).sum(), given)
    wanted = expected(*given, seen, scale)
    for one, two in zip(gradients, torch.autograd.grad((wanted * weight).sum(), given), strict=True):
        assert torch.allclose(one, two, atol=1e-5)  # keys and values add up in float32
    assert torch.allclose(found, wanted, atol=1e-9)


@pytest.mark.parametrize("more", [{"is_causal": False}, {"unheard_of": 1}, {"dropout": 1e-12}])
def test_what_it_does_not_do_goes_to_pytorch(more: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention._Blocks, "apply", lambda *_: pytest.fail("it was computed in blocks"))
    given = inputs()
    found, _ = attention.forward(layer(is_causal="is_causal" not in more), *given, None, **more)
    wanted = expected(*given, None if "is_causal" not in more else torch.ones(TOKENS, TOKENS, dtype=torch.bool))
    assert torch.allclose(found, wanted, atol=1e-6)


def test_keys_of_another_length_go_to_pytorch() -> None:
    query, key, value = inputs()
    found, _ = attention.forward(layer(), query[:, :, -1:], key, value, None)
    assert torch.allclose(found, expected(query, key, value, None)[:, -1:], atol=1e-9)


def test_a_model_whose_attention_is_its_own_keeps_it(tmp_path: Path) -> None:
    config = Gemma2Config(
        vocab_size=50, hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, sliding_window=8, attn_logit_softcapping=2.0,
    )  # fmt: skip
    plain = Gemma2ForCausalLM(config)
    plain.save_pretrained(tmp_path)
    model = generate.load(tmp_path, torch.float32)
    tokens = torch.arange(40)[None]
    assert model.config._attn_implementation == "eager"
    assert torch.allclose(model(tokens).logits, plain(tokens).logits, atol=1e-5)


def test_under_autocast_the_types_agree_forwards_and_backwards() -> None:
    query, key, value = (each.detach().float().requires_grad_() for each in inputs())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, _ = attention.forward(layer(), query, key, value.bfloat16(), None)
    found.float().sum().backward()
    assert found.dtype == torch.bfloat16
    assert torch.allclose(found.double(), expected(query, key, value, None).double(), atol=0.05)
    assert query.grad is not None
    assert query.grad.dtype == torch.float32
