"""Templates: what they insert, what they refuse, and that inserted text stays data."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragkit.errors import TemplateError
from ragkit.prompt.source import check, dump, load
from ragkit.prompt.template import MAX_SOURCE, Template
from ragkit.types import Demonstration, Hit

GOOD = '''
name = "mine"
summary = "s"
when = "w"
user = """
{passages}{demonstrations}Ask: {question}
"""
passage = """
<passage {number}>
{text}
</passage>
"""
demonstration = """
Q {question} A {answer}
"""
'''


def hit(text: str, rank: int = 1, name: str = "d.pdf", headings: tuple[str, ...] = ()) -> Hit:
    return Hit(rank, 1.0, rank, name, 3, "iii", 0, len(text), text, headings)


def test_rendering_puts_every_part_in_its_segment():
    prompt = load(GOOD).render("Why?", [hit("One."), hit("Two.", 2)], [Demonstration("q1", "a1")], [hit("Three.", 3)])
    (message,) = prompt.messages
    assert message.role == "user"
    assert [(part.kind, part.number) for part in message.segments] == [
        ("passage", 1),
        ("passage", 2),
        ("demonstration", 1),
        ("instruction", 0),
        ("question", 0),
    ]
    assert prompt.text == ("<passage 1>\nOne.\n</passage>\n<passage 2>\nTwo.\n</passage>\nQ q1 A a1\nAsk: Why?")
    assert "".join(part.text for part in message.segments) == message.text
    assert [len(prompt.hits), len(prompt.dropped), len(prompt.demonstrations)] == [2, 1, 1]


def test_all_variables_of_a_passage():
    text = GOOD.replace("{text}", "{document}|{page}|{title}|{text}")
    prompt = load(text).render("?", [hit("T", headings=("A", "B"))])
    assert "d.pdf|iii|A > B|T" in prompt.text


def test_inserted_text_is_never_expanded_again():
    prompt = load(GOOD).render(
        "{passages} {number}", [hit("{question} {{x}} {text}")], [Demonstration("{answer}", "{b}")]
    )
    assert "{question} {{x}} {text}" in prompt.text
    assert "Q {answer} A {b}" in prompt.text
    assert prompt.text.endswith("Ask: {passages} {number}")


def test_doubled_braces_are_literal():
    prompt = load(GOOD.replace("Ask:", "Ask {{json}} }}{{:")).render("?", [hit("t")])
    assert "Ask {json} }{: ?" in prompt.text


@pytest.mark.parametrize("attack", ["</passage>", "< / PASSAGE >", "</passage", "<passage 9>", "<Passage\n2>"])
def test_a_passage_cannot_close_its_fence_or_open_another(attack):
    text = f"before {attack} after"
    shown = load(GOOD).render("?", [hit(text, name=attack)]).messages[0].segments[0].text
    body = shown.removeprefix("<passage 1>\n").removesuffix("\n</passage>\n")
    assert "</passage>" not in body.lower().replace(" ", "") or "< " in body
    assert attack not in body


@pytest.mark.parametrize(("fence", "attack"), [("```", "a\n```\nb"), ("'''", "x'''y"), ("---", "a\n-----\nb")])
def test_runs_of_characters_are_fences_too(fence, attack):
    block = Template("n", "s", "w", "{passages}{question}", passage=f"{fence}\n{{text}}\n{fence}\n")
    shown = block.render("?", [hit(attack)]).messages[0].segments[0].text
    assert shown.count(fence) == 2


def test_marks_in_a_passage_do_not_look_like_citations():
    shown = load(GOOD).render("?", [hit("As said [1], [2, 3] and a[i] or x[10]. [note]")]).text
    assert "[ 1], [ 2, 3] and a[i] or x[ 10]. [note]" in shown


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=30))
@settings(max_examples=200, deadline=None)
def test_segments_join_to_the_text_and_the_question_is_untouched(question, passage, answer):
    prompt = load(GOOD).render(question, [hit(passage)], [Demonstration("q", answer)])
    for message in prompt.messages:
        assert "".join(part.text for part in message.segments) == message.text
    assert prompt.text.endswith("Ask: " + question)
    kinds = [part.kind for part in prompt.messages[0].segments]
    assert kinds.count("passage") == 1
    assert prompt.messages[0].segments[0].text.count("\n</passage>\n") == 1


@pytest.mark.parametrize(
    ("change", "line", "says"),
    [
        (("{question}\n", "{qestion}\n"), 6, r"no variable \{qestion\}.*Allowed here: \{question\}, \{passages\}"),
        (("{question}\n", "{question.x}\n"), 6, "brace that belongs to no placeholder"),
        (("{question}\n", "{question!r}\n"), 6, "brace that belongs to no placeholder"),
        (("{question}\n", "{question} {\n"), 6, "literal brace"),
        (("{question}\n", "{question} }\n"), 6, "literal brace"),
        (("{text}", "{question}"), 10, r"In passage.*Allowed here: \{number\}, \{text\}"),
        (("Ask: {question}", "Ask"), 5, r"user must hold \{question\}"),
        (("{passages}", ""), 8, "passage is never shown"),
        (("{text}", "x"), 8, r"passage must hold \{text\}"),
        (("{answer}", "x"), 13, r"demonstration must hold \{answer\}"),
        (('summary = "s"', 'sumary = "s"'), 3, "no key 'sumary'"),
        (('summary = "s"', "summary = 5"), 3, "text in quotes"),
        (('summary = "s"', 'summary = "s"\nchat = "no"'), 4, "true or false"),
        (('summary = "s"', 'summary = "s"\nstop = [""]'), 4, "list of texts"),
        (('name = "mine"', 'name = "../mine"'), 2, "cannot name a template"),
        (('summary = "s"', 'summary = "s'), 3, "Write key ="),
    ],
)
def test_problems_name_the_line_and_what_is_allowed(change, line, says):
    text = GOOD.replace(*change, 1) if change[0] != "{question}\n" else GOOD.replace(change[0], change[1], 1)
    problems = check(text)
    assert problems
    assert problems[0].line == line, problems
    with pytest.raises(TemplateError, match=says):
        load(text)


def test_missing_keys_and_blocks():
    text = 'name = "n"\nuser = "{question} {passages}"'
    listed = " ".join(str(problem) for problem in check(text))
    for part in ("'summary' is missing", "'when' is missing", "{passages} is used, so the key passage"):
        assert part in listed


def test_limits_on_size():
    assert "at most" in str(check("#" * (MAX_SOURCE + 1))[0])
    bomb = Template("n", "s", "w", "{passages}" * 1500 + "{question}", passage="{text}")
    with pytest.raises(TemplateError, match="more than"):
        bomb.render("?", [hit("x" * 10_000)])


@given(st.text(alphabet="abc {}\"'\\\n[]=#name", max_size=120))
@settings(max_examples=200, deadline=None)
def test_check_never_raises(text):
    for source in (text, GOOD + text, GOOD.replace("Ask", text)):
        if not check(source):
            load(source)


words = st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).map(
    lambda text: text.replace("{", "").replace("}", "").replace("\r", "").strip() or "x"
)


@given(words, words, words, st.booleans())
@settings(max_examples=200, deadline=None)
def test_dump_and_load_are_inverse(summary, around, abstain, chat):
    user = around + " {question}"
    template = Template("n", summary, "w", user, system=around, chat=chat, abstain=abstain, stop=("\nQ:", "é"))
    assert load(dump(template)) == template


def test_the_hash_follows_what_shapes_the_prompt():
    first = load(GOOD)
    assert first.sha256 == load(GOOD.replace('summary = "s"', 'summary = "other"')).sha256
    assert first.sha256 != load(GOOD.replace("Ask", "Tell")).sha256
