"""The promotion gate, with tiny models that are trained here: what is worse does not become the default."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest

from ragkit import adapters, promotion
from ragkit.promotion import GateError
from ragkit.promotions import Promotions
from ragkit.runs import Runs
from ragkit.sets import Sets
from ragkit.settings import RetrieveSettings
from ragkit.tune.card import QUESTIONS, write_questions
from ragkit.types import Question, Variant
from ragkit.workbench import Workbench
from tests.library import filled
from tests.readers import SURE, UNSURE, save_encoder, save_reader
from tests.tiny_speakers import save_adapter, save_speaker

NEVER = RetrieveSettings(abstain_below=0.0, reader="")
COUNT = 12


def questions(answer, count=COUNT, unanswerable=0):
    asked = [Question(f"q{n}", f"Where does animal number {n} like to sleep best?", (answer,)) for n in range(count)]
    return asked + [Question(f"u{n}", f"Who is king number {n} of the moon?") for n in range(unanswerable)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model that says "dog", with adapters through which it says "mat" and "yard"."""
    folder = tmp_path_factory.mktemp("trained")
    base = save_speaker(folder / "base", "dog")
    for word in ("mat", "yard"):
        save_adapter(folder / word, base, word, "concise")
    return folder


@pytest.fixture
def workbench(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(adapters, "BUNDLED", tmp_path / "bundled")  # whatever ships with ragkit
    collection = filled(tmp_path / "home")
    for word in ("mat", "yard"):
        shutil.copytree(trained / word, adapters.shelf(collection.home) / word)
    for word in ("mat", "dog", "yard"):
        Sets(collection).put(f"right-is-{word}", questions(word))
    return Workbench(collection)


@pytest.fixture
def base(trained):
    return str(trained / "base")


def gate(workbench, adapter, name, **more):
    return promotion.gate(workbench, adapter, name, retrieve=NEVER, **more)


def says(workbench, base):
    variant = workbench.defaults.variant(base)
    return workbench.ask("Where does the cat sleep?", variant, retrieve=NEVER)


def row(held, metric):
    return next(each for each in held.rows if each.metric == metric)


def test_a_better_adapter_passes_and_becomes_the_default_with_its_template(workbench, base):
    before = says(workbench, base)
    assert (before.text, before.variant.template, before.variant.adapter) == ("dog", "cite", "")
    held = gate(workbench, "mat", "right-is-mat")
    assert held.passed
    assert (held.candidate.template, held.candidate.adapter) == ("concise", "mat")
    assert (held.default.template, held.default.adapter) == ("cite", "")
    assert (row(held, "f1").candidate, row(held, "f1").default) == (1.0, 0.0)
    assert row(held, "seconds").candidate > 0
    assert {each.metric for each in held.rows} >= {"exact-match", "f1", "abstention", "citation-precision", "support"}
    assert says(workbench, base).text == "dog", "a gate changes nothing"
    kept = promotion.promote(workbench, held)
    assert (kept.adapter, kept.base, kept.template, kept.run) == ("mat", base, "concise", held.run)
    assert [each["metric"] for each in kept.gate["rows"]] == [each.metric for each in held.rows]
    after = says(workbench, base)
    assert (after.text, after.variant.template, after.variant.adapter) == ("mat", "concise", "mat")
    assert Runs(workbench.collection).answer(held.run, "q0", 0, "retrieved").variant == held.candidate


def test_a_worse_adapter_cannot_be_promoted(workbench, base):
    held = gate(workbench, "mat", "right-is-dog")
    assert held.outcome == "failed"
    assert row(held, "f1").difference == -1.0
    assert "worse by 100.0 points" in held.words
    with pytest.raises(GateError, match="not made the default"):
        promotion.promote(workbench, held)
    assert says(workbench, base).text == "dog"
    assert Promotions(workbench.collection).history() == []


def test_it_is_held_against_what_is_the_default_now_and_not_against_the_bare_model(workbench, base):
    promotion.promote(workbench, gate(workbench, "mat", "right-is-mat"))
    worse = gate(workbench, "yard", "right-is-mat")
    assert worse.default.adapter == "mat"
    assert worse.outcome == "failed"
    with pytest.raises(GateError):
        promotion.promote(workbench, worse)
    promotion.promote(workbench, gate(workbench, "yard", "right-is-yard"))
    assert says(workbench, base).text == "yard"
    with pytest.raises(GateError, match="the default already"):
        gate(workbench, "yard", "right-is-yard")


def test_rolling_back_gives_the_same_bytes_as_before(workbench, base):
    def told():
        answer = says(workbench, base)
        made = dataclasses.replace(answer.generation, seconds=0.0, seconds_to_first=0.0)
        return dataclasses.replace(answer, generation=made, seconds_retrieval=0.0)

    bare = told()
    promotion.promote(workbench, gate(workbench, "mat", "right-is-mat"))
    first = told()
    promotion.promote(workbench, gate(workbench, "yard", "right-is-yard"))
    assert told() not in (bare, first)
    assert promotion.roll_back(workbench).adapter == "yard"
    assert told() == first
    assert promotion.roll_back(workbench, base=base).adapter == "mat"
    assert told() == bare
    with pytest.raises(GateError, match="promoted"):
        promotion.roll_back(workbench)


def test_too_few_questions_cannot_tell_and_do_not_pass(workbench):
    Sets(workbench.collection).put("few", questions("mat", 4))
    held = gate(workbench, "mat", "few")
    assert held.outcome == "cannot tell yet"
    assert held.more_questions >= 1
    assert "more questions would tell" in held.words
    with pytest.raises(GateError, match="cannot be told yet"):
        promotion.promote(workbench, held)


def test_a_gate_is_stale_once_something_changed(workbench, trained):
    held = gate(workbench, "mat", "right-is-mat")
    sets, home = Sets(workbench.collection), workbench.collection.home

    sets.add("right-is-mat", Question("new", "And what about the newest animal of all?", ("mat",)))
    with pytest.raises(GateError, match="The set 'right-is-mat' has changed"):
        promotion.promote(workbench, held)
    sets.delete("right-is-mat", "new")

    adapters.remove(home, "mat")
    shutil.copytree(trained / "yard", adapters.shelf(home) / "mat")
    with pytest.raises(GateError, match="The weights of mat have changed"):
        promotion.promote(workbench, held)
    adapters.remove(home, "mat")
    shutil.copytree(trained / "mat", adapters.shelf(home) / "mat")

    promotion.promote(workbench, gate(workbench, "yard", "right-is-yard"))
    with pytest.raises(GateError, match="The default has changed"):
        promotion.promote(workbench, held)
    promotion.roll_back(workbench)
    assert promotion.promote(workbench, held).adapter == "mat"


def test_questions_that_it_was_trained_on_are_refused(workbench):
    folder = adapters.shelf(workbench.collection.home) / "mat"
    held = gate(workbench, "mat", "right-is-mat")
    assert any("does not say what it was trained on" in note for note in held.notes)
    asked = questions("mat")[3].question
    for text in (asked, asked.upper(), f"{asked[:-1]} of all?"):
        write_questions(folder, ("What is LoRA?", text))
        with pytest.raises(GateError, match="was trained on .* of the 12 questions of 'right-is-mat'"):
            gate(workbench, "mat", "right-is-mat")
    write_questions(folder, ["What is LoRA?"])
    assert not any("trained" in note for note in gate(workbench, "mat", "right-is-mat").notes)
    (folder / QUESTIONS).write_bytes((folder / QUESTIONS).read_bytes()[:-9])
    with pytest.raises(GateError, match="damaged"):
        gate(workbench, "mat", "right-is-mat")


def test_a_head_start_of_the_default_is_told(workbench):
    promotion.promote(workbench, gate(workbench, "mat", "right-is-mat"))
    folder = adapters.shelf(workbench.collection.home) / "mat"
    write_questions(folder, [each.question for each in questions("mat")])
    notes = gate(workbench, "yard", "right-is-mat").notes
    assert "The default, mat, was trained on 12 of these questions: a head start." in notes


def test_a_set_that_can_show_nothing_is_refused_and_a_one_sided_one_is_told(workbench):
    Sets(workbench.collection).put("none", questions("mat", 0, unanswerable=3))
    with pytest.raises(GateError, match="holds no question with an answer"):
        gate(workbench, "mat", "none")
    assert any("knows when to refuse" in note for note in gate(workbench, "mat", "right-is-mat").notes)
    Sets(workbench.collection).put("both", questions("mat", 12, unanswerable=2))
    held = gate(workbench, "mat", "both")
    assert not any("refuse" in note for note in held.notes)
    assert (row(held, "false-answer").candidate, row(held, "f1").questions) == (1.0, 14)


def test_an_adapter_without_a_template_cannot_be_measured(workbench):
    card = adapters.shelf(workbench.collection.home) / "mat" / adapters.CARD
    card.write_text(json.dumps({**json.loads(card.read_text()), "template": ""}))
    with pytest.raises(GateError, match="names no template"):
        gate(workbench, "mat", "right-is-mat")
    with pytest.raises(adapters.AdapterError, match="no adapter 'nothing'"):
        gate(workbench, "nothing", "right-is-mat")


def test_a_gate_that_was_held_before_comes_from_the_cache(workbench):
    told = []
    first = gate(workbench, "mat", "right-is-mat")
    again = gate(workbench, "mat", "right-is-mat", listen=told.append)
    assert (told[-1].generated, told[-1].cached) == (0, 2 * COUNT)
    assert again.rows == first.rows


def test_an_adapter_by_its_folder_is_measured_too(workbench, trained):
    held = gate(workbench, str(trained / "mat"), "right-is-mat")
    assert held.adapter == "mat"
    assert held.candidate == Variant(template="concise", model=held.base, adapter=str((trained / "mat").resolve()))


@pytest.fixture(scope="module")
def readers(tmp_path_factory):
    """A reader that always quotes something, and one that never finds anything."""
    folder = tmp_path_factory.mktemp("readers")
    base = save_encoder(folder / "encoder")
    save_reader(folder / "bold", base, SURE), save_reader(folder / "shy", base, UNSURE)
    return folder


@pytest.fixture
def reading(workbench, readers):
    """The workbench with both readers, and questions that nothing answers but for a few."""
    for name in ("bold", "shy"):
        shutil.copytree(readers / name, adapters.shelf(workbench.collection.home) / name)
    Sets(workbench.collection).put("mostly-unanswerable", questions("xyzzy", 2, unanswerable=14))
    return workbench


def test_a_first_reader_is_held_against_having_none(reading):
    held = gate(reading, "bold", "mostly-unanswerable")
    assert (held.task, held.candidate.engine, held.default) == ("extract", "reader", None)
    assert row(held, "f1").default == 14 / 16
    assert row(held, "f1").candidate == 0.0
    assert held.outcome == "failed"
    assert "not to replace no reader" in held.words
    with pytest.raises(GateError):
        promotion.promote(reading, held)
    shy = gate(reading, "shy", "mostly-unanswerable")  # as good as none
    assert row(shy, "f1").difference == 0.0
    assert not shy.passed


def test_a_better_reader_takes_the_place_of_the_default_one(reading):
    collection = reading.collection
    bold = adapters.find("bold", collection.home)
    Promotions(collection).add("extract", "bold", bold.sha256, bold.base, "", None, {})
    assert reading.readers.settled("auto") == "bold"
    held = gate(reading, "shy", "mostly-unanswerable")
    assert held.default.adapter == "bold"
    assert held.passed
    promotion.promote(reading, held)
    assert reading.readers.settled("auto") == "shy"
    assert reading.defaults.variant() == Variant(), "what writes is another matter"
    promotion.roll_back(reading, "extract")
    assert reading.readers.settled("auto") == "bold"


def test_the_default_reader_refuses_nothing_on_behalf_of_a_candidate(reading):
    collection = reading.collection
    shy = adapters.find("shy", collection.home)
    Promotions(collection).add("extract", "shy", shy.sha256, shy.base, "", None, {})
    held = promotion.gate(reading, "bold", "mostly-unanswerable", retrieve=RetrieveSettings(abstain_below=0.0))
    assert row(held, "false-answer").candidate == 1.0
    assert row(held, "false-answer").default == 0.0
    assert held.outcome == "failed"
