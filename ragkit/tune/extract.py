"""The task extract: an encoder with a span head quotes the answer from the passages, or says that it is not there."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForQuestionAnswering
from transformers.utils import logging

from ragkit.span import MAX_TOKENS, PairEncoder, Window, read, span_tokens, tensors
from ragkit.tune.batches import steps
from ragkit.tune.dropout import share
from ragkit.tune.precision import attention, mixed
from ragkit.tune.rows import Row

PASSAGES = 2
"""Passages of a row that go into one step: one with the answer, and others drawn anew in each epoch. All five of a row
would cost two and a half times as much and show little that another epoch does not."""
KIND = "QUESTION_ANS"
"""Peft's name of the task; the head `qa_outputs` is saved with the adapter."""


@dataclass(frozen=True, slots=True)
class _Unit:
    """A row's windows, and where its answer begins and ends in each."""

    row: Row
    windows: list[Window]
    starts: list[list[int]]
    """For each window the tokens at which a right span begins."""
    ends: list[list[int]]

    @property
    def right(self) -> list[int]:
        return [place for place, starts in enumerate(self.starts) if starts]

    @property
    def length(self) -> int:
        return max(len(window.ids) for window in self.windows)


def load(folder: Path, dtype: torch.dtype, dropout: float = 0.0) -> Any:  # noqa: ANN401
    """The encoder of a folder with a new span head, which is and computes in float32 whatever the encoder does.

    `dropout` is of the layers' outputs; attention has none.
    """
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    for name in ("attention_probs_dropout_prob", "attention_dropout"):
        if hasattr(config, name):
            setattr(config, name, 0.0)
    for name in ("hidden_dropout_prob", "dropout"):
        if hasattr(config, name):
            setattr(config, name, dropout)
    logging.set_verbosity_error()  # it warns of the new head, which is the point
    torch.manual_seed(0)
    model = AutoModelForQuestionAnswering.from_pretrained(
        folder, config=config, dtype=dtype, use_safetensors=True, trust_remote_code=False,
        attn_implementation=attention(windows=True),
    )  # fmt: skip
    share(model)
    model.qa_outputs.float()
    model.qa_outputs.register_forward_pre_hook(lambda _, given: (given[0].float(),))
    return model


class Extract:
    """Marginal likelihood of all right starts and ends over every token of a row's passages (see `ragkit/span.py`)."""

    def __init__(self, model: Any, folder: Path, batch_tokens: int) -> None:  # noqa: ANN401
        self.model = model
        most = int(getattr(model.config, "max_position_embeddings", 0) or MAX_TOKENS)
        self._encoder = PairEncoder(folder, min(MAX_TOKENS, most))
        self._batch_tokens = batch_tokens
        self._units: dict[str, _Unit] = {}
        self._device = next(model.parameters()).device

    def plan(self, rows: Sequence[Row], batch: int, draw: random.Random | None) -> list[list[Any]]:
        """Steps of rows, by length."""
        units = [self._unit(row) for row in rows]
        return steps(
            [unit for unit in units if unit.windows],
            lambda _: 1,
            lambda unit: unit.length * min(PASSAGES, len(unit.windows)),
            batch,
            self._batch_tokens,
            draw,
        )

    def _unit(self, row: Row) -> _Unit:
        if row.id not in self._units:
            windows = self._encoder.windows(row.question, row.passages)
            found = [
                [
                    span_tokens(window, span.start, span.end)
                    for span in row.spans
                    if span.passage == window.passage
                ]
                for window in windows
            ]
            starts = [sorted({pair[0] for pair in pairs if pair}) for pairs in found]
            ends = [sorted({pair[1] for pair in pairs if pair}) for pairs in found]
            self._units[row.id] = _Unit(row, windows, starts, ends)
        return self._units[row.id]

    def tokens(self, batch: Any) -> int:  # noqa: ANN401
        """Tokens of as many windows as a step reads of each row, of mean length."""
        shown = [(unit, min(PASSAGES, len(unit.windows)) / len(unit.windows)) for unit in batch]
        return round(sum(share * len(window.ids) for unit, share in shown for window in unit.windows))

    def loss(self, batch: Any, draw: random.Random | None) -> tuple[torch.Tensor, int]:  # noqa: ANN401
        """Sum over rows of the mean of the start's and the end's negative log likelihood."""
        chosen = [self._choose(unit, draw) for unit in batch]
        flat = [unit.windows[place] for unit, places in zip(batch, chosen, strict=True) for place in places]
        starts, ends, readable = self.scores(flat)
        total = torch.zeros((), device=self._device)
        at = 0
        for unit, places in zip(batch, chosen, strict=True):
            block = slice(at, at + len(places))
            at += len(places)
            for scores, targets in ((starts[block], unit.starts), (ends[block], unit.ends)):
                right = torch.zeros_like(readable[block])
                for number, place in enumerate(places):
                    right[number, targets[place]] = True
                if not bool(right.any()):
                    right[:, 0] = True
                low = torch.finfo(scores.dtype).min
                everything = torch.logsumexp(scores.masked_fill(~readable[block], low).flatten(), 0)
                wanted = torch.logsumexp(scores.masked_fill(~right, low).flatten(), 0)
                total = total + 0.5 * (everything - wanted)
        return total, len(batch)

    def _choose(self, unit: _Unit, draw: random.Random | None) -> list[int]:
        """Windows of a row for this step: right ones and others; without a draw the same ones every time."""
        places = list(range(len(unit.windows)))
        if len(places) <= PASSAGES:
            return places
        draw = draw or random.Random(unit.row.id)
        right = unit.right
        right = draw.sample(right, min(len(right), max(1, PASSAGES - 1)))
        others = [place for place in places if place not in unit.right]
        # The first passages are what retrieval thinks nearest: the hardest to tell from the right one.
        hard = others[:1] if others and draw.random() < 0.5 else []
        rest = [place for place in others if place not in hard]
        drawn = hard + draw.sample(rest, min(len(rest), PASSAGES - len(right) - len(hard)))
        return (right + drawn)[:PASSAGES]

    def scores(self, windows: Sequence[Window]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Start scores, end scores and which tokens can be chosen, each of shape (windows, tokens), scores float32."""
        given = {name: torch.from_numpy(value) for name, value in tensors(windows, self._encoder.pad).items()}
        readable = torch.zeros(given["input_ids"].shape, dtype=torch.bool)
        for number, window in enumerate(windows):
            readable[number, : len(window.ids)] = torch.tensor(
                [bool(span and span[0] < span[1]) for span in window.offsets]
            )
        readable[:, 0] = True
        if getattr(self.model.config, "type_vocab_size", 0) < 2:
            del given["token_type_ids"]
        with mixed(self.model):
            output = self.model(**{name: value.to(self._device) for name, value in given.items()})
        return output.start_logits.float(), output.end_logits.float(), readable.to(self._device)

    def read(self, rows: Sequence[Row]) -> list[tuple[int, int, int, float]]:
        """For each row the best span over all its passages: (passage, start, end, margin), as `ragkit.span.read`."""
        self.model.eval()
        found = []
        with torch.no_grad():
            for row in rows:
                windows = self._unit(row).windows
                starts, ends, _ = self.scores(windows)
                cut = [(starts[n, : len(w.ids)], ends[n, : len(w.ids)]) for n, w in enumerate(windows)]
                arrays = [(np.asarray(start.cpu()), np.asarray(end.cpu())) for start, end in cut]
                found.append(read(windows, [start for start, _ in arrays], [end for _, end in arrays]))
        return found

    def probe(self, row: Row) -> torch.Tensor:
        """Start and end scores of a row's first window."""
        starts, ends, _ = self.scores(self._unit(row).windows[:1])
        return torch.stack([starts, ends])
