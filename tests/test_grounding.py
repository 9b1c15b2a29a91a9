"""Answers cut into sentences, marks resolved to exact places, support measured, abstentions recognised."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragkit.generate.grounding import (
    abstains,
    attribute,
    ground,
    marks,
    passage_sentences,
    quoted,
    sentences,
    without_marks,
)
from ragkit.types import Hit, Reading


def hit(text: str, rank: int = 1, start: int = 0) -> Hit:
    return Hit(rank, 1.0 / rank, 10 + rank, f"doc{rank}.pdf", rank, str(rank), start, start + len(text), text)


def cut(text: str) -> list[str]:
    return [text[part.start : part.end] for part in sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two.", ["One.", "Two."]),
        ("It costs 3.50 dollars. Or 1,000.25.", ["It costs 3.50 dollars.", "Or 1,000.25."]),
        ("Dr. Smith met J. R. Jones. They left.", ["Dr. Smith met J. R. Jones.", "They left."]),
        ("See e.g. Fig. 3 and the U.S. Army. Done!", ["See e.g. Fig. 3 and the U.S. Army.", "Done!"]),
        (
            "We met at 5 p.m. and left. He came at 6 p.m. She stayed.",
            ["We met at 5 p.m. and left.", "He came at 6 p.m.", "She stayed."],
        ),
        ("Is it No. 5? The answer is no. Really.", ["Is it No. 5?", "The answer is no.", "Really."]),
        ("Apples, pears etc. Also plums etc. and more.", ["Apples, pears etc.", "Also plums etc. and more."]),
        (
            "Paris is big.[1] It lies on the Seine. [2][3] End [1].",
            ["Paris is big.[1]", "It lies on the Seine. [2][3]", "End [1]."],
        ),
        ("- one item [1]\n- two items [2]\n", ["- one item [1]", "- two items [2]"]),
        ("1. First thing.\n2. Second thing.", ["1. First thing.", "2. Second thing."]),
        ("Points:\n\n* a b c\n* d e f", ["Points:", "* a b c", "* d e f"]),
        ('He said "Stop." Then left.', ['He said "Stop."', "Then left."]),
        ("Wait... what? Yes!", ["Wait...", "what?", "Yes!"]),
        ("A sentence.\n[1]", ["A sentence.\n[1]"]),
        ("[2] says so.", ["[2] says so."]),
        ("no full stop", ["no full stop"]),
        ("版本一。版本二。", ["版本一。", "版本二。"]),
        ("", []),
        (" \n ", []),
    ],
)
def test_sentences(text, expected):
    assert cut(text) == expected


@given(st.text(alphabet="ab .!?\n[]12,-*\"'é。", max_size=80))
@settings(max_examples=300, deadline=None)
def test_sentences_cover_the_text_in_order_without_overlap(text):
    place = 0
    for part in sentences(text):
        assert place <= part.start < part.end <= len(text)
        assert not text[place : part.start].strip()
        assert text[part.start : part.end] == text[part.start : part.end].strip()
        place = part.end
    assert not text[place:].strip()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a [1] b", [(1,)]),
        ("a [1, 2] b", [(1, 2)]),
        ("a [1][2] b", [(1,), (2,)]),
        ("a [1; 3,3]", [(1, 3)]),
        ("a [ 1] b [x] [] [1.5] [1234] (1) [-1]", []),
    ],
)
def test_marks(text, expected):
    found = marks(text)
    assert [mark.numbers for mark in found] == expected
    for mark in found:
        assert text[mark.start] == "["
        assert text[mark.end - 1] == "]"


def test_text_without_marks_keeps_everything_else():
    assert without_marks("Paris is big [1, 2]. So is Rome.[3]") == "Paris is big. So is Rome."


def test_a_mark_becomes_a_citation_of_the_sentence_that_supports_it():
    page = "Intro words. The tower was built in 1889 by Gustave Eiffel. It is 330 metres tall."
    start = len("Intro words. ")
    passage = hit(page[start:], start=start)
    result = ground("The tower is 330 metres tall [1].", [passage])
    (citation,) = result.citations
    assert citation.quote == "It is 330 metres tall."
    assert page[citation.start : citation.end] == citation.quote
    assert (citation.number, citation.document, citation.page, citation.chunk) == (1, "doc1.pdf", 1, 11)
    assert not citation.inferred


def test_a_quotation_may_run_over_line_ends_of_the_page():
    passage = hit("Nothing here.\nThe tower was built\nin 1889 by Eiffel. More.")
    (citation,) = ground("It was built in 1889 by Eiffel [1].", [passage]).citations
    assert citation.quote == "The tower was built\nin 1889 by Eiffel."
    assert passage.text[citation.start : citation.end] == citation.quote


def test_marks_that_name_no_passage_are_reported_and_not_cited():
    result = ground("Alpha beta [7]. Gamma [1, 0].", [hit("Gamma delta.")])
    assert result.unknown == (7, 0)
    assert [citation.number for citation in result.citations] == [1]
    assert [part.numbers for part in result.support] == [(), (1,)]


def test_support_is_measured_against_the_cited_passages_else_all():
    hits = [hit("Cats purr loudly.", 1), hit("Dogs bark.", 2)]
    scores = [part.score for part in ground("Cats purr [1]. Cats purr [2]. Dogs bark. Cows fly [1].", hits).support]
    assert scores == [1.0, 0.0, 1.0, 0.0]


def test_support_is_the_share_of_content_words():
    (part,) = ground("The cats purr and sing [1].", [hit("Cats purr.")]).support
    assert part.score == pytest.approx(2 / 3)
    assert ground("[1]", [hit("x")]).support == ()


@given(
    st.lists(
        st.sampled_from(["Cats purr", "Dogs bark", "the", "It is 3.5", "e.g. so", "Zebra"]), min_size=1, max_size=5
    ),
    st.lists(st.integers(0, 4), max_size=4),
)
@settings(max_examples=150, deadline=None)
def test_every_quote_is_a_slice_of_its_page(parts, numbers):
    hits = [hit("Cats purr. Dogs bark\nloudly. It is 3.5 m long.", 1, start=7), hit("Zebra? Yes!\n\n- so", 2)]
    pages = [" " * h.start + h.text for h in hits]
    answer = ". ".join(parts) + "".join(f" [{number}]" for number in numbers) + "."
    result = ground(answer, hits)
    for citation in (*result.citations, *attribute(answer, hits)):
        assert pages[citation.number - 1][citation.start : citation.end] == citation.quote
        assert citation.quote.strip()
    for part in result.support:
        assert 0.0 <= part.score <= 1.0
        assert answer[part.start : part.end].strip()


def test_an_answer_without_marks_is_attributed_by_its_words_and_flagged():
    hits = [hit("Dogs bark at night.", 1), hit("Cats purr. Cats sleep in the sun.", 2)]
    (citation,) = attribute("Cats sleep in the warm sun. Nothing at all relates to whales.", hits)
    assert (citation.number, citation.quote, citation.inferred) == (2, "Cats sleep in the sun.", True)
    assert attribute("Cats sleep in the sun [1].", hits) == ()
    assert attribute("Whales sing.", hits) == ()
    assert attribute("Cats sleep.", []) == ()


@pytest.mark.parametrize(
    "text",
    [
        "The documents do not say.",
        "The passages don't mention when the tower was built.",
        "The provided context does not explicitly state the answer.",
        "There is no information about whales in the passages.",
        "This is not mentioned in the text.",
        "I cannot answer this question from the passages.",
        "I don't know.",
        "The question cannot be answered from the passages.",
        "The text provides no information on that.",
        "No information is available.",
        "Unknown.",
        "",
    ],
)
def test_abstentions_are_recognised(text):
    assert abstains(text)


@pytest.mark.parametrize(
    "text",
    [
        "The tower was built in 1889. The passages do not say by whom.",
        "Cats do not bark.",
        "He did not know the answer, so he asked the king.",
        "The document was signed in 1776 [1].",
        "There is no king in France.",
        "It contains no sugar.",
    ],
)
def test_answers_are_not_taken_for_abstentions(text):
    assert not abstains(text)


def test_the_templates_own_phrase_counts_whatever_it_is():
    assert not abstains("Pass, next one please")
    assert abstains('"Pass, next one" [1].', "Pass, next one.")


MOON = hit("Its age is 4.5 billion years. Our Moon is a moon of 4.5.", start=100)
TOWER = hit("The tower was built in 1889. The tower has 1889 steps and is a tower.", rank=2)


def reading_of(passage: int, source: Hit, text: str, answered: bool = True) -> Reading:
    start = source.text.index(text)
    return Reading(passage, start, start + len(text), text, 1.0, 0.9, answered)


def test_a_quotation_is_cited_to_the_character() -> None:
    cited = quoted(reading_of(0, MOON, "4.5 billion years"), [MOON, TOWER])
    assert (cited.number, cited.document, cited.page, cited.quote) == (1, "doc1.pdf", 1, "4.5 billion years")
    assert MOON.text[cited.start - MOON.start : cited.end - MOON.start] == cited.quote


def test_a_claim_that_holds_the_span_cites_the_sentence_that_the_span_lies_in() -> None:
    """By its words alone it would be the other sentence."""
    text = "A moon of ours, our Moon: 4.5 [1]."
    assert ground(text, [MOON, TOWER]).citations[0].quote != "Its age is 4.5 billion years."
    read = reading_of(0, MOON, "4.5")
    assert ground(text, [MOON, TOWER], read).citations[0].quote == "Its age is 4.5 billion years."
    built = reading_of(1, TOWER, "1889")
    plain = "The tower is a tower with steps of 1889."
    assert attribute(plain, [MOON, TOWER])[0].quote == "The tower has 1889 steps and is a tower."
    (cited,) = attribute(plain, [MOON, TOWER], reading=built)
    assert (cited.quote, cited.number, cited.inferred) == ("The tower was built in 1889.", 2, True)


@pytest.mark.parametrize(
    "read",
    [
        reading_of(0, MOON, "4.5 billion years", answered=False),
        reading_of(0, MOON, "age is 4.5"),
        reading_of(1, TOWER, "1889"),
    ],
    ids=["not an answer", "not in the claim", "another passage than the one cited"],
)
def test_any_other_reading_changes_nothing(read: Reading) -> None:
    text = "The Moon, our moon, 1889: 4.5 billion years [1]."
    assert ground(text, [MOON, TOWER], read) == ground(text, [MOON, TOWER])


def test_a_passage_that_was_dropped_from_the_prompt_is_not_cited() -> None:
    assert attribute("Built in 1889.", [MOON], reading=reading_of(1, TOWER, "1889")) == ()


@pytest.mark.parametrize(
    ("passage", "title"),
    [
        ("Prefix tuning|Prefix tuning puts vectors in front of the keys of every\nlayer.|It is deep.", "Prefix tuning"),
        ("It ends.|3.2 Soft prompts|A soft prompt is short, and it learns.|Yes.", "3.2 Soft prompts"),
        # Lines of a paragraph are of a length, whatever the next begins with, or go on.
        ("The vectors of real words are better\nThan Gaussian noise.|Good.", ""),
        ("It ends.|and goes on\nWith a longer line after all.", ""),
    ],
)
def test_a_title_in_a_passage_is_no_part_of_the_sentence_below_it(passage, title):
    expected = passage.split("|")
    passage = passage.replace("|", "\n")
    assert [passage[part.start : part.end] for part in passage_sentences(passage)] == expected
    bare = [passage[part.start : part.end] for part in passage_sentences(passage, titles=False)]
    assert bare == [part for part in expected if part != title]
