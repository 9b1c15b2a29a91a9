"""The rule of the promotion gate, on scores written down by hand."""

from __future__ import annotations

import random

import pytest

from ragkit.evaluate.gate import ANSWERABLE, GUARDS, MAIN, judge
from ragkit.types import Question


def asked(count, unanswerable=0):
    questions = [Question(f"q{n}", f"question {n}", ("yes",)) for n in range(count)]
    return questions + [Question(f"u{n}", f"unanswerable {n}") for n in range(unanswerable)]


def spread(questions, mean, seed, width=0.2):
    """Scores around a mean, one a question."""
    draw = random.Random(seed)
    return {each.id: min(1.0, max(0.0, mean + draw.uniform(-width, width))) for each in questions}


def held(questions, mine, theirs, margin=0.02, **more):
    candidate, default = {MAIN: mine}, {MAIN: theirs}
    for metric, (one, other) in more.items():
        name = metric.replace("_", "-")
        candidate[name], default[name] = one, other
    return judge(candidate, default, questions, margin)


def row(judgement, metric):
    return next(each for each in judgement.rows if each.metric == metric)


def test_clearly_better_passes_and_says_by_how_much():
    questions = asked(60)
    found = held(questions, spread(questions, 0.7, 1), spread(questions, 0.4, 2))
    assert (found.outcome, found.reasons, found.more_questions) == ("passed", (), None)
    main = row(found, MAIN)
    assert main.role == "decides"
    assert 0 < main.low < main.difference < main.high
    assert main.difference == pytest.approx(main.candidate - main.default)
    assert main.words.startswith("better by 26")


def test_clearly_worse_fails_however_many_questions_there_are():
    for count in (60, 600):
        questions = asked(count)
        found = held(questions, spread(questions, 0.4, 1), spread(questions, 0.7, 2))
        assert found.outcome == "failed"
        assert "worse by" in found.reasons[0]
        assert found.more_questions is None


def test_the_same_within_the_margin_is_no_reason_to_change():
    questions = asked(400)
    scores = spread(questions, 0.5, 1)
    found = held(questions, scores, dict(scores))
    assert found.outcome == "failed"
    assert "no better than the default" in found.reasons[0]


def test_too_few_questions_cannot_tell_and_say_how_many_more_would():
    questions = asked(12)
    found = held(questions, spread(questions, 0.6, 1, 0.4), spread(questions, 0.5, 2, 0.4))
    assert found.outcome == "cannot tell yet"
    assert found.more_questions > 10
    assert "more questions would" in found.reasons[0]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_a_handful_of_wins_is_luck(count):
    """Five right answers in a row against five wrong ones: an exact test gives p = 0.06."""
    assert all_against_none(count).outcome == "cannot tell yet"
    assert all_against_none(12).outcome == "passed"


def all_against_none(count):
    questions = asked(count)
    keys = [each.id for each in questions]
    return held(questions, dict.fromkeys(keys, 1.0), dict.fromkeys(keys, 0.0))


def test_refusing_everything_does_not_pass_on_a_set_full_of_unanswerable_questions():
    """The main score alone would prefer it: 0.6 against 0.19."""
    questions = asked(80, 120)
    silent = {each.id: float(not each.answerable) for each in questions}
    talks = {each.id: (0.5 if int(each.id[1:]) % 10 else 0.3) if each.answerable else 0.0 for each in questions}
    found = held(questions, silent, talks)
    assert row(found, MAIN).outcome == "passed"
    assert row(found, ANSWERABLE).outcome == "failed"
    assert found.outcome == "failed"
    assert found.reasons == (row(found, ANSWERABLE).reason,)


@pytest.mark.parametrize("metric", [name for name in GUARDS if name != ANSWERABLE])
def test_a_fall_elsewhere_beyond_the_margin_keeps_the_gate_shut(metric):
    questions = asked(80)
    better = spread(questions, 0.8, 1), spread(questions, 0.4, 2)
    key = metric.replace("-", "_")
    fell = {key: (spread(questions, 0.5, 3), spread(questions, 0.8, 4))}
    found = held(questions, *better, **fell)
    assert found.outcome == "failed"
    assert found.reasons[0].startswith(f"{metric}: worse by")
    rose = {key: (spread(questions, 0.8, 3), spread(questions, 0.8, 3))}
    assert held(questions, *better, **rose).outcome == "passed"
    assert held(questions, *better, margin=0.5, **fell).outcome == "passed"


def test_a_fall_that_may_be_chance_is_not_known_yet():
    questions = asked(80)
    draw = random.Random(5)
    one = {each.id: float(draw.random() < 0.60) for each in questions}
    other = {each.id: float(draw.random() < 0.66) for each in questions}
    found = held(questions, spread(questions, 0.8, 1), spread(questions, 0.4, 2), support=(one, other))
    fell = row(found, "support")
    assert fell.difference < -0.02 < 0 < fell.high
    assert found.outcome == "cannot tell yet"
    assert found.more_questions == fell.more_questions > 0


def test_a_metric_that_nobody_has_decides_nothing_unless_it_is_the_main_one():
    questions = asked(40)
    found = held(questions, spread(questions, 0.8, 1), spread(questions, 0.4, 2))
    assert row(found, "citation-precision").words.startswith("not measured")
    assert found.outcome == "passed"
    assert judge({}, {}, questions, 0.02).outcome == "cannot tell yet"


def test_time_counts_only_out_of_all_proportion():
    questions = asked(40)
    better = spread(questions, 0.8, 1), spread(questions, 0.4, 2)

    def slow(mine, theirs):
        times = {each.id: mine for each in questions}, {each.id: theirs for each in questions}
        return held(questions, *better, seconds=times)

    assert slow(2.0, 1.0).outcome == "passed"
    assert slow(4.0, 1.0).outcome == "failed"
    assert "3 times slower" in slow(4.0, 1.0).reasons[0]
    assert slow(0.5, 0.01).outcome == "passed"  # fifty times slower, and nobody notices
    assert row(slow(2.0, 1.0), "seconds").words.startswith("worse by 1.00")
