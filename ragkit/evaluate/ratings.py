"""Ratings from blind votes: Bradley-Terry with position and length as nuisance terms, and the pair to vote on next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit

Choice = Literal["left", "right", "tie", "bad"]
"""`bad`: both answers are bad; it says nothing about which is better, and counts as no vote in the ratings."""

_PRIOR = 1 / 16
"""Precision of a normal prior with standard deviation 4 on every rating: weak, but a variant that won all its votes
gets a finite rating."""
_NUISANCE_PRIOR = 1.0
"""Precision of the prior on position and length effects: they are small unless votes say otherwise."""
_LOG_ODDS_TO_ELO = 400 / np.log(10)
"""Ratings are shown on the scale of Elo (1978): 400 points are odds of ten to one."""


@dataclass(frozen=True, slots=True)
class Ballot:
    """One vote between two contestants (variants, or levels of one factor such as the template)."""

    left: str
    right: str
    choice: Choice
    length_difference: float = 0.0
    """log(words of the left answer / words of the right answer)."""


@dataclass(frozen=True, slots=True)
class Rating:
    """One contestant's strength."""

    name: str
    rating: float
    """On Elo's scale, the mean of all contestants is 1,000."""
    low: float
    high: float
    """95 % interval of the rating's distance to the mean."""
    votes: int
    wins: float
    """Ties count half."""
    best: float
    """Probability that it is the strongest of all."""


@dataclass(frozen=True, slots=True)
class Table:
    """Ratings of all contestants, strongest first, with what else moved the votes."""

    ratings: tuple[Rating, ...]
    left_bonus: float
    """Advantage of standing on the left, in Elo points."""
    length_bonus: float
    """Advantage of an answer e times as long, in Elo points."""
    votes: int
    enough: bool
    """Whether the strongest is known with 95 % probability."""


@dataclass(frozen=True, slots=True)
class _Fit:
    names: tuple[str, ...]
    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]


def rate(ballots: Sequence[Ballot], names: Sequence[str] = ()) -> Table:
    """Ratings by penalised maximum likelihood (Bradley and Terry 1952; ties as half a win for each side).

        logit P(left wins) = rating(left) - rating(right) + left bonus + length bonus * length difference

    Args:
        ballots: the votes; those with `bad`, or between a contestant and itself, inform no rating.
        names: contestants to list even without a vote.
    """
    fit = _fit(ballots, names)
    count = len(fit.names)
    if count == 0:
        return Table((), 0.0, 0.0, 0, enough=False)
    told = [ballot for ballot in ballots if ballot.choice != "bad" and ballot.left != ballot.right]
    best = _best(fit)
    centre = np.eye(count) - 1 / count
    strength = centre @ fit.mean[:count]
    errors = np.sqrt(np.diag(centre @ fit.covariance[:count, :count] @ centre))
    reach = float(stats.norm.ppf(0.975)) * errors
    ratings = [
        Rating(
            name,
            1000 + _LOG_ODDS_TO_ELO * strength[place],
            1000 + _LOG_ODDS_TO_ELO * (strength[place] - reach[place]),
            1000 + _LOG_ODDS_TO_ELO * (strength[place] + reach[place]),
            sum(name in (ballot.left, ballot.right) for ballot in told),
            sum(_won(ballot, name) for ballot in told),
            float(best[place]),
        )
        for place, name in enumerate(fit.names)
    ]
    ratings.sort(key=lambda rating: -rating.rating)
    return Table(
        tuple(ratings),
        float(_LOG_ODDS_TO_ELO * fit.mean[count]),
        float(_LOG_ODDS_TO_ELO * fit.mean[count + 1]),
        len(told),
        enough=count > 1 and bool(best.max() >= 0.95),
    )


def next_pair(
    ballots: Sequence[Ballot], names: Sequence[str], among: Sequence[tuple[str, str]] | None = None
) -> tuple[str, str]:
    """The pair whose vote tells most about which contestant is the strongest.

    For each pair: the spread that is left in the difference of the two, times the information of a vote between them
    (p * (1 - p), Fisher), weighted by how likely one of the two is the strongest. Pairs that the ratings have settled,
    and pairs of contestants that cannot win, score low. `among` restricts the choice to these pairs.
    """
    fit = _fit(ballots, names)
    if len(fit.names) < 2:
        raise ValueError("a pair needs two contestants")
    best = _best(fit)
    floor = 0.2 / len(fit.names)  # keeps long shots in play; 0.2 found by simulation

    def gain(pair: tuple[int, int]) -> float:
        one, other = pair
        variance = fit.covariance[one, one] + fit.covariance[other, other] - 2 * fit.covariance[one, other]
        chance = expit(fit.mean[one] - fit.mean[other])
        hope = min(best[one] + floor, best[other] + floor)
        return float(variance * chance * (1 - chance) * hope)

    if among is not None:
        places = {name: place for place, name in enumerate(fit.names)}
        return max(among, key=lambda pair: gain((places[pair[0]], places[pair[1]])))
    one, other = max(combinations(range(len(fit.names)), 2), key=gain)
    return fit.names[one], fit.names[other]


def _fit(ballots: Sequence[Ballot], names: Sequence[str]) -> _Fit:
    """Posterior mode and covariance (Laplace) of the ratings, the left bonus and the length bonus, by Newton steps."""
    told = [ballot for ballot in ballots if ballot.choice != "bad" and ballot.left != ballot.right]
    known = tuple(dict.fromkeys([*names, *(name for ballot in told for name in (ballot.left, ballot.right))]))
    places = {name: place for place, name in enumerate(known)}
    design = np.zeros((len(told), len(known) + 2))
    won = np.empty(len(told))
    for row, ballot in enumerate(told):
        design[row, places[ballot.left]] = 1.0
        design[row, places[ballot.right]] = -1.0
        design[row, -2] = 1.0
        design[row, -1] = ballot.length_difference
        won[row] = {"left": 1.0, "right": 0.0}.get(ballot.choice, 0.5)
    prior = np.diag([_PRIOR] * len(known) + [_NUISANCE_PRIOR] * 2)
    mean = np.zeros(len(known) + 2)
    for _ in range(50):
        chance = expit(design @ mean)
        slope = design.T @ (won - chance) - prior @ mean
        curve = design.T @ (design * (chance * (1 - chance))[:, None]) + prior
        step = np.linalg.solve(curve, slope)
        mean = mean + step
        if np.abs(step).max(initial=0.0) < 1e-10:
            break
    chance = expit(design @ mean)
    curve = design.T @ (design * (chance * (1 - chance))[:, None]) + prior
    return _Fit(known, mean, np.linalg.inv(curve))


def _best(fit: _Fit, draws: int = 4000) -> NDArray[np.float64]:
    """Probability of each contestant to be the strongest, by draws from the posterior (seeded)."""
    count = len(fit.names)
    generator = np.random.default_rng(0)
    sample = generator.multivariate_normal(fit.mean[:count], fit.covariance[:count, :count], draws, method="cholesky")
    return np.bincount(sample.argmax(axis=1), minlength=count) / draws


def _won(ballot: Ballot, name: str) -> float:
    if ballot.choice == "tie":
        return 0.5 * (name in (ballot.left, ballot.right))
    return float(name == (ballot.left if ballot.choice == "left" else ballot.right))
