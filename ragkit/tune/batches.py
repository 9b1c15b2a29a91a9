"""Batches of like length: less padding, with the order of the rows still drawn at random."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

Unit = TypeVar("Unit")

_WINDOW = 8
"""Steps whose units are sorted together by length."""


ROUNDING = 32
"""Padded lengths are multiples of this. Each new shape costs the matrix library a kernel and memory that it keeps:
with lengths as they fell, training MiniLM grew by 17 MB a step."""


def padded(length: int) -> int:
    """The length to which rows of at most this length are padded."""
    return -(-length // ROUNDING) * ROUNDING


def steps(
    units: Sequence[Unit],
    rows: Callable[[Unit], int],
    length: Callable[[Unit], int],
    batch: int,
    batch_tokens: int,
    draw: random.Random | None,
) -> list[list[list[Unit]]]:
    """Steps of about `batch` rows, each cut into batches of at most `batch_tokens` padded tokens.

    Args:
        units: what stays together: rows, or rows that share a prompt's beginning.
        rows, length: how many rows a unit has, and its tokens.
        draw: shuffles; None keeps the units in order of length.
    """
    order = list(range(len(units)))
    if draw is not None:
        draw.shuffle(order)
    windows = _cut(order, lambda place: rows(units[place]), batch * _WINDOW) if draw is not None else [order]
    made: list[list[list[Unit]]] = []
    for window in windows:
        window = sorted(window, key=lambda place: (length(units[place]), place))
        for step in _cut(window, lambda place: rows(units[place]), batch):
            made.append(_batches([units[place] for place in step], length, batch_tokens))
    if draw is not None:
        draw.shuffle(made)
    return made


def _cut(places: Sequence[int], weight: Callable[[int], int], most: int) -> list[list[int]]:
    """Runs of places whose weights add up to at least `most`, the last one less."""
    runs: list[list[int]] = [[]]
    total = 0
    for place in places:
        if total >= most:
            runs.append([])
            total = 0
        runs[-1].append(place)
        total += weight(place)
    return [run for run in runs if run]


def _batches(units: Sequence[Unit], length: Callable[[Unit], int], most: int) -> list[list[Unit]]:
    """Units in order of length, cut so that count times the longest stays within `most`; one alone may exceed it."""
    made: list[list[Unit]] = []
    for unit in units:
        if made and padded(length(unit)) * (len(made[-1]) + 1) <= most:
            made[-1].append(unit)
        else:
            made.append([unit])
    return made
