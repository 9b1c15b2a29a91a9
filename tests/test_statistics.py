"""Paired statistics: against scipy, against values by hand, and in simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ragkit.evaluate import statistics as ours

scores = st.lists(st.floats(0, 1), min_size=0, max_size=30)


def test_mcnemar_is_the_sign_test_of_the_discordant_pairs():
    differences = [1.0] * 9 + [-1.0] * 2 + [0.0] * 50
    assert ours.mcnemar(differences) == pytest.approx(stats.binomtest(9, 11).pvalue)
    assert ours.mcnemar([0.0, 0.0]) == 1.0


def test_the_permutation_test_agrees_with_scipys():
    table = np.random.default_rng(0).normal(0.2, 1, 10)
    wanted = stats.permutation_test((table,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert ours.paired_p(table) == pytest.approx(wanted)
    many = np.random.default_rng(1).normal(0.15, 1, 150)
    assert ours.paired_p(many) == pytest.approx(stats.ttest_1samp(many, 0).pvalue, abs=0.02)


def test_holm_by_hand():
    assert ours.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert ours.holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_no_correction_and_bonferroni(values):
    adjusted = ours.holm(values)
    for one, after in zip(values, adjusted, strict=True):
        assert one <= after <= min(1.0, one * len(values)) + 1e-12
    assert [adjusted[place] for place in np.argsort(values)] == sorted(adjusted)


def test_the_bca_interval_agrees_with_scipys():
    table = np.random.default_rng(3).beta(0.4, 0.8, 120)
    low, high = ours._bca(table, 0.95, 0, 4000)
    wanted = stats.bootstrap((table,), np.mean, n_resamples=9999, rng=np.random.default_rng(1)).confidence_interval
    assert low == pytest.approx(wanted.low, abs=0.01)
    assert high == pytest.approx(wanted.high, abs=0.01)


@given(scores)
def test_an_interval_holds_its_mean(values):
    interval = ours.mean_interval(values, resamples=200)
    if values:
        assert interval.low - 1e-9 <= float(np.mean(values)) <= interval.high + 1e-9


@pytest.mark.parametrize("questions", [20, 60, 200])
@pytest.mark.parametrize(
    ("truth", "draw"),
    [
        (0.375, lambda r, n: r.beta(0.3, 0.5, n)),
        (0.15, lambda r, n: (r.random(n) < 0.15).astype(float)),
        (0.1, lambda r, n: (r.random(n) < 0.35) * 1.0 - (r.random(n) < 0.25)),
    ],
)
def test_intervals_cover_the_truth_as_often_as_they_say(questions, truth, draw):
    generator = np.random.default_rng(questions)
    covered = 0
    for seed in range(400):
        interval = ours.mean_interval(draw(generator, questions), seed=seed, resamples=800)
        covered += interval.low <= truth <= interval.high
    assert covered / 400 >= 0.93


def test_equal_variants_are_called_different_in_at_most_five_of_a_hundred():
    generator = np.random.default_rng(7)
    different = 0
    for number in range(1000):
        questions = int(generator.integers(10, 50))
        ability = generator.random(questions)
        one, other = (np.clip(ability + generator.normal(0, 0.3, questions), 0, 1) for _ in range(2))
        if number % 2:
            one, other = (one > 0.5).astype(float), (other > 0.5).astype(float)
        different += ours.compare([(one, other)])[0].verdict in ("better", "worse")
    assert different <= 50


def test_several_variants_at_once_are_corrected_for():
    generator = np.random.default_rng(8)
    families = 0
    for _ in range(300):
        base = generator.random(40)
        pairs = [(generator.permutation(base), base) for _ in range(4)]
        families += any(result.verdict in ("better", "worse") for result in ours.compare(pairs))
    assert families <= 0.08 * 300


def test_verdicts_in_plain_words():
    generator = np.random.default_rng(2)
    base = generator.random(400)
    better, worse, same, unclear = ours.compare(
        [
            (base + 0.1 + generator.normal(0, 0.1, 400), base),
            (base - 0.1 + generator.normal(0, 0.1, 400), base),
            (base + generator.normal(0, 0.02, 400), base),
            (base[:12] + generator.normal(0.02, 0.3, 12), base[:12]),
        ],
        margin=0.02,
    )
    assert (better.verdict, worse.verdict) == ("better", "worse")
    assert same.verdict == "same within the margin"
    assert unclear.verdict == "cannot tell yet"
    assert unclear.more_questions > 0
    assert better.interval.low > 0
    assert better.p_adjusted >= better.p


def test_ten_identical_answers_do_not_prove_equality():
    assert ours.compare([([1.0] * 10, [1.0] * 10)], margin=0.02)[0].verdict == "cannot tell yet"
    assert ours.compare([([1.0] * 500, [1.0] * 500)], margin=0.02)[0].verdict == "same within the margin"


def test_three_nearly_equal_answers_do_not_prove_equality_either():
    one, other = [0.5011, 0.6002, 0.7013], [0.5, 0.6, 0.7]
    assert ours.compare([(one, other)], margin=0.02)[0].verdict == "cannot tell yet"
    assert ours.compare([(one * 60, other * 60)], margin=0.02)[0].verdict != "cannot tell yet"


def test_the_number_of_questions_needed_shows_the_difference_four_times_in_five():
    generator = np.random.default_rng(4)
    needed = ours.questions_needed(generator.normal(0.1, 0.4, 5000))
    found = sum(ours.paired_p(generator.normal(0.1, 0.4, needed), resamples=400) < 0.05 for _ in range(200))
    assert 0.7 <= found / 200 <= 0.9


def test_no_question_gives_no_verdict():
    result = ours.compare([([], [])])[0]
    assert (result.questions, result.verdict) == (0, "cannot tell yet")
