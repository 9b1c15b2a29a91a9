"""The task generate: a language model learns to write the reply to a prompt.

The loss is on the reply only, and so are the logits: a vocabulary of 49,000 words over a prompt of a thousand tokens
would cost as much as a quarter of the model. Rows whose prompts begin alike (questions on the same passages) become one
tree: the shared beginning is computed once, and each row's own tokens see it and themselves, as if it stood alone. The
loss and the gradients are those of the rows one by one (a test compares them).
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM
from transformers.utils import logging

from ragkit.tune.batches import padded, steps
from ragkit.tune.precision import attention, mixed
from ragkit.tune.rows import Reply, Row

SHARED_LEAST = 64
"""Tokens that prompts must begin with alike to become a tree."""
TREE_MOST = 2048
"""Tokens of the largest tree; attention's memory grows with the square."""
_IGNORED = -100


@dataclass(frozen=True, slots=True)
class Tree:
    """Rows with one beginning: `trunk`, then each row's own tokens."""

    trunk: tuple[int, ...]
    branches: tuple[Reply, ...]
    """Rows without the trunk."""

    @property
    def length(self) -> int:
        """Tokens in all."""
        return len(self.trunk) + sum(len(each.prompt) + len(each.reply) for each in self.branches)


def load(folder: Path, dtype: torch.dtype) -> Any:  # noqa: ANN401
    """The language model of a folder, without dropout."""
    logging.disable_progress_bar()
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    for name in ("attention_dropout", "hidden_dropout", "dropout", "dropout_rate", "resid_pdrop", "embd_pdrop",
                 "attn_pdrop"):  # fmt: skip
        if hasattr(config, name):
            setattr(config, name, 0.0)
    kind: Any = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    special = not getattr(kind._model_mapping.get(type(config), None), "_supports_sdpa", False)
    # Gemma 2, for one, caps its scores: no other attention than its own does that.
    way = "eager" if special else attention(windows=False, causal=not config.is_encoder_decoder)
    return kind.from_pretrained(
        folder, config=config, dtype=dtype, use_safetensors=True, trust_remote_code=False, attn_implementation=way
    )


def kind(model: Any) -> str:  # noqa: ANN401
    """Peft's name of the task."""
    return "SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM"


class Generate:
    """Negative log likelihood of the reply's tokens.

    Args:
        model: causal or seq2seq, wrapped by a method.
        tokens: each row in tokens, by its id.
        batch_tokens: padded tokens in one pass.
        share: whether rows that begin alike are computed together; causal models only.
    """

    def __init__(self, model: Any, tokens: Mapping[str, Reply], batch_tokens: int, share: bool = True) -> None:  # noqa: ANN401
        self.model = model
        self._tokens = tokens
        self._batch_tokens = batch_tokens
        self._seq2seq = bool(model.config.is_encoder_decoder)
        plain = model.get_base_model() if hasattr(model, "get_base_model") else model
        accepted = inspect.signature(plain.forward).parameters
        self._chooses = "logits_to_keep" in accepted
        self._share = share and not self._seq2seq and "position_ids" in accepted
        self._device = next(model.parameters()).device
        self._pad = int(model.config.pad_token_id or 0)

    def plan(self, rows: Sequence[Row], batch: int, draw: random.Random | None) -> list[list[Any]]:
        """Steps of trees, by length."""
        return steps(
            self._trees(rows, draw),
            lambda tree: len(tree.branches),
            lambda tree: tree.length,
            batch,
            self._batch_tokens,
            draw,
        )

    def _trees(self, rows: Sequence[Row], draw: random.Random | None) -> list[Tree]:
        groups: dict[tuple[Any, ...], list[Reply]] = {}
        for row in rows:
            key = (row.passages,) if self._share and row.passages else (row.id,)
            groups.setdefault(key, []).append(self._tokens[row.id])
        trees: list[Tree] = []
        for group in groups.values():
            if draw is not None:
                draw.shuffle(group)
            shared = _common([each.prompt for each in group]) if len(group) > 1 else 0
            trees += _grown(group, shared) if shared >= SHARED_LEAST else [Tree((), (each,)) for each in group]
        return trees

    def tokens(self, batch: Any) -> int:  # noqa: ANN401
        """Tokens of a batch, a shared beginning counted once."""
        return sum(tree.length for tree in batch)

    def loss(self, batch: Any, draw: random.Random | None) -> tuple[torch.Tensor, int]:  # noqa: ANN401, ARG002
        """Sum of the losses over the replies' tokens."""
        if self._seq2seq:
            return self._seq2seq_loss([branch for tree in batch for branch in tree.branches])
        laid = [_laid(tree) for tree in batch]
        longest = padded(max(len(each.ids) for each in laid))
        ids = torch.full((len(laid), longest), self._pad)
        places = torch.zeros((len(laid), longest), dtype=torch.long)
        for number, each in enumerate(laid):
            ids[number, : len(each.ids)] = torch.tensor(each.ids)
            places[number, : len(each.ids)] = torch.tensor(each.positions)
        inputs: dict[str, Any] = {"input_ids": ids.to(self._device)}
        if any(each.branched for each in laid):
            mask = torch.zeros((len(laid), 1, longest, longest), dtype=torch.bool)
            for number, each in enumerate(laid):
                mask[number, 0, : len(each.ids), : len(each.ids)] = each.mask()
                mask[number, 0, len(each.ids) :, 0] = True  # padding must see something, or its softmax is no number
            first = next(self.model.parameters())
            seen = torch.zeros(mask.shape, dtype=first.dtype)
            inputs["attention_mask"] = seen.masked_fill(~mask, torch.finfo(seen.dtype).min).to(self._device)
            inputs["position_ids"] = places.to(self._device)
        elif any(len(each.ids) < longest for each in laid):
            mask = torch.zeros((len(laid), longest), dtype=torch.long)
            for number, each in enumerate(laid):
                mask[number, : len(each.ids)] = 1
            inputs["attention_mask"] = mask.to(self._device)
        # A token is predicted by the one that it follows: for a branch's first own token that is the trunk's last.
        wanted = [(number, source, target) for number, each in enumerate(laid) for source, target in each.targets]
        kept = sorted({source for _, source, _ in wanted})
        if self._chooses:
            inputs["logits_to_keep"] = torch.tensor(kept, device=self._device)
        with mixed(self.model):
            logits = self.model(**inputs, use_cache=False).logits
        column = {source: place for place, source in enumerate(kept)} if self._chooses else {s: s for s in kept}
        rows = torch.tensor([number for number, _, _ in wanted], device=self._device)
        columns = torch.tensor([column[source] for _, source, _ in wanted], device=self._device)
        targets = torch.tensor([target for _, _, target in wanted], device=self._device)
        return cross_entropy(logits[rows, columns].float(), targets, reduction="sum"), len(wanted)

    def probe(self, row: Row) -> torch.Tensor:
        """Logits of the first token of the reply."""
        tokens = self._tokens[row.id]
        inputs = {"input_ids": torch.tensor([tokens.prompt], device=self._device)}
        if self._seq2seq:
            inputs["labels"] = torch.tensor([tokens.reply], device=self._device)
        return self.model(**inputs).logits[0, 0 if self._seq2seq else -1]

    def _seq2seq_loss(self, rows: Sequence[Reply]) -> tuple[torch.Tensor, int]:
        ids, mask = _padded([row.prompt for row in rows], self._pad)
        labels, _ = _padded([row.reply for row in rows], _IGNORED)
        with mixed(self.model):
            logits = self.model(
                input_ids=ids.to(self._device), attention_mask=mask.to(self._device), labels=labels.to(self._device)
            ).logits
        flat = labels.flatten().to(self._device)
        loss = cross_entropy(logits.flatten(0, 1).float(), flat, reduction="sum", ignore_index=_IGNORED)
        return loss, int((flat != _IGNORED).sum())


@dataclass(frozen=True, slots=True)
class _Laid:
    """A tree as one sequence."""

    ids: list[int]
    positions: list[int]
    """A token's place in its own row."""
    owners: list[int]
    """0 for the trunk, else the branch's number, from 1."""
    targets: list[tuple[int, int]]
    """(place of the token that predicts, token that is to be predicted)."""
    branched: bool

    def mask(self) -> torch.Tensor:
        """Shape (tokens, tokens): True where a token of the row may look at one of the column."""
        owner = torch.tensor(self.owners)
        own = (owner[:, None] == owner[None, :]) | (owner[None, :] == 0)
        return own & torch.ones_like(own).tril()


def _laid(tree: Tree) -> _Laid:
    ids, positions = list(tree.trunk), list(range(len(tree.trunk)))
    owners, targets = [0] * len(tree.trunk), []
    for number, branch in enumerate(tree.branches, start=1):
        own = [*branch.prompt, *branch.reply]
        begin = len(ids) + len(branch.prompt)  # of the reply
        for place, token in enumerate(branch.reply, start=begin):
            alone = place == begin and not branch.prompt
            targets.append((len(tree.trunk) - 1 if alone else place - 1, token))
        ids += own
        positions += range(len(tree.trunk), len(tree.trunk) + len(own))
        owners += [number] * len(own)
    return _Laid(ids, positions, owners, targets, branched=len(tree.branches) > 1)


def _grown(group: Sequence[Reply], shared: int) -> list[Tree]:
    """Trees over rows that begin alike, none longer than TREE_MOST unless one row is."""
    trunk = tuple(group[0].prompt[:shared])
    trees: list[Tree] = []
    for row in group:
        branch = Reply(row.prompt[shared:], row.reply)
        more = len(branch.prompt) + len(branch.reply)
        if trees and trees[-1].length + more <= TREE_MOST:
            trees[-1] = Tree(trunk, (*trees[-1].branches, branch))
        else:
            trees.append(Tree(trunk, (branch,)))
    return trees


def _common(prompts: Sequence[Sequence[int]]) -> int:
    """Tokens that all prompts begin with; at least one of each is left over, so that each has its own last token."""
    least, most = min(prompts), max(prompts)
    shared = 0
    while shared < min(len(least), len(most)) and least[shared] == most[shared]:
        shared += 1
    return min(shared, *(len(prompt) - 1 for prompt in prompts))


def _padded(rows: Sequence[Sequence[int]], fill: int) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(len(row) for row in rows)
    values = torch.full((len(rows), longest), fill)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for number, row in enumerate(rows):
        values[number, : len(row)] = torch.tensor(row, dtype=torch.long)
        mask[number, : len(row)] = 1
    return values, mask
