"""From answers to what is learnt: replies, spans and the split."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.tune.rows import Row
from ragkit.tune.targets import chance, occurrences, reply, spans, split
from ragkit.types import Hit


class TestReplies:
    @pytest.mark.parametrize(
        ("answer", "number", "expected"),
        [
            ("Denver Broncos", 2, "Denver Broncos [2]."),
            ("the U.S.", 1, "the U.S. [1]."),
            ("It is painted blue.", 3, "It is painted blue [3]."),
            ("Denver Broncos", None, "Denver Broncos."),
            ("Is it so?", None, "Is it so?"),
            ("two\n lines", 1, "two lines [1]."),
        ],
    )
    def test_are_the_answer_and_its_mark(self, answer, number, expected):
        assert reply(answer, number) == expected


class TestSpans:
    @pytest.mark.parametrize(
        ("text", "answers", "expected"),
        [
            ("The cat, the category and the CAT.", ["cat"], [(4, 7)]),
            ("A CAT here.", ["cat"], [(2, 5)]),
            ("In May it may.", ["May"], [(3, 6)]),
            ("five  \nmiles", ["five miles"], [(0, 12)]),
            ("costs $5 (five)", ["$5", "(five)"], [(6, 8), (9, 15)]),
            ("1990s", ["1990"], []),
            ("anything", [" ", ""], []),
        ],
    )
    def test_are_whole_words(self, text, answers, expected):
        assert occurrences(text, answers) == expected

    @given(st.lists(st.sampled_from(["ab", "b", "a b", "(a)", "é"]), max_size=12), st.sampled_from(["b", "a b", "(a)"]))
    def test_are_found_wherever_an_answer_was_put(self, words, answer):
        text = " | ".join([*words, answer])
        found = occurrences(text, [answer])
        assert (len(text) - len(answer), len(text)) in found
        assert all(text[start:end] == answer for start, end in found)

    def test_lie_in_the_gold_passage_and_in_what_overlaps_it(self):
        text = "one two red four five red seven"
        whole = [("a", 0, 17), ("a", 8, 31), ("b", 0, 31)]
        hits = [
            Hit(n, 1.0, n, doc, 1, "1", start, end, text[start:end]) for n, (doc, start, end) in enumerate(whole, 1)
        ]
        assert [(span.passage, span.start) for span in spans(hits, 0, ["red"])] == [(0, 8), (1, 0)]


class TestSplit:
    @given(
        sizes=st.lists(st.integers(1, 9), min_size=2, max_size=12), share=st.floats(0.01, 1.0), seed=st.integers(0, 9)
    )
    def test_keeps_documents_whole_and_both_sides_filled(self, sizes, share, seed):
        rows = [Row(f"{g}-{n}", str(g), "?", "answer", "", "") for g, size in enumerate(sizes) for n in range(size)]
        train, held, warning = split(rows, share, seed)
        assert warning == ""
        assert train
        assert held
        assert not {row.group for row in train} & {row.group for row in held}
        assert sorted([*train, *held], key=rows.index) == rows
        assert split(rows, share, seed) == (train, held, "")

    def test_chances_are_even_and_depend_on_what_is_named(self):
        drawn = [chance(0, str(number)) for number in range(1000)]
        assert all(0 <= one < 1 for one in drawn)
        assert 0.45 < sum(drawn) / len(drawn) < 0.55
        assert chance(0, "1") == drawn[1] != chance(1, "1")
