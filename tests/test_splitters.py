"""Splitters: offsets exact, nothing lost, nothing too long, whatever the text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.catalog import SPLITTERS
from ingest.splitters.outline import Outline, find_headings
from ragkit.errors import SettingsError
from ragkit.types import Page


def by_words(texts):
    """A tokenizer of its own kind: words and single signs, a long word in threes, and two special tokens."""
    return [2 + sum(-(-len(word) // 3) for word in re.findall(r"\w+|[^\w\s]", text)) for text in texts]


def by_characters(texts):
    """The worst case for a sum over words: white space counts too."""
    return [1 + len(text) for text in texts]


NAMES = SPLITTERS.names

plain = st.text(max_size=400)
prose = st.lists(
    st.sampled_from(
        ["One sentence.", "Another one? ", "# A heading\n", "\n\n", "## Deeper\n\n", "word ", "naïve ", "x" * 90 + " ",
         "数据检索很有用。", "- item\n", "```\n# no heading\n```\n", "Dr. Who came.", "\t", "   \n",
         "e.g. this, that; ", "🙂"]
    ),
    max_size=60,
).map("".join)  # fmt: skip
titles = st.one_of(
    st.just(""), st.text(max_size=40).map(lambda text: " ".join(text.split())), st.just("long title " * 30)
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [by_words, by_characters])
@given(text=st.one_of(plain, prose), title=titles, size=st.integers(20, 80), overlap=st.integers(0, 10))
@settings(max_examples=60, deadline=None)
def test_any_text_is_cut_exactly(name, count, text, title, size, overlap):
    page = Page(3, "iii", text, title)
    chunks = SPLITTERS.load(name)(count, size, overlap).split(page)
    covered = set()
    for chunk in chunks:
        assert chunk.page == 3
        assert page.text[chunk.start : chunk.end] == chunk.text
        assert chunk.text == chunk.text.strip() != ""
        assert count([chunk.embedded_text])[0] <= size or len(chunk.text) == 1
        covered.update(range(chunk.start, chunk.end))
    assert {index for index, char in enumerate(text) if not char.isspace()} <= covered
    starts = [(chunk.start, chunk.end) for chunk in chunks]
    assert starts == sorted(starts)
    assert [end for _, end in starts] == sorted({end for _, end in starts})


@pytest.mark.parametrize("name", NAMES)
def test_giant_words_and_scripts_without_spaces_are_cut(name):
    for text in ("a" * 20_000, "检索增强生成" * 2_000, "العربية" * 3_000, "😀" * 5_000):
        chunks = SPLITTERS.load(name)(by_words, 100, 10).split(Page(1, "1", text))
        assert max(by_words([chunk.embedded_text for chunk in chunks])) <= 100
        assert sum(len(chunk.text) for chunk in chunks) >= len(text)


@pytest.mark.parametrize("name", NAMES)
def test_a_word_unknown_to_the_tokenizer_does_not_make_a_chunk_without_end(name):
    chunks = SPLITTERS.load(name)(lambda texts: [2 + len(text.split()) for text in texts], 50, 5).split(
        Page(1, "1", "x" * 10_000)
    )
    assert len(chunks) > 5


def text_of(sentences, words=12):
    return " ".join(" ".join(f"w{number}x{word}" for word in range(words)) + "." for number in range(sentences))


def test_recursive_cuts_at_paragraphs_before_sentences():
    paragraphs = ["Alpha " * 14 + "end.", "Beta " * 14 + "end.", "Gamma " * 14 + "end."]
    chunks = SPLITTERS.load("recursive")(lambda texts: [len(text.split()) for text in texts], 20, 0).split(
        Page(1, "1", "\n\n".join(paragraphs))
    )
    assert [chunk.text for chunk in chunks] == paragraphs


def test_recursive_prefers_the_end_of_a_sentence_to_the_end_of_a_line():
    text = "one two three four five six\nseven eight. Nine ten eleven twelve\nthirteen fourteen fifteen sixteen\nend."
    chunks = SPLITTERS.load("recursive")(lambda texts: [len(text.split()) for text in texts], 16, 0).split(
        Page(1, "1", text)
    )
    assert chunks[0].text.endswith("eight.")


def test_abbreviations_and_initials_end_no_sentence():
    text = "We thank Dr. Miller and J. Smith et al. Fig. 3 shows it. " + "Then more words follow here. " * 6
    chunks = SPLITTERS.load("sentences")(lambda texts: [len(text.split()) for text in texts], 16, 0).split(
        Page(1, "1", text)
    )
    assert chunks[0].text.startswith("We thank Dr. Miller and J. Smith et al. Fig. 3 shows it.")


def test_neighbours_share_whole_sentences():
    text = "A short one here. " * 60
    chunks = SPLITTERS.load("recursive")(by_words, 100, 30).split(Page(1, "1", text))
    assert len(chunks) > 2
    for before, after in zip(chunks, chunks[1:], strict=False):
        shared = text[after.start : before.end]
        assert shared.startswith("A short one here.")
        assert shared.endswith(".")
        assert by_words([shared])[0] - 2 <= 30


def test_no_overlap_when_none_is_asked_for():
    chunks = SPLITTERS.load("recursive")(by_words, 60, 0).split(Page(1, "1", text_of(30)))
    assert all(before.end <= after.start for before, after in zip(chunks, chunks[1:], strict=False))


GUIDE = """What was found by hand did well on one set. It failed on another.
Prefix tuning
It puts trainable vectors in front of the keys of every single layer.
It reaches deeper into the model. So it has more to learn.
It costs more time as well, both in training and in every use."""
"""As a PDF has it: a title that only looks like one."""


@pytest.mark.parametrize("overlap", [0, 10])
def test_a_line_that_looks_like_a_title_begins_a_passage_and_overlaps_nothing(overlap):
    count = lambda texts: [len(text.split()) for text in texts]  # noqa: E731
    chunks = SPLITTERS.load("recursive")(count, 30 + overlap, overlap).split(Page(1, "1", GUIDE))
    assert [chunk.text.splitlines()[0] for chunk in chunks][:2] == [GUIDE.splitlines()[0], "Prefix tuning"]
    if overlap:
        assert chunks[2].start < chunks[1].end  # as neighbours otherwise do


@pytest.mark.parametrize(
    "line",
    ["and so it goes", "It was raining.", "In the following cases:", "A line as long as those of a paragraph " * 2],
)
def test_what_follows_a_sentence_is_no_title_because_it_stands_on_a_line(line):
    text = f"The first sentence ends here.\n{line}\nThe next one begins."
    assert not Outline(Page(1, "1", text)).opens(text.index(line))
    text = f"The first sentence ends here.\nSoft prompts\n{line}."
    assert Outline(Page(1, "1", text)).opens(text.index("Soft")) == (not line.startswith("and"))


def test_no_tiny_rest_is_left():
    """A rest no longer than the overlap joins its neighbour; what counts is what a passage adds to the one before."""
    for sentences in range(11, 40):
        text = "Five words are in here. " * sentences
        chunks = SPLITTERS.load("recursive")(by_words, 120, 20).split(Page(1, "1", text))
        for before, after in zip(chunks, chunks[1:], strict=False):
            assert by_words([text[before.end : after.end]])[0] > 20


MARKDOWN = """# Guide

Intro text stands here.

## Setup

First do this. Then do that.

```python
# no heading
print(1)
```

### Linux

Use the package manager.

## Use

Call it."""


def test_markdown_never_crosses_a_heading_and_keeps_the_path():
    chunks = SPLITTERS.load("markdown")(by_words, 120, 10).split(Page(1, "1", MARKDOWN, "Manual"))
    assert [chunk.headings for chunk in chunks] == [
        ("Manual",), ("Manual", "Guide"), ("Manual", "Guide", "Setup"), ("Manual", "Guide")
    ]  # fmt: skip
    assert chunks[2].text.startswith("### Linux")
    assert not any("## Use" in chunk.text and "Linux" in chunk.text for chunk in chunks)


def test_the_path_reaches_passages_below_their_heading():
    text = "# Top\n\n## Inner *part* `x`\n\n" + "Some sentence stands here. " * 60
    for name in ("recursive", "markdown"):
        chunks = SPLITTERS.load(name)(by_words, 90, 10).split(Page(1, "1", text))
        assert chunks[-1].headings == ("Top", "Inner part x")
        assert chunks[-1].embedded_text.startswith("Top > Inner part x\n")


def test_a_long_path_never_takes_more_than_a_quarter():
    text = "".join(f"{'#' * level} {'verylongheading ' * 20}{level}\n\n" for level in range(1, 7)) + "Text. " * 100
    chunks = SPLITTERS.load("recursive")(by_words, 80, 10).split(Page(1, "1", text, "Title " * 40))
    assert chunks
    assert all(by_words([chunk.context])[0] <= 80 / 4 + 2 for chunk in chunks)


def test_a_record_title_is_not_repeated_when_the_text_begins_with_it():
    splitter = SPLITTERS.load("recursive")(by_words, 80, 10)
    assert splitter.split(Page(1, "1", "Super Bowl\n\nWas played.", "Super Bowl"))[0].headings == ()
    assert splitter.split(Page(1, "1", "It was played.", "Super Bowl"))[0].headings == ("Super Bowl",)


def test_headings_are_found_where_markdown_has_them():
    text = "Title\n=====\n\n    # code\n\n> # quoted\n\ntext\n# Real [link](u)\n#none\n\n~~~\n# fenced\n~~~\n"
    assert [(item.level, item.title, text[item.start : item.end]) for item in find_headings(text)] == [
        (1, "Title", "Title\n=====\n"), (1, "Real link", "# Real [link](u)\n")
    ]  # fmt: skip


def test_impossible_sizes_are_refused():
    with pytest.raises(SettingsError, match="chunk_tokens is 5"):
        SPLITTERS.load("recursive")(by_words, 5, 0)
    with pytest.raises(SettingsError, match="overlap_tokens is 60"):
        SPLITTERS.load("recursive")(by_words, 100, 60)


@pytest.mark.parametrize("name", NAMES)
def test_the_tokenizer_is_asked_little(name):
    """Counting is the price of sizes in tokens: each text may be read by the tokenizer about twice, not once a cut."""
    seen = []

    def counting(texts):
        seen.extend(texts)
        return by_words(texts)

    text = "\n\n".join(text_of(10) for _ in range(50))
    SPLITTERS.load(name)(counting, 100, 20).split(Page(1, "1", text))
    assert sum(map(len, seen)) < 3.5 * len(text)


@pytest.mark.parametrize("name", NAMES)
def test_the_tokenizer_is_asked_about_a_part_of_a_long_page_at_a_time(name):
    """What it returns takes many times the memory of the text."""
    most = 0

    def counting(texts):
        nonlocal most
        most = max(most, sum(map(len, texts)))
        return by_words(texts)

    text = "\n\n".join(text_of(10) for _ in range(1500))
    SPLITTERS.load(name)(counting, 40, 0).split(Page(1, "1", text))
    assert most < len(text) / 4
