"""What the browser is given: text that is not ours never becomes markup, and shapes for a person are right."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.types import Answer, Chunk, Citation, Hit, Message, Page, Prompt, Segment, Support, Variant
from ui import answers, comparison, picture, source, views

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "![a](http://evil.example/?q=1)",
    "[link](javascript:alert(1))",
    "$x^2$ :material/home: :red[x]",
    '" onmouseover="alert(1)',
    "</span></div><iframe src=//evil.example>",
    "&lt;b&gt; &amp; ' `code` **bold**",
]
PDF = Path(__file__).parents[1] / "index_data" / "sample_documents" / "field-guide.pdf"


class Parsed(HTMLParser):
    """Tags, attributes and text of some HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def hit(text: str = "LoRA freezes the weights.", document: str = "field.pdf", chunk: int = 7) -> Hit:
    return Hit(1, 0.5, chunk, document, 3, "iii", 0, len(text), text, ("Adapters",), 0.7)


def answer(
    text: str, citations: tuple[Citation, ...] = (), support: tuple[Support, ...] = (), **other: object
) -> Answer:
    values = {"abstained": False, "nearest": 0.7, "hits": (hit(),), "prompt": None, "generation": None, **other}
    return Answer("Why?", text, Variant(), citations, support, **values)  # type: ignore[arg-type]


@given(st.text(), st.text())
def test_an_element_holds_its_text_and_nothing_else(text: str, value: str) -> None:
    parsed = Parsed(views.el("p", text, title=value, data_value=value))
    assert parsed.tags == {"p"}
    assert parsed.attributes == {"title", "data-value"}
    assert parsed.text == text.replace("\r\n", "\n").replace("\r", "\n") or parsed.text == text


def test_an_element_that_could_do_harm_is_refused() -> None:
    for tag in ("img", "script", "iframe", "a", "svg", "form", "style"):
        with pytest.raises(ValueError, match=tag):
            views.el(tag, "x")


@given(st.one_of(st.sampled_from(HOSTILE), st.text(), st.text(alphabet="*`[]1-. \n<>&\"'!()#$:")))
def test_an_answer_can_become_nothing_but_the_safe_subset(text: str) -> None:
    cited = Citation(1, text, 1, text, 0, 1, text, 7)
    parsed = Parsed(
        views.join([
            answers.answer_text(text, (cited,), (Support(0, len(text), 0.1, (1,)),), "1"),
            answers.sources(answer(text, (cited,)), "1"),
            answers.passages([hit(text, text)], "1"),
            answers.question(text),
        ])
    )  # fmt: skip
    assert parsed.tags <= {"div", "p", "span", "strong", "code", "pre", "ul", "ol", "li", "br", "button"}
    assert not any(name.startswith("on") or name in ("href", "src") for name in parsed.attributes)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_shown_as_it_is(text: str) -> None:
    shown = Parsed(answers.answer_text(text)).text
    assert shown == re.sub(r"\*\*([^*]+)\*\*|`([^`]+)`", lambda found: found[1] or found[2], text)


def test_bold_lists_and_code_are_shown_as_such() -> None:
    html = answers.answer_text("A **strong** claim.\n\n- one\n- `two`\n\n3. three\n\n```\nx = **1**\n```\n")
    assert "<strong>strong</strong>" in html
    assert "<ul><li>one</li><li><code>two</code></li></ul>" in html
    assert '<ol><li value="3">three</li></ol>' in html
    assert "<pre><code>x = **1**</code></pre>" in html


def test_a_mark_opens_its_citation_and_a_mark_without_passage_stays_text() -> None:
    cited = Citation(2, "field.pdf", 3, "3", 0, 4, "LoRA", 7)
    html = answers.answer_text("Said here [2, 9].", (cited,), (), "41")
    assert re.search(r'<button[^>]*data-event="cite" data-value="41:0"', html)
    assert "[9]" in Parsed(html).text


def test_weak_sentences_are_underlined_with_their_score_and_strong_ones_are_not() -> None:
    text = "Strong one. Weak one."
    html = answers.answer_text(text, (), (Support(0, 11, 0.9, ()), Support(12, 21, 0.1, ())))
    assert re.search(r'class="rk-s-low rk-s" title="10% of[^"]*">Weak one\.', html)
    assert 'class="rk-s-high" title="90%' in html


def test_an_answer_without_citations_offers_the_nearest_passages() -> None:
    html = answers.sources(answer("No mark."), "5")
    assert 'data-value="5:7"' in html
    assert "names no passage" in html


def test_an_abstention_shows_the_score_and_what_was_needed() -> None:
    shown = Parsed(answers.abstention(answer("Not there.", nearest=0.14), 0.25)).text
    assert "0.14" in shown
    assert "0.25" in shown


def test_a_prompt_shows_all_of_its_text_with_the_kinds_of_its_parts() -> None:
    parts = (Segment("instruction", "Answer.\n"), Segment("passage", "[1] <b>x</b>\n", 1), Segment("question", "Why?"))
    prompt = Prompt("cite", (Message("user", parts),), False, ())
    html = answers.prompt_text(prompt)
    assert Parsed(html).text == "Answer.\n[1] <b>x</b>\nWhy?"
    assert [kind for kind in answers.PARTS if f"rk-p-{kind}" in html] == ["instruction", "passage", "question"]


def test_a_difference_between_prompts_names_added_and_removed_lines() -> None:
    def prompt(text: str) -> Prompt:
        return Prompt("t", (Message("user", (Segment("instruction", text),)),), False, ())

    html = answers.difference(prompt("Same\nOld <i>"), prompt("Same\nNew"))
    assert '<div class="rk-del">-Old &lt;i&gt;</div>' in html
    assert '<div class="rk-add">+New</div>' in html
    assert "same" in answers.difference(prompt("Same"), prompt("Same"))


@given(st.text(min_size=1, max_size=300), st.data())
def test_a_marked_page_keeps_its_text(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    html = source.marked(text, start, end)
    marked = html[html.index("<mark") : html.index("</mark>")]
    assert Parsed(html).text == text
    assert Parsed(marked).text == text[start:end]


def test_a_long_page_is_cut_around_the_mark() -> None:
    text = "a" * 500_000 + "HERE" + "b" * 500_000
    html = source.marked(text, 500_000, 500_004)
    assert "HERE</mark>" in html
    assert len(html) < 30_000


def test_passages_of_a_page_are_told_apart_and_shared_text_is_tinted() -> None:
    page = Page(1, "1", "One two three four.")
    html = source.chunked(page, [(1, Chunk(1, 0, 13, "One two three")), (2, Chunk(1, 8, 19, "three four."))])
    assert html.count("rk-chunk-no") == 2
    assert '<span class="rk-shared">three</span> four.' in html


def test_a_blind_order_is_a_permutation_that_a_reload_keeps() -> None:
    orders = [comparison.order(f"thread{number}", 4, True) for number in range(20)]
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders)
    assert len({tuple(order) for order in orders}) > 5
    assert comparison.order("thread3", 4, True) == orders[3]
    assert comparison.order("thread3", 4, False) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("page", "quote"),
    [
        ("The eﬀect is smal-\nler than expected.", "The effect is smaller"),
        ("Two  columns\r\nof text", "two columns of text"),
        ("Café au lait", "cafe au"),
    ],
)
def test_a_quote_is_found_although_readers_disagree(page: str, quote: str) -> None:
    ((start, end),) = picture.locate(page, quote)
    assert picture.squeeze(page[start:end])[0] == picture.squeeze(quote)[0]


def test_a_quote_that_is_not_there_is_not_found() -> None:
    assert picture.locate("Nothing of the kind.", "Something else entirely, and longer than a piece.") == []
    assert picture.locate("Anything", "") == []


def test_a_page_picture_shows_the_marked_sentence(tmp_path: Path) -> None:
    text = "Low-rank adaptation leaves a weight matrix W alone"
    found = [drawn for page in range(1, 10) if (drawn := picture.draw(PDF, page, text)) and drawn.marked]
    assert len(found) == 1
    assert found[0].png.startswith(b"\x89PNG")
    assert 0 < found[0].top < 1


def test_a_page_that_cannot_be_drawn_is_none(tmp_path: Path) -> None:
    broken = tmp_path / "broken.pdf"
    broken.write_bytes(b"%PDF-1.7 nothing")
    assert picture.draw(broken, 1, "x") is None
    assert picture.draw(PDF, 999, "x") is None


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (123_456, "123 kB"), (98_400_000, "98.4 MB"), (5e12, "5000 GB")],
)
def test_sizes(value: float, shown: str) -> None:
    assert views.size(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.012, "12 ms"), (0.42, "0.4 s"), (9.96, "10.0 s"), (42.4, "42 s"), (65, "1 min 05 s"), (3720, "1 h 02 min")],
)
def test_durations(value: float, shown: str) -> None:
    assert views.seconds(value) == shown


def test_counts_take_the_plural_and_group_thousands() -> None:
    assert views.count(1, "page") == "1 page"
    assert views.count(0, "page") == "0 pages"
    assert views.number(1_234_567) == "1\u202f234\u202f567"


def test_lines_that_a_page_cut_flow_on_and_others_keep_their_break() -> None:
    html = answers.answer_text("Tokens are cut by\nthe page.\nQuote: one\nAnswer: two")
    assert "<p>Tokens are cut by the page.<br>Quote: one<br>Answer: two</p>" in html
