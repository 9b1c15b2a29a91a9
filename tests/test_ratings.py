"""Ratings from votes: planted effects come back, planted bias goes, and asking wisely saves votes."""

import numpy as np
import pytest
from scipy.special import expit

from ragkit.evaluate.ratings import Ballot, next_pair, rate

ELO = 400 / np.log(10)


def vote(generator, strengths, left, right, bias=0.0, length=0.0, length_effect=0.0):
    chance = expit(strengths[left] - strengths[right] + bias + length_effect * length)
    return Ballot(f"v{left}", f"v{right}", "left" if generator.random() < chance else "right", length)


def test_planted_strengths_bias_and_length_effect_are_recovered():
    generator = np.random.default_rng(0)
    strengths = np.array([0.9, 0.3, -0.2, -1.0])
    ballots = []
    for _ in range(6000):
        left, right = generator.choice(4, 2, replace=False)
        ballots.append(vote(generator, strengths, left, right, 0.5, float(generator.normal()), 0.8))
    table = rate(ballots)
    found = {rating.name: (rating.rating - 1000) / ELO for rating in table.ratings}
    for place, strength in enumerate(strengths - strengths.mean()):
        assert found[f"v{place}"] == pytest.approx(strength, abs=0.15)
    assert table.left_bonus / ELO == pytest.approx(0.5, abs=0.15)
    assert table.length_bonus / ELO == pytest.approx(0.8, abs=0.15)
    assert table.enough
    assert table.ratings[0].name == "v0"


def test_a_left_side_bias_does_not_move_the_ratings():
    """Equal contestants, one of them always on the left: without the bias term it would look far stronger."""
    generator = np.random.default_rng(1)
    pairs = [(0, 1)] * 400 + [(1, 2)] * 400 + [(2, 0)] * 400 + [(0, 2)] * 200
    ballots = [vote(generator, np.zeros(3), left, right, bias=1.0) for left, right in pairs]
    table = rate(ballots)
    assert max(abs(rating.rating - 1000) for rating in table.ratings) < 60
    assert table.left_bonus > 100


def test_intervals_cover_the_truth():
    covered = total = 0
    for seed in range(60):
        generator = np.random.default_rng(seed)
        strengths = generator.normal(0, 0.7, 4)
        ballots = [vote(generator, strengths, *generator.choice(4, 2, replace=False)) for _ in range(150)]
        for rating in rate(ballots).ratings:
            truth = 1000 + ELO * (strengths[int(rating.name[1:])] - strengths.mean())
            covered += rating.low <= truth <= rating.high
            total += 1
    assert covered / total >= 0.93


def test_ties_count_half_and_both_bad_counts_nothing():
    ties = rate([Ballot("a", "b", "tie")] * 20)
    assert [rating.wins for rating in ties.ratings] == [10, 10]
    assert ties.ratings[0].rating == pytest.approx(1000)
    nothing = rate([Ballot("a", "b", "bad")] * 20, ["a", "b"])
    assert nothing.votes == 0
    assert not nothing.enough


def test_a_contestant_that_won_every_vote_has_a_finite_rating():
    table = rate([Ballot("a", "b", "left")] * 10 + [Ballot("b", "a", "right")] * 10)
    assert table.ratings[0].name == "a"
    assert 1000 < table.ratings[0].rating < 2500
    assert table.enough


def test_without_votes_everybody_is_equal_and_nothing_is_decided():
    table = rate([], ["a", "b", "c"])
    assert {rating.rating for rating in table.ratings} == {1000}
    assert not table.enough
    assert rate([]).ratings == ()


def regret(active, contestants, votes, seed):
    """How much weaker than the best the rated winner is, after so many votes."""
    generator = np.random.default_rng(seed)
    strengths = np.sort(generator.normal(0, 1, contestants))[::-1]
    names = [f"v{place}" for place in range(contestants)]
    ballots = []
    for _ in range(votes):
        pair = next_pair(ballots, names) if active else generator.choice(names, 2, replace=False)
        left, right = (int(name[1:]) for name in generator.permutation(pair))
        ballots.append(vote(generator, strengths, left, right, bias=0.4))
    return strengths[0] - strengths[int(rate(ballots, names).ratings[0].name[1:])]


def test_asking_wisely_needs_at_most_sixty_percent_of_the_votes():
    seeds = range(100)
    wise = np.mean([regret(True, 6, 60, seed) for seed in seeds])
    random = np.mean([regret(False, 6, 100, seed) for seed in seeds])
    assert wise <= random


def test_the_next_pair_needs_two():
    with pytest.raises(ValueError, match="two contestants"):
        next_pair([], ["a"])
