"""The five pages in Streamlit's own test driver: on an empty home, on a filled one, and through what can go wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from ragkit.collection import Collection
from ragkit.errors import RagkitError, TemplateError
from ragkit.history import History
from ragkit.settings import RetrieveSettings, sentences
from ragkit.types import Decoding, Variant
from ragkit.workbench import Workbench
from tests import library
from ui import state
from ui.runner import Runner, Task

APP = Path(__file__).parents[1] / "ui" / "app.py"
PAGES = ["ask", "documents", "compare", "templates", "models"]
ECHO = Variant(engine="echo", model="")
HOSTILE = "<img src=x onerror=alert(1)>.md"
EVIL = "<script>alert(1)</script> ![a](http://evil.example/?q=1) $x$ :material/home: cats sleep"


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """Cached collections and runners belong to one test."""
    st.cache_resource.clear()
    st.cache_data.clear()
    yield
    st.cache_resource.clear()


def opened(page: str = "ask", **query: str) -> AppTest:
    """The app with that page open."""
    test = AppTest.from_file(str(APP), default_timeout=60)
    for name, value in query.items():
        test.query_params[name] = value
    test.session_state["ask.model.engine"] = "echo"
    # Pages are functions, which AppTest.switch_page cannot name; this is what it would set.
    test._page_hash = calc_hash(page)  # noqa: SLF001
    return test.run()


def html(test: AppTest) -> str:
    """All markup that the page sends, its own and that of its panels."""
    own = [element.proto.body for element in test.get("html")]
    return "\n".join(own + [str(element.proto) for element in test.get("bidi_component")])


def until(what: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for something that another thread does."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "It did not happen."
        time.sleep(0.02)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_on_an_empty_home(home: Path, page: str) -> None:
    test = opened(page)
    assert not test.exception
    assert len(test.main.children) > 0


@pytest.mark.parametrize("page", ["ask", "documents", "compare", "evaluate", "tune"])
def test_a_damaged_database_is_said_on_the_page_with_the_way_out(home: Path, page: str) -> None:
    collection = library.filled(home)
    query = "SELECT rootpage FROM sqlite_master WHERE name = 'documents'"
    place = (collection.connection.execute(query).fetchone()[0] - 1) * 4096
    collection.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    collection.close()
    with open(collection.path, "r+b") as file:
        file.seek(place)
        file.write(b"\xee" * 4096)
    test = opened(page)
    assert not test.exception
    assert "database is damaged" in html(test)
    assert "ragkit verify --repair" in html(test)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_on_a_filled_home(home: Path, page: str) -> None:
    library.filled(home)
    test = opened(page)
    assert not test.exception
    assert "3 documents" in html(test)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_on_a_collection_without_documents(home: Path, page: str) -> None:
    library.new(home)
    assert not opened(page).exception


def test_a_question_is_answered_in_the_background_and_kept(home: Path) -> None:
    collection = library.filled(home)
    test = opened()
    test.chat_input[0].set_value("Where does the cat sleep?").run()
    thread = test.query_params["conversation"]
    thread = thread if isinstance(thread, str) else thread[0]
    until(lambda: bool(History(collection).answers(thread)))
    (answer,) = History(collection).answers(thread)
    assert answer.text == "The cat sleeps on the mat. [1]"
    again = opened(conversation=thread)  # a reload
    assert "The cat sleeps on the mat." in html(again)
    assert "cats.txt" in html(again)
    assert not again.exception


def test_a_question_that_comes_before_the_page_was_drawn_again_stays_in_its_conversation(home: Path) -> None:
    library.filled(home)
    test = opened()
    test.query_params["conversation"] = "begun"  # the browser knows it; the input was drawn before there was one
    test.chat_input[0].set_value("Where does the cat sleep?").run()
    assert [task.thread for task in state.runner().tasks("notes", "ask")] == ["begun"]


def test_an_error_that_can_be_mended_is_one_sentence_with_what_to_do(home: Path) -> None:
    library.filled(home)
    test = opened()
    test.session_state["ask.model.engine"] = "transformers"
    test.session_state["ask.model.model"] = "no-such/model"
    test.run()
    test.chat_input[0].set_value("Where does the cat sleep?").run()
    runner = state.runner()
    until(lambda: any(task.state == "failed" for task in runner.tasks("notes", "ask")))
    test.run()
    assert "no-such/model" in html(test)
    assert "Traceback" not in html(test)
    assert [button.label for button in test.button if button.label in ("Try again", "Dismiss")]
    assert not test.exception


def test_a_collection_that_is_damaged_is_said_and_the_others_open(home: Path) -> None:
    library.filled(home)
    broken = home / "broken"
    broken.mkdir()
    (broken / "library.sqlite").write_bytes(b"not a database at all, but long enough to look at" * 40)
    test = opened("documents", collection="broken")
    assert "broken" in html(test)
    assert "rk-bad" in html(test)
    assert not test.exception
    assert "3 documents" in html(opened("documents", collection="notes"))


def test_a_new_collection_is_made_from_the_sidebar(home: Path) -> None:
    library.filled(home)
    test = opened("documents")
    test.text_input(key="new-collection").set_value("field-notes")
    next(button for button in test.button if button.label == "Create").click().run()
    assert state.names() == ["field-notes", "notes"]
    assert test.selectbox(key="collection").value == "field-notes"
    test.text_input(key="new-collection").set_value("../evil")
    next(button for button in test.button if button.label == "Create").click().run()
    assert state.names() == ["field-notes", "notes"]
    assert "cannot name a collection" in html(test)


def test_hostile_names_and_texts_reach_no_page_unescaped(home: Path) -> None:
    collection = library.filled(home)
    library.put(collection, HOSTILE, [EVIL])
    for page, query in [("documents", {}), ("documents", {"document": HOSTILE}), ("ask", {}), ("compare", {})]:
        test = opened(page, **query)
        sent = html(test)
        assert "<img" not in sent
        assert "<script" not in sent
        assert not test.markdown or all("evil" not in element.value for element in test.markdown)
    assert "&lt;img src=x onerror=alert(1)&gt;.md" in html(opened("documents"))


def test_a_hostile_question_and_answer_are_shown_as_text(home: Path) -> None:
    collection = library.new(home)
    library.put(collection, HOSTILE, [EVIL])
    answer = Workbench(collection).ask(f"Do cats sleep? {EVIL}", ECHO, retrieve=RetrieveSettings(abstain_below=0))
    History(collection).keep(answer, "talk")
    sent = html(opened(conversation="talk"))
    assert "&lt;script&gt;" in sent
    assert "<script" not in sent
    assert "<img" not in sent


def test_settings_are_drawn_with_their_sentences(home: Path) -> None:
    library.filled(home)
    test = opened()
    told = sentences(RetrieveSettings) | sentences(Decoding)
    shown = {widget.help for widget in [*test.number_input, *test.selectbox]}
    for name in ("k", "abstain_below", "retriever", "temperature", "seed"):
        assert told[name] in shown


def test_a_setting_reaches_the_question(home: Path) -> None:
    library.filled(home)
    test = opened()
    test.number_input(key="ask.search.k").set_value(2).run()
    test.chat_input[0].set_value("Where does the cat sleep?").run()
    assert [task.retrieve.k for task in state.runner().tasks("notes", "ask")] == [2]


def test_a_comparison_is_kept_and_opened_again(home: Path) -> None:
    collection = library.filled(home)
    variants = [Variant("cite", engine="echo", model=""), Variant("concise", engine="echo", model="")]
    for answer in Workbench(collection).compare("Where does the cat sleep?", variants):
        History(collection).keep(answer, "duel", "compare")
    assert "Where does the cat sleep?" in html(opened("compare"))
    test = opened("compare", comparison="duel")
    assert "Side by side" in html(test)
    assert "rk-add" in html(test)
    blind = opened("compare", comparison="duel", blind="1")
    assert "Answer A" in html(blind)
    assert "concise" not in html(blind)
    assert not blind.exception


def test_templates_can_be_copied_and_deleted_and_bundled_ones_cannot_be_changed(home: Path) -> None:
    library.filled(home)
    test = opened("templates", template="strict")
    assert not any(button.key == "save" for button in test.button)
    next(button for button in test.button if button.label == "Copy").click().run()
    assert (home / "templates" / "strict-copy.toml").is_file()
    assert any(button.key == "save" for button in test.button)
    next(button for button in test.button if button.label == "Delete").click().run()
    test.button(key="delete-template").click().run()
    assert not (home / "templates" / "strict-copy.toml").exists()
    assert not test.exception


def test_a_document_is_deleted_once_that_is_confirmed(home: Path) -> None:
    collection = library.filled(home)
    test = opened("documents", document="cats.txt")
    next(button for button in test.button if button.label == "Delete").click().run()
    assert len(collection.documents()) == 3
    test.button(key="delete-document").click().run()
    assert [item.name for item in collection.documents()] == ["lora.md", "prefix.md"]
    assert not test.exception


def test_a_broken_template_is_shown_with_its_problems(home: Path) -> None:
    library.filled(home)
    (home / "templates").mkdir()
    lines = ['name = "bad"', 'summary = "s"', 'when = "w"', 'user = "{question} {wrong}"']
    (home / "templates" / "bad.toml").write_text("\n".join(lines) + "\n")
    sent = html(opened("templates", template="bad"))
    assert "Line 4" in sent
    assert "{wrong}" in sent


def test_a_model_that_is_nowhere_is_an_error_in_a_sentence(home: Path) -> None:
    test = opened("models")
    assert "smollm2-135m" in html(test)
    test.text_input(key="try-name").set_value("no-such-org/no-such-model")
    next(button for button in test.button if button.label == "Look it up").click().run()
    assert "no-such-org/no-such-model" in html(test)
    assert not test.exception


class Slow(Workbench):
    """The real workbench, which waits for a sign before each piece of text, so that a test can look in between."""

    gate = threading.Semaphore(0)

    def ask(self, question, variant=None, *, on_text=None, **settings):  # noqa: ANN001, ANN202
        def gated(text: str) -> bool:
            self.gate.acquire(timeout=20)
            return on_text(text)

        return super().ask(question, variant, on_text=gated, **settings)


def task(question: str, thread: str = "talk", variant: Variant = ECHO) -> Task:
    return Task("ask", "notes", thread, question, (variant,), RetrieveSettings(abstain_below=0))


def test_a_second_question_waits_its_turn_and_a_waiting_one_can_be_taken_back(home: Path) -> None:
    collection = library.filled(home)
    Slow.gate = threading.Semaphore(0)
    runner = Runner(lambda _: Slow(collection))
    first, second, third = (runner.submit(task(f"Where does the cat sleep? {number}")) for number in range(3))
    until(lambda: first.state == "running")
    assert (second.state, runner.ahead(second), runner.ahead(third)) == ("waiting", 1, 2)
    runner.stop(second.id)
    Slow.gate.release(100)
    until(lambda: not first.open and not third.open)
    assert [answer.question[-1] for answer in History(collection).answers("talk")] == ["0", "2"]


def test_a_stopped_answer_keeps_what_it_said(home: Path) -> None:
    collection = library.filled(home)
    Slow.gate = threading.Semaphore(0)
    runner = Runner(lambda _: Slow(collection))
    asked = runner.submit(task("Where does the cat sleep?"))
    Slow.gate.release(2)
    until(lambda: len(asked.texts[0].split()) == 2)
    runner.stop(asked.id)
    Slow.gate.release(100)
    until(lambda: not asked.open)
    (answer,) = History(collection).answers("talk")
    assert answer.generation is not None
    assert answer.generation.finish == "cancelled"
    assert answer.text.startswith("The cat")
    assert answer.text != "The cat sleeps on the mat. [1]"


def test_an_error_ends_one_question_and_not_the_runner(home: Path) -> None:
    collection = library.filled(home)
    runner = Runner(lambda name: Workbench(Collection.open(home, name)))
    bad = runner.submit(task("Why?", variant=Variant("no-such-template", engine="echo", model="")))
    good = runner.submit(task("Where does the cat sleep?"))
    until(lambda: not good.open)
    assert bad.state == "failed"
    assert isinstance(bad.error, TemplateError)
    assert isinstance(bad.error, RagkitError)
    assert good.state == "done"
    runner.dismiss(bad.id)
    assert [item.id for item in runner.tasks("notes", "ask")] == [good.id]
    assert len(History(collection).answers("talk")) == 1
