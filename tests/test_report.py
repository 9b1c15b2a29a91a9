"""Reports: what is averaged and what is missing, verdicts in words, exports that hold hostile text, answers from
elsewhere."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragkit.evaluate import plots
from ragkit.evaluate.export import as_csv, as_json, write_report
from ragkit.evaluate.page import html
from ragkit.evaluate.report import Item, Report, in_words, judge, summarise
from ragkit.evaluate.scoring import decisive, labels, score, score_answers
from ragkit.evaluate.statistics import Comparison, Interval
from ragkit.runs import RunError
from ragkit.types import Decoding, Question, Variant, from_json
from tests.command import ragkit

EVIL = '<script>alert(1)</script><img src=x onerror="alert(2)">'


def item(question, variant=0, column="retrieved", repeat=0, text="x", **values):
    missing = {name: value for name, value in values.items() if isinstance(value, str)}
    there = {name: value for name, value in values.items() if not isinstance(value, str)}
    return Item(question, variant, column, repeat, text, values=there, missing=missing)


def report_of(items, variants=("one", "two"), questions=4, **more) -> Report:
    asked = [Question(str(number), f"Question {number}?", ("gold",)) for number in range(questions)]
    options = {"metrics": ["f1"], "baseline": 0, "margin": 0.02, **more}
    return score(items, asked, list(variants), ["retrieved"], **options)


def test_missing_values_are_counted_by_reason_and_never_averaged():
    items = [item("0", f1=1.0), item("1", f1=0.0), item("2", f1="no gold"), item("3", f1="no gold")]
    (only,) = summarise(items, 1, ["retrieved"], ["f1"])
    assert (only.questions, only.mean, only.missing) == (2, 0.5, {"no gold": 2})
    (nothing,) = summarise(items[2:], 1, ["retrieved"], ["f1"])
    assert (nothing.mean, nothing.low, nothing.questions) == (None, None, 0)


def test_a_question_counts_once_however_often_it_was_repeated():
    items = [item("0", repeat=number, f1=value) for number, value in enumerate((0.0, 1.0))] + [item("1", f1=1.0)]
    (only,) = summarise(items, 1, ["retrieved"], ["f1"])
    assert (only.questions, only.mean) == (2, 0.75)


def test_intervals_stay_within_what_a_score_can_be():
    items = [item(str(number), f1=float(number > 0), seconds=float(number)) for number in range(4)]
    f1, seconds = summarise(items, 1, ["retrieved"], ["f1", "seconds"])
    assert f1.low >= 0.0
    assert f1.high == 1.0
    assert seconds.low == 0.0
    assert seconds.high > 1.0


def test_only_questions_that_both_answered_are_compared():
    items = [item(str(number), 0, f1=0.0) for number in range(20)]
    items += [item(str(number), 1, f1=1.0) for number in range(12)] + [item("19", 1, f1="gone")]
    (verdict,) = judge(items, 2, ["retrieved"], ["f1"])
    assert verdict.comparison.questions == 12
    assert verdict.comparison.verdict == "better"
    assert verdict.words.startswith("better by 100.0 points")


def test_lower_is_better_for_costs_and_false_answers_and_the_sign_is_the_metrics_own():
    items = [item(str(number), 0, seconds=2.0 + number % 3 / 10) for number in range(30)]
    items += [item(str(number), 1, seconds=1.0) for number in range(30)]
    (verdict,) = judge(items, 2, ["retrieved"], ["seconds"])
    assert verdict.comparison.verdict == "better"
    assert verdict.comparison.difference == pytest.approx(-1.1)
    assert verdict.comparison.interval.low < -1.1 < verdict.comparison.interval.high < 0
    assert verdict.words.startswith("better by 1.10 (1.07 to 1.13)")
    (worse,) = judge(items, 2, ["retrieved"], ["seconds"], baseline=1)
    assert worse.comparison.verdict == "worse"


def test_holm_is_over_all_comparisons_of_the_report():
    items = [item(str(n), v, f1=float(n < 9 * v), support=float(n < 9 * v)) for n in range(30) for v in range(2)]
    (alone,) = judge(items, 2, ["retrieved"], ["f1"])
    both = judge(items, 2, ["retrieved"], ["f1", "support"])
    assert alone.comparison.p_adjusted == alone.comparison.p
    assert {each.comparison.p_adjusted for each in both} == {2 * alone.comparison.p}


@pytest.mark.parametrize(
    ("difference", "low", "high", "verdict", "more", "words"),
    [
        (0.041, 0.012, 0.07, "better", None, "better by 4.1 points (1.2 to 7.0)"),
        (-0.041, -0.07, -0.012, "worse", None, "worse by 4.1 points (1.2 to 7.0)"),
        (0.001, -0.01, 0.01, "same within the margin", None, "same within the margin: +0.1 points"),
        (0.03, -0.01, 0.07, "cannot tell yet", 120, "cannot tell yet: +3.0 points (-1.0 to 7.0); about 120 more"),
        (0.0, float("-inf"), float("inf"), "cannot tell yet", None, "cannot tell yet: +0.0 points"),
        (1e-9, -0.1, 0.1, "cannot tell yet", 10**9, "cannot tell yet: +0.0 points (-10.0 to 10.0); no number of"),
    ],
)
def test_verdicts_in_words(difference, low, high, verdict, more, words):
    told = in_words(Comparison(50, difference, Interval(low, high), 0.5, 0.5, verdict, more), "f1")
    assert told == words or told in (f"{words} questions would", f"{words} questions within reach would")


def test_columns_without_context_are_not_compared_beside_others():
    items = [item(str(n), v, column, f1=1.0) for n in range(3) for v in range(2) for column in ("none", "retrieved")]
    asked = [Question(str(number), "?", ("x",)) for number in range(3)]
    both = score(items, asked, ["a", "b"], ["none", "retrieved"], metrics=["f1"], baseline=0, margin=0.02)
    assert {each.column for each in both.verdicts} == {"retrieved"}
    alone = score(items, asked, ["a", "b"], ["none"], metrics=["f1"], baseline=0, margin=0.02)
    assert {each.column for each in alone.verdicts} == {"none"}


def test_metrics_that_decide_follow_the_kind_of_set():
    answer, none, pages = Question("a", "?", ("x",)), Question("b", "?"), Question("c", "?", judged=False)
    assert decisive([answer]) == ("f1", "exact-match")
    assert decisive([answer, none]) == ("f1", "exact-match", "abstention")
    assert decisive([pages]) == ("recall", "ndcg")
    assert decisive([answer], ["support"]) == ("support",)


def test_variants_of_one_name_are_numbered():
    assert labels([Variant(), Variant(decoding=Decoding(seed=1)), Variant(template="strict")]) == [
        "cite",
        "cite (2)",
        "strict",
    ]


def test_the_page_escapes_everything_and_refers_to_nothing_outside():
    asked = [Question(EVIL, EVIL, (EVIL,))]
    items = [
        Item(EVIL, number, "retrieved", 0, EVIL, False, "retrieved but ignored", False, {"f1": 0.5}, {"map": EVIL})
        for number in range(2)
    ]
    options = {"metrics": ["f1"], "baseline": 0, "margin": 0.02, "name": EVIL, "notes": (EVIL,)}
    page = html(score(items, asked, [EVIL, "two"], ["retrieved"], **options))
    assert "<script" not in page
    assert "<img" not in page
    assert page.count("&lt;script&gt;") >= 8
    assert not re.search(r"https?://|(?:src|href)=[\"']|@import|url\(", page)
    assert "default-src 'none'" in page
    assert "prefers-color-scheme: dark" in page


def test_the_page_shows_means_intervals_and_what_is_missing():
    items = [item(str(n), v, f1=float((n + v) % 2), support="no answer to support") for n in range(4) for v in range(2)]
    page = html(report_of(items))
    assert "50.0" in page
    assert "<svg" in page
    assert "cannot tell yet" in page
    assert page.count("<details>") == 4


def test_csv_has_a_row_an_answer_and_no_formula():
    items = [item("0", text='=HYPERLINK("x")', f1=0.5), item("1", text="a, \"b\"\nc", f1="gone", map=0.25)]
    rows = list(csv.DictReader(io.StringIO(as_csv(report_of(items, ["one"])))))
    assert [row["answer"] for row in rows] == ["'=HYPERLINK(\"x\")", 'a, "b"\nc']
    assert [row["f1"] for row in rows] == ["0.5", ""]
    assert [row["map"] for row in rows] == ["", "0.25"]
    assert rows[0]["question"] == "Question 0?"
    assert rows[0]["answers"] == "gold"


def test_json_is_json_and_comes_back_as_the_report():
    report = report_of([item(str(n), v, f1=n / 3) for n in range(4) for v in range(2)])
    assert from_json(Report, json.loads(as_json(report))) == report
    single = report_of([item("0", v, f1=1.0) for v in range(2)])  # an interval of one value is infinite
    assert json.loads(as_json(single))["verdicts"][0]["comparison"]["interval"] == {"low": None, "high": None}


def test_writing_replaces_a_file_whole_or_says_why_not(tmp_path):
    report = report_of([item("0", f1=1.0)], ["one"])
    path = tmp_path / "r.html"
    path.write_text("old")
    write_report(report, path)
    assert path.read_text("utf-8").startswith("<!doctype html>")
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(RunError, match="cannot be written as 'r.pdf'"):
        write_report(report, tmp_path / "r.pdf")
    with pytest.raises(RunError, match="cannot be written"):
        write_report(report, tmp_path / "none" / "r.csv")


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=6), st.booleans())
def test_plots_keep_every_mark_inside_the_picture(rows, unit):
    drawn = plots.intervals([("name", *sorted(row)[1:2], min(row), max(row)) for row in rows], "title", unit)
    width = float(re.search(r'viewBox="0 0 (\d+)', drawn)[1])
    places = [float(value) for value in re.findall(r' (?:x1|x2|cx|x)="([\d.-]+)"', drawn)]
    assert all(0 <= place <= width for place in places)
    assert drawn.count("<circle") == len(rows)


def test_answers_made_elsewhere_are_scored_by_id():
    asked = [Question("a", "?", ("the cat",)), Question("b", "?", ("dog",)), Question("c", "?")]
    report = score_answers(asked, {"mine": {"a": "Cat", "c": "", "z": "?"}, "yours": {"a": "x", "b": "dog", "c": "y"}})
    mine, yours = (report.summary(number, "answers", "f1") for number in (0, 1))
    assert (mine.questions, mine.mean) == (2, 1.0)
    assert mine.missing == {"there is no answer with this id": 1}
    assert (yours.questions, yours.mean) == (3, pytest.approx(1 / 3))
    assert report.verdicts[0].comparison.questions == 2
    assert report.notes == (
        "mine: 1 answers belong to no question.",
        "mine: 1 questions have no answer; they are missing, not zero.",
    )
    assert [each.counts for each in report.causes] == [
        {"right": 1, "rightly refused": 1},
        {"wrong": 1, "right": 1, "answered without ground": 1},
    ]
    with pytest.raises(RunError, match="other answers none of the questions"):
        score_answers(asked, {"other": {"y": "x"}})


@pytest.mark.data
def test_a_squad_prediction_file_from_the_command_line(data, tmp_path):
    gold = data / "squad" / "squad-v2.0-dev.json"
    predictions: dict[str, str] = {}
    for article in json.loads(gold.read_text("utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            for asked in paragraph["qas"]:
                predictions[asked["id"]] = asked["answers"][0]["text"] if asked["answers"] else ""
    file = tmp_path / "perfect.json"
    file.write_text(json.dumps(predictions))
    done = ragkit("evaluate", "--answers", file, "--gold", gold, "--json", home=tmp_path)
    means = {each["metric"]: each["mean"] for each in json.loads(done.stdout)["summaries"]}
    assert (means["f1"], means["exact-match"], means["abstention"]) == (1.0, 1.0, 1.0)
    assert json.loads(done.stdout)["questions"] == 7919


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_opens_in_a_browser_without_a_complaint(browser, tmp_path, scheme):
    items = [item(str(n), v, f1=float(n % 2), text=EVIL) for n in range(4) for v in range(2)]
    path = tmp_path / "report.html"
    write_report(report_of(items), path)
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("dialog", lambda dialog: said.append("dialog"))
    page.on("request", lambda request: said.append(request.url) if not request.url.startswith("file:") else None)
    page.goto(path.as_uri())
    page.locator("details").first.locator("summary").click()
    assert page.locator("svg circle").count() == 2
    assert page.locator("details td.text").first.inner_text() == EVIL
    light = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert light == (scheme == "light")
    assert said == []
    context.close()
