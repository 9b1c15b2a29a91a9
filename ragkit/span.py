"""Reading spans: a question and passages as an encoder sees them, and the best span from its scores.

All passages of a question compete: scores are normalised over every token of every passage together ("shared
normalisation", Clark and Gardner 2018, "Simple and effective multi-paragraph reading comprehension"), and the first
token of each passage stands for "not here" (Devlin et al. 2019, section 4.3). Numbers only, no model: training and
answering share it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ragkit.errors import ModelError
from ragkit.types import Reading

Scores = NDArray[np.float32]

MAX_TOKENS = 384
"""Longest window: question, passage and marks, in the encoder's tokens."""
STRIDE = 64
"""Tokens that two windows of a long passage share; fewer where windows are shorter, a sixth of their length."""
_QUESTION = 0.25
"""Share of a window that the question may take; what is longer is cut, as it would leave a passage no room."""
BATCH_TOKENS = 4096
"""Tokens, padding included, in one pass."""
MULTIPLE = 32
"""Windows are padded to a multiple of this: every new shape is prepared anew, which takes as long as reading."""
LONGEST_SPAN = 30
"""Tokens of the longest span: 99 % of SQuAD's answers are shorter."""


@dataclass(frozen=True, slots=True)
class Window:
    """One pass of the encoder: the question and as much of one passage as fits."""

    passage: int
    """Index of the passage."""
    ids: list[int]
    types: list[int]
    """0 for the question, 1 for the passage."""
    offsets: list[tuple[int, int] | None]
    """Characters of the passage that each token covers; None for tokens that are not the passage's."""


class PairEncoder:
    """Turns a question and passages into windows, by a model's own fast tokenizer."""

    def __init__(self, folder: Path, max_tokens: int = MAX_TOKENS) -> None:
        file = folder / "tokenizer.json"
        if not file.is_file():
            raise ModelError(f"{folder} holds no tokenizer.json.", "A reader needs a model with a fast tokenizer.")
        self._tokenizer = Tokenizer.from_file(str(file))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._max_tokens = max_tokens
        self.pad = int(self._tokenizer.token_to_id("[PAD]") or self._tokenizer.token_to_id("<pad>") or 0)

    def windows(self, question: str, passages: Sequence[str]) -> list[Window]:
        """Windows over all passages, in their order; a passage that is too long for one gets several."""
        asked = self._tokenizer.encode(question, add_special_tokens=False)
        most = int(self._max_tokens * _QUESTION)
        if len(asked.ids) > most:
            question = question[: asked.offsets[most - 1][1]]
        stride = min(STRIDE, self._max_tokens // 6)
        self._tokenizer.enable_truncation(self._max_tokens, stride=stride, strategy="only_second")
        try:
            encodings = self._tokenizer.encode_batch([(question, passage) for passage in passages])
        finally:
            self._tokenizer.no_truncation()
        return [
            self._window(number, part)
            for number, encoding in enumerate(encodings)
            for part in (encoding, *encoding.overflowing)
        ]

    def _window(self, passage: int, encoding: Any) -> Window:  # noqa: ANN401 - tokenizers.Encoding
        own = encoding.sequence_ids
        offsets = [span if part == 1 else None for part, span in zip(own, encoding.offsets, strict=True)]
        types = [1 if part == 1 else 0 for part in own]
        return Window(passage, encoding.ids, encoding.type_ids or types, offsets)


def batches(windows: Sequence[Window]) -> list[list[Window]]:
    """The windows in their order, as many at once as BATCH_TOKENS allow."""
    found: list[list[Window]] = []
    longest = 0
    for window in windows:
        longest = max(longest, len(window.ids))
        if not found or (len(found[-1]) + 1) * longest > BATCH_TOKENS:
            found.append([])
            longest = len(window.ids)
        found[-1].append(window)
    return found


def tensors(windows: Sequence[Window], pad: int) -> dict[str, NDArray[np.int64]]:
    """Windows as padded int64 arrays of shape (windows, tokens), by the names that encoders give their inputs."""
    longest = max(len(window.ids) for window in windows)
    shape = (len(windows), -(-longest // MULTIPLE) * MULTIPLE)
    ids = np.full(shape, pad, dtype=np.int64)
    mask, types = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for row, window in enumerate(windows):
        length = len(window.ids)
        ids[row, :length] = window.ids
        mask[row, :length] = 1
        types[row, :length] = window.types
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


def span_tokens(window: Window, start: int, end: int) -> tuple[int, int] | None:
    """First and last token of the characters `start` to `end` of the passage; None where the window lacks them."""
    first = last = None
    for place, offset in enumerate(window.offsets):
        if offset is None or offset[0] == offset[1]:
            continue
        if first is None and offset[0] <= start < offset[1]:
            first = place
        if offset[0] < end <= offset[1]:
            last = place
    return (first, last) if first is not None and last is not None and first <= last else None


@dataclass(frozen=True, slots=True)
class Calibration:
    """From a margin to a probability: sigmoid(slope * margin + offset), fitted on held-out questions (Platt 1999)."""

    slope: float = 1.0
    offset: float = 0.0
    threshold: float = 0.5
    """Below this confidence the reader says that the passages do not say."""

    @classmethod
    def of(cls, card: Mapping[str, Any]) -> Self:
        """The calibration that an adapter's card holds; the plain one if it holds none."""
        kept = card.get("calibration", {})
        return cls(**{name: float(kept[name]) for name in ("slope", "offset", "threshold") if name in kept})

    def confidence(self, margin: float) -> float:
        """Probability, 0 to 1, that the span is an answer."""
        return 1 / (1 + math.exp(-max(-30.0, min(30.0, self.slope * margin + self.offset))))


def read(windows: Sequence[Window], starts: Sequence[Scores], ends: Sequence[Scores]) -> tuple[int, int, int, float]:
    """The best span over all windows.

    Args:
        windows: what was read.
        starts: for each window, a score for each of its tokens, shape (tokens,); so are `ends`.

    Returns (passage, start, end, margin): characters of the passage, and by how much the span's score exceeds that of
    "not here", in logits. Passage -1 and margin -inf if no window holds a token of a passage.
    """
    best, chosen = -math.inf, (-1, 0, 0)
    for window, start, end in zip(windows, starts, ends, strict=True):
        places = np.array([place for place, offset in enumerate(window.offsets) if offset and offset[0] < offset[1]])
        if not len(places):
            continue
        pairs = start[places][:, None] + end[places][None, :]
        pairs = np.where(np.triu(np.tri(len(places), k=LONGEST_SPAN - 1)) > 0, pairs, -np.inf)
        first, last = np.unravel_index(int(np.argmax(pairs)), pairs.shape)
        if pairs[first, last] > best:
            best = float(pairs[first, last])
            begin, stop = window.offsets[places[first]], window.offsets[places[last]]
            assert begin is not None
            assert stop is not None
            chosen = (window.passage, begin[0], stop[1])
    if chosen[0] < 0:
        return (*chosen, -math.inf)
    null = _log_sum([float(start[0]) for start in starts]) + _log_sum([float(end[0]) for end in ends])
    return (*chosen, best - null)


def reading(passages: Sequence[str], found: tuple[int, int, int, float], calibration: Calibration) -> Reading | None:
    """What was read, as a value; None if there was nothing to read."""
    passage, start, end, margin = found
    if passage < 0:
        return None
    confidence = calibration.confidence(margin)
    return Reading(
        passage=passage,
        start=start,
        end=end,
        text=passages[passage][start:end],
        margin=margin,
        confidence=confidence,
        answered=confidence >= calibration.threshold,
    )


def _log_sum(values: Sequence[float]) -> float:
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values))
