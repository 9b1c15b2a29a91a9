"""Packing: as much as fits, the least useful goes first, and what went is reported."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragkit.errors import PromptTooLong
from ragkit.generate.echo import EchoGenerator
from ragkit.prompt.pack import SPECIAL_TOKENS, pack
from ragkit.prompt.template import Template
from ragkit.types import Demonstration, Hit

TEMPLATE = Template(
    "t",
    "s",
    "w",
    "{passages}{demonstrations}Ask {question}",
    passage="P {text}\n",
    demonstration="D {question} {answer}\n",
)


class Counting(EchoGenerator):
    """The engine without a model, with a context of any size, that notes how often it counts."""

    def __init__(self, context: int) -> None:
        super().__init__()
        self.context_tokens = context
        self.counts = 0

    def count_tokens(self, text: str) -> int:
        self.counts += 1
        return super().count_tokens(text)


def hits(*lengths: int) -> list[Hit]:
    return [Hit(rank, 1.0, rank, "d", 1, "1", 0, 1, "w " * length) for rank, length in enumerate(lengths, start=1)]


EXAMPLES = [Demonstration("one", "1"), Demonstration("two", "2")]
FIXED = 2  # "Ask why"


def room(tokens: int, max_tokens: int = 10) -> Counting:
    return Counting(tokens + max_tokens + SPECIAL_TOKENS)


def test_everything_fits_with_one_count():
    engine = room(FIXED + 3 * 6 + 2 * 3)
    prompt = pack(TEMPLATE, "why", hits(5, 5, 5), EXAMPLES, engine, 10)
    assert (len(prompt.hits), len(prompt.demonstrations), prompt.dropped) == (3, 2, ())
    assert engine.counts == 1


@pytest.mark.parametrize(
    ("tokens", "ranks", "examples"),
    [
        (FIXED + 3 * 6 + 2 * 3 - 1, [1, 2], ["one", "two"]),
        (FIXED + 2 * 6 + 2 * 3 - 1, [1], ["one", "two"]),
        (FIXED + 6 + 2 * 3 - 1, [1], ["two"]),
        (FIXED + 6, [1], []),
        (FIXED + 5, [], []),
        (FIXED, [], []),
    ],
)
def test_passages_go_from_the_lowest_rank_up_then_examples(tokens, ranks, examples):
    prompt = pack(TEMPLATE, "why", hits(5, 5, 5), EXAMPLES, room(tokens), 10)
    assert [hit.rank for hit in prompt.hits] == ranks
    assert [hit.rank for hit in prompt.dropped] == [rank for rank in (1, 2, 3) if rank not in ranks]
    assert [example.question for example in prompt.demonstrations] == examples


def test_a_question_that_does_not_fit_alone_is_refused_with_numbers():
    with pytest.raises(PromptTooLong, match=r"101 tokens; the model reads 50, of which 10 .* Ask a shorter question"):
        pack(TEMPLATE, "why " * 100, hits(5), [], Counting(50), 10)


@given(st.lists(st.integers(0, 30), max_size=12), st.integers(0, 3), st.integers(2, 150))
@settings(max_examples=200, deadline=None)
def test_the_largest_prompt_that_fits_is_found_with_few_counts(lengths, examples, tokens):
    engine = room(tokens)
    found = hits(*lengths)
    bank = (EXAMPLES * 2)[:examples]
    prompt = pack(TEMPLATE, "why", found, bank, engine, 10)
    count = EchoGenerator().count_tokens
    assert count(prompt.text) <= tokens
    assert [*prompt.hits, *prompt.dropped] == found
    assert engine.counts <= 2 + (len(found) + examples + 1).bit_length()
    if prompt.dropped and len(prompt.hits) > 0:
        more = TEMPLATE.render("why", found[: len(prompt.hits) + 1], bank)
        assert count(more.text) > tokens
