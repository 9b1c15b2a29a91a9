"""Every demonstration selector: at most n of the bank, each once, the same every time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragkit.catalog import SELECTORS
from ragkit.types import Demonstration

WORDS = ["cats", "dogs", "ships", "stars", "bread", "salt", "rain", "trains"]


def embed(texts):
    """Bags of known words, length 1: similarity that can be worked out by hand."""
    table = np.array([[text.split().count(word) for word in WORDS] for text in texts], dtype=np.float32) + 1e-3
    return (table / np.linalg.norm(table, axis=1, keepdims=True)).astype(np.float32)


BANK = [
    Demonstration(question, str(place))
    for place, question in enumerate(
        ["cats", "cats cats", "dogs", "cats dogs", "ships", "stars bread", "salt", "rain trains"]
    )
]


def ask(name, question="cats", bank=BANK, n=3, seed=0):
    return SELECTORS.load(name)(embed, seed).select(question, bank, n)


@pytest.mark.parametrize("name", SELECTORS.names)
class TestEverySelector:
    @given(n=st.integers(-1, 12), size=st.integers(0, 8), question=st.sampled_from(["cats", "dogs ships", "", "zebra"]))
    @settings(max_examples=60, deadline=None)
    def test_at_most_n_each_once(self, name, n, size, question):
        chosen = ask(name, question, BANK[:size], n)
        assert len(chosen) == min(max(n, 0), size)
        assert len(set(chosen)) == len(chosen)
        assert set(chosen) <= set(BANK[:size])

    def test_deterministic(self, name):
        assert ask(name) == ask(name)

    def test_one_instance_serves_many_questions_and_banks(self, name):
        selector = SELECTORS.load(name)(embed, 1)
        first = selector.select("cats", BANK, 3)
        selector.select("salt", BANK[3:], 2)
        assert selector.select("cats", BANK, 3) == first


def test_first_keeps_the_banks_order():
    assert ask("first") == BANK[:3]


def test_random_depends_on_the_seed_and_not_on_the_question():
    assert ask("random", "cats") == ask("random", "salt")
    assert len({tuple(ask("random", seed=seed)) for seed in range(20)}) > 10


def test_nearest_puts_the_nearest_last():
    assert [one.question for one in ask("nearest")] == ["cats dogs", "cats cats", "cats"]


def test_diverse_prefers_what_is_new():
    bank = [Demonstration(question, "") for question in ("cats", "cats cats", "dogs", "ships")]
    assert {one.question for one in ask("nearest", "cats cats dogs ships", bank)} == {"cats", "cats cats", "dogs"}
    assert {one.question for one in ask("diverse", "cats cats dogs ships", bank)} == {"cats", "dogs", "ships"}


def test_the_bank_is_embedded_once():
    calls = []
    selector = SELECTORS.load("nearest")(lambda texts: calls.append(len(texts)) or embed(texts), 0)
    for question in ("cats", "dogs", "salt"):
        selector.select(question, BANK, 2)
    assert calls == [len(BANK), 1, 1, 1]
