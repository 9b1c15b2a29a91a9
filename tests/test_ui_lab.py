"""Votes, ratings, training rows, sets and runs on the pages, in Streamlit's own test driver."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from ragkit.collection import Collection
from ragkit.evaluate.ballots import pair, variant_name
from ragkit.evaluation import begin, evaluate, load_report
from ragkit.history import History
from ragkit.jobs import Jobs
from ragkit.runs import Plan, Runs
from ragkit.sets import Sets
from ragkit.settings import RetrieveSettings
from ragkit.types import Answer, Decoding, Gold, Question, Variant
from ragkit.votes import Votes
from ragkit.workbench import Workbench
from tests import library
from tests.test_ui import html, opened
from ui import evaluation_views, grading

EVIL = "<script>alert(1)</script> ![a](http://evil.example/?q=1)"
ANYTHING = RetrieveSettings(abstain_below=0)
VARIANTS = [
    Variant(template, engine="echo", model="", decoding=Decoding(max_tokens=words))
    for template, words in (("cite", 200), ("concise", 12), ("quote", 9), ("strict", 8))
]
QUESTIONS = [
    Question("cat", "Where does the cat sleep?", ("on the mat",), (Gold("cats.txt", 1),)),
    Question("dog", "Where does a dog bark at night?", ("in the yard",), (Gold("cats.txt", 2),)),
    Question("lora", "What does LoRA freeze?", ("the pretrained weights",), (Gold("lora.md", 1),)),
    Question("cup", f"Who won the cup in 1998? {EVIL}"),
]


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """Cached collections and reports belong to one test."""
    st.cache_resource.clear()
    yield
    st.cache_resource.clear()


def compared(collection: Collection, thread: str, question: str, variants: list[Variant]) -> list[Answer]:
    """A kept comparison, its answers as long as their variants let them be."""
    history = History(collection)
    answers = Workbench(collection).compare(question, variants, retrieve=ANYTHING)
    return [history.keep(answer, thread, "compare") for answer in answers]


def duel(home: Path, variants: int = 2) -> Collection:
    collection = library.filled(home)
    compared(collection, "duel", "What does LoRA freeze and learn?", [VARIANTS[0], *VARIANTS[2:]][:variants])
    return collection


def press(test: AppTest, key: str) -> AppTest:
    return test.button(key=key).click().run()


def labels(test: AppTest) -> set[str]:
    return {button.label for button in test.button}


def test_a_ballot_shows_no_name_and_the_vote_brings_them(home: Path) -> None:
    collection = duel(home)
    test = opened("compare", comparison="duel", blind="1")
    assert "Which answer is better?" in html(test)
    assert "+ echo" not in html(test)
    assert {"Left is better", "Tie", "Both bad", "Right is better"} <= labels(test)
    press(test, "vote.left")
    (vote,) = Votes(collection).list()
    assert (vote.choice, vote.blind) == ("left", True)
    assert vote.seconds is not None
    shown = html(test)
    assert variant_name(vote.left.answer.variant) in shown
    assert "won 1 of 1" in shown
    assert "Side by side" in shown
    assert not test.exception


def test_with_more_answers_the_next_pair_comes_and_the_names_stay_hidden_until_the_last(home: Path) -> None:
    collection = duel(home, 3)
    test = opened("compare", comparison="duel", blind="1")
    for number, choice in enumerate(["tie", "bad", "right"], start=1):
        assert f"Pair {number} of 3" in html(test)
        assert "+ echo" not in html(test)
        press(test, f"vote.{choice}")
    assert [vote.choice for vote in Votes(collection).list()] == ["tie", "bad", "right"]
    assert "Side by side" in html(test)
    assert "Pair" not in html(test)


def test_the_sides_of_a_ballot_are_those_of_the_stored_draw(home: Path) -> None:
    collection = duel(home)
    pairing = pair([], "duel", History(collection).answers("duel"))
    assert pairing is not None
    press(opened("compare", comparison="duel", blind="1"), "vote.right")
    (vote,) = Votes(collection).list()
    assert (vote.left.answer.id, vote.right.answer.id, vote.draw) == (pairing.left.id, pairing.right.id, pairing.draw)


def test_a_vote_is_taken_back_and_one_after_the_names_were_seen_is_marked(home: Path) -> None:
    collection = duel(home)
    test = opened("compare", comparison="duel", blind="1")
    press(test, "vote.left")
    press(test, "vote.undo")
    assert Votes(collection).count() == 0
    assert "You have seen the names" in html(test)
    press(test, "vote.right")
    (vote,) = Votes(collection).list()
    assert (vote.choice, vote.blind) == ("right", False)


def test_answers_that_say_the_same_are_not_voted_on(home: Path) -> None:
    collection = library.filled(home)
    compared(collection, "same", "Where does the cat sleep?", [VARIANTS[0], VARIANTS[0]])
    test = opened("compare", comparison="same", blind="1")
    assert "nothing to vote on" in html(test)
    assert "Reveal" in labels(test)
    assert "Left is better" not in labels(test)


def test_ratings_wait_for_votes_and_then_show_intervals_by_each_factor(home: Path) -> None:
    collection = duel(home, 3)
    test = opened("compare")
    assert "No votes yet" in html(test)
    assert not test.get("download_button")
    for _ in range(3):
        pairing = pair(Votes(collection).list(), "duel", History(collection).answers("duel"))
        assert pairing is not None
        Votes(collection).cast(pairing.left.id or 0, pairing.right.id or 0, "left", draw=pairing.draw)
    test = opened("compare")
    assert "3 votes" in html(test)
    assert "Is the strongest" in html(test)
    assert "standing left" in html(test)
    assert test.get("vega_lite_chart") or test.get("arrow_vega_lite_chart")
    for factor in ("template", "selector", "k", "model", "adapter"):
        test.session_state["ratings.by"] = factor
        test.run()
        assert not test.exception
    assert "tells anything about the adapter" in html(test)


def test_the_pair_that_tells_most_is_put_into_the_form(home: Path) -> None:
    collection = duel(home)
    answers = History(collection).answers("duel")
    Votes(collection).cast(answers[0].id or 0, answers[1].id or 0, "left")
    test = press(opened("compare"), "ratings.next")
    assert not test.exception
    assert {test.selectbox(key=f"compare.{letter}.template").value for letter in "AB"} == {"cite", "quote"}
    assert test.selectbox(key="compare.A.model.engine").value == "echo"


def test_training_rows_are_counted_and_their_reasons_told(home: Path) -> None:
    collection = duel(home)
    answers = History(collection).answers("duel")
    whole, cut = (answer.id or 0 for answer in answers)
    Votes(collection).cast(whole, cut, "left")
    Votes(collection).grade(whole, True)
    shown = html(opened("compare"))
    assert shown.count("1 row") == 3
    assert "better is not yet good" in shown


def test_a_thumb_is_kept_taken_back_and_makes_an_example(home: Path) -> None:
    collection = library.filled(home)
    answer = History(collection).keep(Workbench(collection).ask("Where does the cat sleep?", VARIANTS[0]), "talk")
    assert "take it back" not in html(opened(conversation="talk"))
    assert grading.clicked(collection, "grade", f"{answer.id}:1")
    shown = html(opened(conversation="talk"))
    assert "Use as an example" in shown
    assert "Good answer: take it back" in shown
    grading.clicked(collection, "example", f"{answer.id}:")
    (example,) = collection.demonstrations()
    assert (example.question, example.answer) == ("Where does the cat sleep?", "The cat sleeps on the mat.")
    grading.clicked(collection, "grade", f"{answer.id}:0")
    assert [grade.good for grade in Votes(collection).grades()] == [False]
    grading.clicked(collection, "grade", f"{answer.id}:0")
    assert Votes(collection).grades() == []
    assert not grading.clicked(collection, "cite", "1:0")


def ran(home: Path) -> tuple[Collection, int]:
    """A finished run of three variants in three columns."""
    collection = library.filled(home)
    Sets(collection).put("field", QUESTIONS, "field.jsonl")
    columns = ("none", "retrieved", "gold")
    report = evaluate(Workbench(collection), "field", VARIANTS[:3], columns=columns, retrieve=ANYTHING)
    return collection, report.run or 0


def test_evaluate_says_what_to_do_while_there_is_nothing(home: Path) -> None:
    assert "Nothing to evaluate on yet" in html(opened("evaluate"))
    library.filled(home)
    test = opened("evaluate")
    assert "No evaluation yet" in html(test)
    assert "No evaluation set yet" in html(test)
    for query in ({"run": "99"}, {"run": "x"}, {"set": "../evil"}):
        test = opened("evaluate", **query)
        assert "rk-bad" in html(test)
        assert not test.exception


def test_a_set_is_written_by_hand_and_deleted(home: Path) -> None:
    collection = library.filled(home)
    test = opened("evaluate", set="by-hand")
    test.text_area(key="set.question").set_value("Where does the cat sleep?")
    test.text_area(key="set.answers").set_value("on the mat\nthe mat")
    test.selectbox(key="set.document").set_value("cats.txt")
    next(button for button in test.button if button.label == "Add the question").click().run()
    (question,) = Sets(collection).questions("by-hand")
    assert (question.answers, question.gold) == (("on the mat", "the mat"), (Gold("cats.txt"),))
    test.text_area(key="set.question").set_value("Who won?")
    next(button for button in test.button if button.label == "Add the question").click().run()
    assert "2 questions: 1 answerable, 1 unanswerable" in html(opened("evaluate"))
    press(test, "set.delete")
    assert Sets(collection).list() == []


def test_drafts_are_kept_one_by_one(home: Path) -> None:
    collection = library.new(home)
    library.put(collection, "years.txt", [f"The adapter number {year} was made in {year} by somebody." for year in (1,)]
                + ["The first bridge over the river was built in 1871 by the town.",
                   "The old station in the north was closed in 1923 by its owner."])  # fmt: skip
    test = opened("evaluate", set="drafted")
    next(button for button in test.button if button.label == "Propose questions").click().run()
    assert test.button(key="set.keep").disabled
    test.checkbox[0].check().run()
    press(test, "set.keep")
    (question,) = Sets(collection).questions("drafted")
    assert question.answers[0] in ("1871", "1923")
    assert question.gold[0].document == "years.txt"


def test_a_run_is_started_from_the_form_and_waits_as_a_job(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collection = library.filled(home)
    Sets(collection).put("field", QUESTIONS)
    monkeypatch.setattr("ingest.evaluations.ensure_worker", lambda *_: False)
    monkeypatch.setattr("ui.evaluation_run.ensure_worker", lambda *_: False)
    test = opened("evaluate")
    for letter in "AB":
        test.session_state[f"evaluate.{letter}.model.engine"] = "echo"
        test.session_state[f"evaluate.{letter}.model.model"] = ""
    test.run()
    test.number_input(key="evaluate.count.field").set_value(2).run()
    test.checkbox(key="evaluate.together").check().run()
    next(button for button in test.button if button.label == "Start the evaluation").click().run()
    (job,) = Jobs(collection).waiting()
    run = Runs(collection).get(job.args["run"])
    assert (run.name, [variant.template for variant in run.plan_of.variants]) == ("field-2", ["cite", "concise"])
    assert run.plan_of.together
    assert Sets(collection).get("field-2").count == 2
    assert "Waits" in html(test)
    Jobs(collection).cancel(job.id)
    shown = opened("evaluate", run=str(run.id))
    assert "Stopped by you" in html(shown)
    press(shown, "run.resume")
    assert [each.args["run"] for each in Jobs(collection).waiting()] == [run.id]


def test_a_run_that_failed_says_why(home: Path) -> None:
    collection = library.filled(home)
    kept = Sets(collection).put("field", QUESTIONS)
    run = begin(Workbench(collection), kept, Plan((VARIANTS[0],)))
    job = Jobs(collection).submit("evaluate", {"run": run.id})
    Jobs(collection).finish(job, "failed", f"The model broke. {EVIL}")
    test = opened("evaluate", run=str(run.id))
    assert "The model broke." in html(test)
    assert "<script" not in html(test)
    assert "Go on" in labels(test)
    press(test, "run.forget")
    assert Runs(collection).list() == []


def test_a_report_shows_numbers_verdicts_causes_and_questions(home: Path) -> None:
    _, run = ran(home)
    test = opened("evaluate", run=str(run))
    shown = html(test)
    assert not test.exception
    for told in ("Leaderboard", "f1", "exact-match", "Is it better?", "What became of the questions",
                 "Question by question", "Where does the cat sleep?", "missing"):  # fmt: skip
        assert told in shown
    assert len([*test.get("vega_lite_chart"), *test.get("arrow_vega_lite_chart")]) == 2
    assert len(test.get("download_button")) == 3
    assert "<script" not in shown


@pytest.mark.parametrize("column", ["none", "retrieved", "gold"])
def test_every_column_and_filter_of_a_report_can_be_seen(home: Path, column: str) -> None:
    _, run = ran(home)
    test = opened("evaluate", run=str(run))
    test.session_state[f"column.{run}"] = column
    for name in ("all", "disagreements", "wrong in A", "wrong in B", "abstained", "unanswerable"):
        test.session_state["drill.filter"] = name
        test.run()
        assert not test.exception
    assert "Who won the cup in 1998?" in html(test)


def found(home: Path, filters: str) -> set[str]:
    _, run = ran(home)
    test = opened("evaluate", run=str(run))
    test.session_state["drill.filter"] = filters
    test.session_state["drill.second"] = 1
    test.run()
    menu = next(box for box in test.selectbox if str(box.key).startswith("drill.question"))
    return {option.partition(". ")[2][:12] for option in menu.options}


def test_filters_find_the_questions_that_they_name(home: Path) -> None:
    assert found(home, "unanswerable") == {"Who won the "}


def test_the_leaderboard_marks_the_best_and_tells_why_values_are_missing(home: Path) -> None:
    collection, run = ran(home)
    report = load_report(Workbench(collection), run)
    table = evaluation_views.leaderboard(report, "none", ["f1", "recall", "length"])
    assert table.count("missing</span>") == 3
    assert "rk-best" in evaluation_views.leaderboard(report, "retrieved", ["length"])
    told = evaluation_views.reasons(report, "none", ["recall"])
    assert told is not None
    assert "recall (3)" in told


def test_an_import_that_cannot_be_read_names_the_file_and_the_line(home: Path) -> None:
    collection = library.filled(home)
    test = opened("evaluate")
    good = "".join(json.dumps({"question": each.question, "answers": list(each.answers)}) + "\n" for each in QUESTIONS)

    def upload(name: str, text: str) -> None:
        test.file_uploader[0].set_value((name, text.encode(), "application/json")).run()

    upload("broken.jsonl", good + "{nothing\n")
    assert "Line 5 of broken.jsonl" in html(test)
    assert "/tmp" not in html(test)
    upload("my set.jsonl", good)
    (kept,) = Sets(collection).list()
    assert (kept.name, kept.count, kept.unanswerable, kept.source) == ("my-set", 4, 1, "my set.jsonl")
    assert not test.exception
