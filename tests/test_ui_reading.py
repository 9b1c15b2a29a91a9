"""What a reader quotes, on the Ask page and in the terminal."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import streamlit as st

from ragkit import adapters
from ragkit.collection import Collection
from ragkit.history import History
from ragkit.settings import RetrieveSettings
from ragkit.types import Answer, Variant
from ragkit.workbench import Workbench
from tests import library
from tests.command import ragkit, rows
from tests.readers import SURE, UNSURE, save_encoder, save_reader
from tests.test_ui import ECHO, EVIL, Slow, html, opened, until
from ui import answers, drawer, state
from ui.commands import ask as terminal
from ui.runner import Task
from ui.screens import ask as screen

QUESTION = "Where does the cat sleep?"


@pytest.fixture(autouse=True)
def _fresh(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Cached collections and runners belong to one test; conversions to the run; no adapter ships with ragkit."""
    monkeypatch.setenv("RAGKIT_CACHE", str(tmp_path_factory.getbasetemp() / "readers-cache"))
    monkeypatch.setattr(adapters, "BUNDLED", tmp_path / "bundled")
    st.cache_resource.clear()
    st.cache_data.clear()
    yield
    st.cache_resource.clear()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_encoder(tmp_path_factory.mktemp("encoder"))


def ask(collection: Collection, home: Path, base: Path, calibration: dict[str, float], question: str) -> Answer:
    """An answer with a reader beside it, kept."""
    save_reader(home / "adapters" / "mine", base, calibration)
    settings = RetrieveSettings(abstain_below=0, reader="mine")
    answer = Workbench(collection).ask(question, ECHO, retrieve=settings)
    return History(collection).keep(answer, "talk")


def test_the_quotation_stands_above_the_answer_with_its_confidence(home: Path, base: Path) -> None:
    answer = ask(library.filled(home), home, base, SURE, QUESTION)
    assert answer.reading is not None
    shown = str(answers.reading_of(answer, "7"))
    assert f"<blockquote>{answer.reading.text}</blockquote>" in shown
    assert "almost certain, 99%" in shown
    assert 'data-event="read" data-value="7:"' in shown
    page = html(opened(conversation="talk"))
    assert page.index("almost certain, 99%") < page.index("The cat sleeps on the mat.", page.index("almost certain"))


def test_the_chip_opens_the_page_with_just_the_quotation_marked(home: Path, base: Path) -> None:
    collection = library.filled(home)
    answer = ask(collection, home, base, SURE, QUESTION)
    assert answer.reading is not None
    drawer.open_answer({"7": answer}, "read", "7:")
    place = st.session_state["drawer"].place
    page = collection.page(collection.document(place.document).id, place.page)
    assert page.text[place.start : place.end] == place.quote == answer.reading.text


def test_the_reason_for_an_abstention_is_said(home: Path, base: Path) -> None:
    answer = ask(library.filled(home), home, base, UNSURE, QUESTION)
    page = html(opened(conversation="talk"))
    assert answers.NOT_SURE in page
    assert "5 passages came near the question, and the reader finds no answer in them" in page
    assert "doubtful, 1%" in page
    assert "<blockquote" not in page
    assert answers.reading_of(answer, "7") is None
    assert "Answer at length anyway" in page
    assert "Nearest in the documents" in page
    assert answer.closest
    for place, each in enumerate(answer.closest):
        drawer.open_answer({"7": answer}, "close", f"7:{place}")
        assert st.session_state["drawer"].place.quote == each.quote


def test_a_quotation_that_stands_in_for_the_answer_says_so_and_leaves_the_way_to_the_plain_model(
    home: Path, base: Path
) -> None:
    collection = library.filled(home)
    answer = ask(collection, home, base, SURE, QUESTION)
    assert answer.reading is not None
    assert answers.stand_in(answer) is None
    tuned = replace(answer.variant, adapter="mine")
    text = f"{answer.reading.text} [1]"
    kept = History(collection).keep(replace(answer, id=None, quoted=True, text=text, variant=tuned), "stood-in")
    page = html(opened("ask", collection="notes", conversation="stood-in"))
    assert page.count(f"<blockquote>{answer.reading.text}") == 1
    assert "The language model found no answer" in page
    assert "Answer at length anyway" in page
    assert answers.anyway(kept, "7") is not None


def test_what_was_declined_can_be_asked_of_the_plain_model(
    home: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = ask(library.filled(home), home, base, UNSURE, QUESTION)
    tasks: list[Task] = []
    monkeypatch.setattr(state, "runner", lambda: SimpleNamespace(submit=tasks.append))
    screen._anyway("notes", "talk", answer)
    (task,) = tasks
    assert (task.question, task.thread) == (answer.question, "talk")
    assert (task.variants[0].template, task.variants[0].adapter, task.variants[0].engine) == ("concise", "", "echo")
    asked = replace(task.retrieve, abstain_below=0)
    again = Workbench.open("notes", home).ask(task.question, task.variants[0], retrieve=asked)
    assert again.generation is not None
    assert answers.anyway(again, "7") is None
    far = replace(answer, hits=())
    assert answers.anyway(far, "7") is None
    tuned = replace(again, abstained=True, variant=replace(again.variant, adapter="mine"))
    assert answers.anyway(tuned, "7") is not None


def test_what_a_document_says_is_escaped_in_the_quotation(home: Path, base: Path) -> None:
    collection = library.new(home)
    library.put(collection, "<img src=x>.md", [EVIL])
    answer = ask(collection, home, base, SURE, f"Do cats sleep? {EVIL}")
    assert answer.reading is not None
    sent = html(opened(conversation="talk"))
    assert "rk-read" in sent
    assert "<script" not in sent
    assert "<img" not in sent


def test_the_quotation_is_there_before_the_language_model_writes(
    home: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.filled(home)
    save_reader(home / "adapters" / "mine", base, SURE)
    monkeypatch.setattr(state, "Workbench", Slow)
    Slow.gate = threading.Semaphore(0)
    test = opened()
    test.selectbox(key="ask.search.reader").set_value("mine").run()
    test.chat_input[0].set_value(QUESTION).run()
    (asked,) = state.runner().tasks("notes", "ask")
    until(lambda: asked.read is not None)
    assert asked.texts == [""]
    shown = html(test.run())
    assert "<blockquote" in shown
    assert "almost certain, 99%" in shown
    Slow.gate.release(100)
    until(lambda: not asked.open)
    test.run()
    assert "The cat sleeps on the mat." in html(test)
    assert "<blockquote" in html(test)
    assert not test.exception


def test_readers_are_in_the_menu_and_whether_they_abstain_where_there_is_one(home: Path, base: Path) -> None:
    library.filled(home)
    test = opened()
    assert test.selectbox(key="ask.search.reader").options == ["auto", "none"]
    assert not [field for field in test.number_input if field.key == "ask.search.reader_below"]
    save_reader(home / "adapters" / "mine", base, SURE)
    test = opened()
    assert test.selectbox(key="ask.search.reader").options == ["auto", "none", "mine"]
    assert test.number_input(key="ask.search.reader_below").value == RetrieveSettings().reader_below


def test_an_answer_of_the_engine_reader_is_not_said_twice(home: Path, base: Path) -> None:
    collection = library.filled(home)
    save_reader(home / "adapters" / "mine", base, SURE)
    variant = Variant(engine="reader", model=str(base), adapter="mine")
    answer = Workbench(collection).ask(QUESTION, variant, retrieve=RetrieveSettings(abstain_below=0))
    assert answer.reading is not None
    assert answers.reading_of(answer, "7") is None
    assert "99% sure" in str(answers.numbers(answer))


def test_the_terminal_says_no_refusal_where_a_quotation_stands_in_for_it(
    home: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = ask(library.filled(home), home, base, SURE, QUESTION)
    assert answer.reading is not None
    text = f"{answer.reading.text} [1]"
    terminal.show_rest(replace(answer, quoted=True, text=text), answers.NOT_SAID)
    assert answers.NOT_SAID not in capsys.readouterr().out
    unsure = replace(answer.reading, answered=False)
    terminal.show_rest(replace(answer, quoted=True, text=text, reading=unsure), answers.NOT_SAID)
    assert capsys.readouterr().out.startswith(f"{text}\n")
    terminal.show_rest(replace(answer, abstained=True, citations=()), answers.NOT_SAID)
    assert capsys.readouterr().out.startswith(f"{answers.NOT_SAID}\n")


def test_the_terminal_prints_the_quotation_first(filled: Path, base: Path) -> None:
    save_reader(filled / "adapters" / "mine", base, SURE)
    question = ("ask", "What does LoRA learn?", "--engine", "echo", "--abstain-below", "0", "--reader", "mine")
    (answer,) = rows(ragkit(*question, "--json", home=filled))
    done = ragkit(*question, home=filled)
    quote = " ".join(answer["reading"]["text"].split())
    assert done.stdout.startswith(f"“{quote}” ")
    assert "99% sure" in done.stdout.partition("\n")[0]
    assert answer["text"] in done.stdout
    card = filled / "adapters" / "mine" / "ragkit.json"
    card.write_text(json.dumps({**json.loads(card.read_text()), "calibration": UNSURE}))
    refused = ragkit(*question, home=filled)
    first, *nearest = refused.stdout.strip().splitlines()
    assert first == "The documents do not say."
    assert nearest[0].startswith("[1] lora.md, page 1: ")
    assert "Nearest in the documents" in refused.stderr
    assert "the reader finds no answer" in refused.stderr
    (asked,) = rows(ragkit(*question, "--reader-below", "0", "--json", home=filled))
    assert asked["generation"] is not None
