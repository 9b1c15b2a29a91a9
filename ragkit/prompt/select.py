"""Demonstration selectors: which worked examples a few-shot prompt shows, and in which order.

The last example stands closest to the question and weighs most with small models, so the selectors that know the
question put the most useful last; when a prompt has to be shortened, examples go from the first of that order. The
order in which they are then shown is a setting of its own: `arrangement`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy as np

from ragkit.errors import SettingsError
from ragkit.types import Demonstration, Vectors

Embed = Callable[[Sequence[str]], Vectors]
Arrange = Callable[[Sequence[Demonstration]], list[Demonstration]]
"""Puts chosen examples into the order in which they are shown."""

ORDERS = {
    "as-chosen": "As the selector puts them.",
    "nearest-last": "The most similar to the question stands last, next to it.",
    "nearest-first": "The most similar to the question comes first.",
    "bank": "As they stand in the bank.",
    "random": "A seeded shuffle, the same for every question.",
}
"""Orders of the demonstrations and what they are."""

_DIVERSITY = 0.5
"""Weight of relevance against novelty in MMR (Carbonell and Goldstein 1998 call it lambda)."""


class _Selector:
    """What all selectors share; vectors of the bank's questions are kept, so that a bank is embedded once."""

    def __init__(self, embed: Embed, seed: int = 0) -> None:
        self._embed = embed
        self._seed = seed
        self._known: dict[str, np.ndarray] = {}

    def _vectors(self, texts: Sequence[str]) -> Vectors:
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known.update(zip(new, self._embed(new), strict=True))
        return np.stack([self._known[text] for text in texts])

    def _similarity(self, question: str, bank: Sequence[Demonstration]) -> tuple[np.ndarray, Vectors]:
        """Cosine of each example's question to the question, shape (len(bank),); and the examples' vectors."""
        vectors = self._vectors([example.question for example in bank])
        return vectors @ self._embed([question])[0], vectors


class FirstSelector(_Selector):
    """The first n of the bank, in its order."""

    def select(self, question: str, bank: Sequence[Demonstration], n: int) -> list[Demonstration]:
        """At most n examples, the same for every question."""
        return list(bank[: max(n, 0)])


class RandomSelector(_Selector):
    """A seeded draw that depends on the seed and the bank alone, so that every question gets the same examples."""

    def select(self, question: str, bank: Sequence[Demonstration], n: int) -> list[Demonstration]:
        """At most n different examples, in the order drawn."""
        return random.Random(self._seed).sample(list(bank), min(max(n, 0), len(bank)))


class NearestSelector(_Selector):
    """The examples whose questions are nearest to the question (Liu et al. 2022, KATE), nearest last."""

    def select(self, question: str, bank: Sequence[Demonstration], n: int) -> list[Demonstration]:
        """At most n examples; equals keep the bank's order."""
        if not bank or n <= 0:
            return []
        scores, _ = self._similarity(question, bank)
        best = np.argsort(-scores, kind="stable")[:n]
        return [bank[place] for place in reversed(best.tolist())]


class DiverseSelector(_Selector):
    """Near to the question and unlike each other (maximal marginal relevance), nearest last."""

    def select(self, question: str, bank: Sequence[Demonstration], n: int) -> list[Demonstration]:
        """At most n examples."""
        if not bank or n <= 0:
            return []
        scores, vectors = self._similarity(question, bank)
        chosen: list[int] = []
        closest = np.zeros(len(bank), dtype=np.float32)
        while len(chosen) < min(n, len(bank)):
            value = _DIVERSITY * scores - (1 - _DIVERSITY) * closest if chosen else scores.copy()
            value[chosen] = -np.inf
            chosen.append(int(np.argmax(value)))
            closest = np.max(vectors @ vectors[chosen].T, axis=1)
        return [bank[place] for place in sorted(chosen, key=lambda place: scores[place])]


class BalancedSelector(_Selector):
    """The same number for each distinct answer, the nearest to the question within an answer.

    It keeps a classifier from copying the answer that its examples show most (the majority label bias of Zhao et al.
    2021). Counts differ by one where n is no multiple of the number of answers, by more where the bank has too few of
    one. Where all answers differ it chooses as `nearest` does.
    """

    def select(self, question: str, bank: Sequence[Demonstration], n: int) -> list[Demonstration]:
        """At most n examples in rounds of one an answer: the round of the nearest ones last, the nearest last in it."""
        if not bank or n <= 0:
            return []
        scores, _ = self._similarity(question, bank)
        groups: dict[str, list[int]] = {}
        for place in np.argsort(-scores, kind="stable").tolist():
            groups.setdefault(label(bank[place]), []).append(place)
        rounds = sorted(
            (number, -scores[place], place) for group in groups.values() for number, place in enumerate(group)
        )
        return [bank[place] for _, _, place in reversed(rounds[:n])]


def label(example: Demonstration) -> str:
    """The answer as a class: case and space around it do not make another one."""
    return " ".join(example.answer.casefold().split())


def arrangement(
    order: str, question: str, chosen: Sequence[Demonstration], bank: Sequence[Demonstration], embed: Embed, seed: int
) -> Arrange:
    """A function that puts any part of the chosen examples into an order of ORDERS.

    What is shown stays in step when a prompt is shortened: the order is settled once, for all chosen examples.
    Raises SettingsError for an unknown order.
    """
    if order not in ORDERS:
        raise SettingsError(f"There is no order {order!r} of demonstrations.", f"There are: {', '.join(ORDERS)}.")
    if order == "as-chosen" or not chosen:
        return list
    if order == "bank":
        rank = {example: place for place, example in reversed(list(enumerate(bank)))}
    elif order == "random":
        drawn = random.Random(seed).sample(range(len(bank)), len(bank))
        rank = dict(zip(bank, drawn, strict=True))
    else:
        nearness = embed([example.question for example in chosen]) @ embed([question])[0]
        places = np.argsort(nearness if order == "nearest-last" else -nearness, kind="stable").tolist()
        rank = {chosen[place]: position for position, place in enumerate(places)}
    return lambda shown: sorted(shown, key=rank.__getitem__)
