"""Text as it streams: stop texts are held back and cut, loops end, control tokens in data are broken up."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ragkit.generate.stream import ControlTokens, Stream
from ragkit.types import Message, Prompt, Segment


def feed(pieces, stop=()):
    heard = []
    stream = Stream(lambda text: heard.append(text) or True, stop)
    for piece in pieces:
        if not stream.feed(piece):
            break
    stream.close()
    assert "".join(heard) == stream.text
    return stream


@given(st.lists(st.text(alphabet="abQ:\n", max_size=5), max_size=12), st.sampled_from(["\nQ:", "b", "aab"]))
@settings(max_examples=300, deadline=None)
def test_a_stop_text_is_found_however_it_is_cut(pieces, stop):
    whole = "".join(pieces)
    stream = feed(pieces, [stop])
    assert stream.text == whole.split(stop)[0]
    assert (stream.finish == "stop") == (stop in whole)


def test_the_first_of_several_stop_texts_counts():
    assert feed(["one two three"], ["three", "two"]).text == "one "


def test_without_stop_texts_nothing_is_held_back():
    stream = Stream(lambda text: True)
    stream.feed("a")
    assert stream.text == "a"


def test_a_loop_ends_the_answer():
    stream = feed(["Well: ", *["he said it again and "] * 50])
    assert stream.finish == "stop"
    assert stream.text.count("he said it again and") == 3
    assert len(feed(["heal, "] * 50).text) < 80


def test_lists_tables_and_long_answers_are_no_loops():
    text = "".join(f"- point {number} of the list says something\n" for number in range(30)) + "| --- " * 20 + "=" * 80
    assert feed([text[place : place + 3] for place in range(0, len(text), 3)]).finish is None


def test_the_listener_ends_it_and_hears_nothing_more():
    heard = []
    stream = Stream(lambda text: heard.append(text) or False)
    assert not stream.feed("a")
    assert not stream.feed("b")
    stream.close()
    assert heard == ["a"]
    assert stream.finish == "cancelled"


TOKENS = ["<|end|>", "<|end|>x", "</s>", "[INST]"]


def prompt(*segments, chat=True):
    return Prompt("t", (Message("user", tuple(Segment(kind, text) for kind, text in segments)),), chat, ())


@given(st.text(alphabet="<|end>/sx[]INST ", max_size=40))
@settings(max_examples=300, deadline=None)
def test_no_control_token_survives(text):
    safe = ControlTokens(TOKENS).neutralise(text)
    assert not any(token in safe for token in TOKENS)
    assert safe.replace(" ", "") == text.replace(" ", "")


@given(st.lists(st.text(alphabet="<|end>s/", max_size=6), min_size=1, max_size=5), st.booleans())
@settings(max_examples=300, deadline=None)
def test_nor_one_spread_over_neighbouring_insertions(texts, chat):
    safe = ControlTokens(TOKENS).safe(prompt(*(("passage", text) for text in texts), chat=chat))
    assert not any(token in safe.text for token in TOKENS)


def test_a_completion_may_use_control_tokens_of_its_own():
    given_parts = (("instruction", "<|end|>Q "), ("question", "a<|end|>"), ("instruction", "</s>"))
    assert ControlTokens(TOKENS).safe(prompt(*given_parts, chat=False)).text == "<|end|>Q a< |end|></s>"
    assert ControlTokens(TOKENS).safe(prompt(*given_parts, chat=True)).text == "< |end|>Q a< |end|>< /s>"


def test_untouched_prompts_stay_as_they_are():
    plain = prompt(("instruction", "Q "), ("question", "why < this?"))
    assert ControlTokens(TOKENS).safe(plain) == plain
    assert ControlTokens([]).safe(plain) is plain
