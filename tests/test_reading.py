"""A reader beside the language model: it quotes first, holds answers back, and takes part in what is remembered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ragkit import adapters, evaluation
from ragkit.answering import Answering
from ragkit.errors import ModelError
from ragkit.evaluation import Plan, begin
from ragkit.generate.echo import EchoGenerator
from ragkit.generate.stream import OnText
from ragkit.history import History
from ragkit.runs import Runs
from ragkit.sets import Sets
from ragkit.settings import RetrieveSettings
from ragkit.types import Decoding, Generation, Prompt, Question, Reading, Variant
from ragkit.workbench import ABSTENTION, Workbench
from tests import library
from tests.readers import SURE, UNSURE, save_encoder, save_reader

ECHO = Variant(engine="echo", model="echo", adapter="")
QUESTION = "Which low-rank matrices does LoRA learn?"
SEARCH = RetrieveSettings(abstain_below=0.0)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def readers(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two readers that read alike; one always counts what it quotes as an answer, the other never does."""
    folder = tmp_path_factory.mktemp("readers")
    save_reader(folder / "sure", base, SURE)
    save_reader(folder / "unsure", base, UNSURE)
    return folder


@pytest.fixture(autouse=True)
def _alone(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of the run's own, and no adapter that ships with ragkit."""
    monkeypatch.setenv("RAGKIT_CACHE", str(tmp_path_factory.getbasetemp() / "readers-cache"))
    monkeypatch.setattr(adapters, "BUNDLED", tmp_path / "bundled")


@pytest.fixture
def workbench(home: Path) -> Workbench:
    library.filled(home)
    return Workbench.open("notes", home)


def with_reader(readers: Path, name: str = "sure") -> RetrieveSettings:
    return replace(SEARCH, reader=str(readers / name))


def test_without_a_reader_nothing_is_read(workbench: Workbench) -> None:
    answer = workbench.ask(QUESTION, ECHO, retrieve=SEARCH)
    assert SEARCH.reader == "auto"
    assert (answer.reading, answer.withheld) == (None, "")
    assert answer.text
    assert workbench.read(QUESTION, workbench.retrieve(QUESTION)) is None


def test_what_is_read_is_told_before_the_model_writes_and_kept_on_the_answer(
    workbench: Workbench, readers: Path
) -> None:
    told: list[str] = []
    answer = workbench.ask(
        QUESTION,
        ECHO,
        retrieve=with_reader(readers),
        on_text=lambda text: told.append(text) or True,
        on_reading=lambda reading, evidence: told.append(f"read: {evidence.hits[reading.passage].text}"),
    )
    assert answer.reading is not None
    passage = answer.hits[answer.reading.passage].text
    assert passage[answer.reading.start : answer.reading.end] == answer.reading.text
    assert told[0] == f"read: {passage}"
    assert "".join(told[1:]).strip() == answer.text
    assert answer.text == workbench.ask(QUESTION, ECHO, retrieve=SEARCH).text
    kept = History(workbench.collection).keep(answer, "talk")
    assert History(workbench.collection).answers("talk") == [kept]


def test_a_reader_that_finds_nothing_holds_the_answer_back(workbench: Workbench, readers: Path) -> None:
    heard: list[str] = []
    answer = workbench.ask(
        QUESTION, ECHO, retrieve=with_reader(readers, "unsure"), on_text=lambda text: heard.append(text) or True
    )
    assert answer.abstained
    assert answer.withheld == "nothing read"
    assert (answer.text, answer.generation, answer.prompt) == (ABSTENTION, None, None)
    assert answer.reading is not None
    assert not answer.reading.answered
    assert heard == [ABSTENTION]
    settings = replace(with_reader(readers, "unsure"), reader_below=0.0)
    asked = workbench.ask(QUESTION, ECHO, retrieve=settings)
    assert asked.generation is not None
    assert asked.reading == answer.reading


class Declining(EchoGenerator):
    """A model that never finds an answer."""

    def generate(self, prompt: Prompt, decoding: Decoding, on_text: OnText) -> Generation:
        on_text(ABSTENTION)
        return replace(super().generate(prompt, decoding, lambda _: True), text=ABSTENTION)


@pytest.fixture
def _declining(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Workbench, "generator", lambda *_: Declining())


@pytest.mark.usefixtures("_declining")
def test_a_refusal_tells_what_stands_nearest_to_the_question(workbench: Workbench) -> None:
    text = "Bread is baked in an oven. A cat sleeps on the mat all day! Rain falls in the hills on most days."
    library.put(workbench.collection, "long.txt", [text])
    answer = workbench.ask("Where does the cat sleep on the mat?", ECHO, retrieve=SEARCH)
    assert answer.abstained
    quotes = [each.quote for each in answer.closest]
    assert quotes == ["A cat sleeps on the mat all day!", "The cat sleeps on the mat."] or quotes == [
        "The cat sleeps on the mat.", "A cat sleeps on the mat all day!"
    ]  # fmt: skip
    for each in answer.closest:
        assert answer.hits[each.number - 1].document == each.document
        page = workbench.collection.page(workbench.collection.document(each.document).id, each.page)
        assert page.text[each.start : each.end] == each.quote
    assert History(workbench.collection).keep(answer, "talk").closest == answer.closest
    far = workbench.ask("Where does the cat sleep?", ECHO, retrieve=replace(SEARCH, abstain_below=1.0))
    assert (far.abstained, far.closest) == (True, ())


@pytest.mark.usefixtures("_declining")
def test_a_sure_reader_stands_in_where_the_model_finds_no_answer(workbench: Workbench, readers: Path) -> None:
    settings = replace(with_reader(readers), reader_below=0.0, reader_above=0.0)
    answer = workbench.ask(QUESTION, ECHO, retrieve=settings)
    assert answer.reading is not None
    assert answer.quoted
    assert not answer.abstained
    assert answer.text == f"{answer.reading.text} [{answer.reading.passage + 1}]"
    assert answer.generation is not None
    assert answer.generation.text == ABSTENTION
    (citation,) = answer.citations
    page = workbench.collection.page(workbench.collection.document(citation.document).id, citation.page)
    assert page.text[citation.start : citation.end] == citation.quote == answer.reading.text
    assert History(workbench.collection).keep(answer, "talk").quoted
    cached = Answering(workbench, lambda: False).answer(ECHO, workbench.retrieve(QUESTION, settings), settings)
    assert (cached.text, cached.quoted) == (answer.text, True)


@pytest.mark.usefixtures("_declining")
@pytest.mark.parametrize("more", [0.0001, 1.0])
def test_a_reader_that_is_less_sure_or_never_asked_to_does_not(
    workbench: Workbench, readers: Path, more: float
) -> None:
    settings = replace(with_reader(readers), reader_below=0.0)
    read = workbench.read(QUESTION, workbench.retrieve(QUESTION, settings), settings)
    assert read is not None
    answer = workbench.ask(QUESTION, ECHO, retrieve=replace(settings, reader_above=min(1.0, read.confidence + more)))
    assert answer.abstained
    assert not answer.quoted
    assert answer.text == ABSTENTION


def test_what_the_model_answers_stands(workbench: Workbench, readers: Path) -> None:
    settings = replace(with_reader(readers), reader_below=0.0, reader_above=0.0)
    answer = workbench.ask(QUESTION, ECHO, retrieve=settings)
    assert not answer.quoted
    assert answer.text == workbench.ask(QUESTION, ECHO, retrieve=SEARCH).text


def test_where_nothing_is_near_nothing_is_read(workbench: Workbench, readers: Path) -> None:
    settings = replace(with_reader(readers), abstain_below=1.0)
    answer = workbench.ask(QUESTION, ECHO, retrieve=settings)
    assert (answer.withheld, answer.reading) == ("nothing near", None)


def test_a_reader_is_named_by_its_folder_or_its_name(
    workbench: Workbench, home: Path, readers: Path, base: Path
) -> None:
    evidence = workbench.retrieve(QUESTION, SEARCH)
    by_folder = workbench.read(QUESTION, evidence, with_reader(readers))
    save_reader(home / "adapters" / "mine", base)
    assert workbench.read(QUESTION, evidence, replace(SEARCH, reader="mine")) == by_folder
    with pytest.raises(ModelError, match="no adapter 'nobody'"):
        workbench.ask(QUESTION, ECHO, retrieve=replace(SEARCH, reader="nobody"))


def test_auto_is_the_reader_that_ships_with_ragkit(
    workbench: Workbench, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_reader(tmp_path / "shipped" / "reader", base)
    monkeypatch.setattr(adapters, "BUNDLED", tmp_path / "shipped")
    evidence = workbench.retrieve(QUESTION, SEARCH)
    assert workbench.read(QUESTION, evidence, SEARCH, Variant()) is not None
    assert workbench.read(QUESTION, evidence, replace(SEARCH, reader=""), Variant()) is None
    assert workbench.readers.settled("auto", [Variant()]) == "reader"


def test_no_reader_is_asked_beside_an_engine_without_a_model_unless_it_was_named(
    workbench: Workbench, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_reader(tmp_path / "shipped" / "reader", base)
    monkeypatch.setattr(adapters, "BUNDLED", tmp_path / "shipped")
    assert workbench.ask(QUESTION, ECHO, retrieve=SEARCH).reading is None
    assert workbench.readers.settled("auto", [ECHO]) == ""
    assert workbench.ask(QUESTION, ECHO, retrieve=replace(SEARCH, reader="reader")).reading is not None


def test_an_automatic_reader_that_cannot_be_loaded_is_done_without(
    workbench: Workbench, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    save_reader(tmp_path / "shipped" / "reader", base)
    card = tmp_path / "shipped" / "reader" / "ragkit.json"
    card.write_text(card.read_text().replace('"base_sha256": "', '"base_sha256": "0'))
    monkeypatch.setattr(adapters, "BUNDLED", tmp_path / "shipped")
    evidence = workbench.retrieve(QUESTION, SEARCH)
    assert workbench.read(QUESTION, evidence, SEARCH, Variant()) is None
    assert workbench.read(QUESTION, evidence, SEARCH, Variant()) is None
    assert len([record for record in caplog.records if "was trained on" in record.getMessage()]) == 1
    assert workbench.readers.settled("auto", [Variant()]) == ""
    with pytest.raises(ModelError, match="was trained on"):
        workbench.ask(QUESTION, ECHO, retrieve=replace(SEARCH, reader="reader"))


def test_the_engine_reader_cites_its_quotation_to_the_character(
    workbench: Workbench, readers: Path, base: Path
) -> None:
    variant = Variant(engine="reader", model=str(base), adapter=str(readers / "sure"))
    answer = workbench.ask(QUESTION, variant, retrieve=with_reader(readers, "unsure"))  # which is not asked beside it
    assert answer.reading is not None
    assert answer.reading == answer.generation.reading
    assert answer.text == f"{answer.reading.text} [{answer.reading.passage + 1}]"
    (cited,) = answer.citations
    page = workbench.collection.page(workbench.collection.document(cited.document).id, cited.page)
    assert page.text[cited.start : cited.end] == cited.quote == answer.reading.text


def test_the_answers_of_a_run_are_those_that_ask_gives(workbench: Workbench, readers: Path) -> None:
    work = Answering(workbench, lambda: False)
    for name in ("sure", "unsure"):
        retrieve = with_reader(readers, name)
        evidence = work.evidence(QUESTION, retrieve)
        answer, again = (work.answer(ECHO, evidence, retrieve) for _ in range(2))
        asked = workbench.ask(QUESTION, ECHO, retrieve=retrieve, evidence=evidence)
        assert (answer.reading, answer.withheld, answer.text) == (asked.reading, asked.withheld, asked.text)
        assert again.reading == answer.reading
    assert work.withheld == 2
    runs = Runs(workbench.collection)
    assert (runs.outcomes("evidence"), runs.outcomes("reading"), runs.outcomes("generation")) == (1, 2, 1)


def test_a_reading_is_not_made_twice(workbench: Workbench, readers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    retrieve = with_reader(readers)
    work = Answering(workbench, lambda: False)
    evidence = work.evidence(QUESTION, retrieve)
    first = work.answer(ECHO, evidence, retrieve).reading
    made = workbench.reader(evidence, retrieve)

    def read(question: str, passages: list[str]) -> Reading:
        raise AssertionError("It was kept.")

    monkeypatch.setattr(made, "read", read)
    assert work.answer(ECHO, evidence, retrieve).reading == first


def test_the_reader_is_part_of_what_a_run_is(workbench: Workbench, home: Path, base: Path) -> None:
    """The same name with another threshold is another run; "auto" is settled when the run begins."""
    asked = Sets(workbench.collection).put("small", [Question("a", QUESTION, ("two",)), Question("b", "Why?", ())])
    plan = Plan((ECHO,), replace(SEARCH, reader="mine"), None, ("retrieved",), (), 0, 0.02, 1)
    save_reader(home / "adapters" / "mine", base, SURE)
    first = begin(workbench, asked, plan)
    assert begin(workbench, asked, plan).id == first.id
    card = home / "adapters" / "mine" / "ragkit.json"
    card.write_text(card.read_text().replace('"threshold": 0.5', '"threshold": 0.6'))
    assert begin(workbench, asked, plan).id != first.id
    automatic = begin(workbench, asked, replace(plan, retrieve=SEARCH))
    assert automatic.plan_of.retrieve.reader == ""
    report = evaluation.carry_out(workbench, automatic.id)
    assert report.withheld == 0
