"""Is B better than A? Paired tests over the same questions, intervals, and a verdict in plain words.

Everything is paired: both variants answered the same questions, so what is examined is the difference on each of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Verdict = Literal["better", "worse", "same within the margin", "cannot tell yet"]
Differences = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """One variant against another on one metric."""

    questions: int
    """Questions on which both have a value."""
    difference: float
    """Mean of (this one - the other)."""
    interval: Interval
    """95 % interval of the mean difference."""
    p: float
    """Two-sided; McNemar's exact test where every score is 0 or 1, else a paired test of the mean."""
    p_adjusted: float
    """After Holm's correction over all comparisons of the report."""
    verdict: Verdict
    more_questions: int | None
    """About how many further questions would decide it, if what was seen goes on; None if it is decided or hopeless."""


def mean_interval(values: Sequence[float], level: float = 0.95, seed: int = 0, resamples: int = 4000) -> Interval:
    """Interval of a mean: the wider of the BCa bootstrap (Efron 1987) and Student's t, at each end.

    The bootstrap alone is too narrow below some twenty questions, Student alone for skewed scores.
    """
    table = np.asarray(values, dtype=np.float64)
    if len(table) < 2:
        return Interval(-np.inf, np.inf) if len(table) else Interval(np.nan, np.nan)
    centre, error = float(table.mean()), float(stats.sem(table))
    if error == 0:
        # All equal: the rule of three bounds what was never seen, on the scale of a score between 0 and 1.
        unseen = min(1.0, -float(np.log(1 - level)) / len(table))
        return Interval(centre - unseen, centre + unseen)
    reach = float(stats.t.ppf((1 + level) / 2, len(table) - 1)) * error
    low, high = _bca(table, level, seed, resamples)
    return Interval(min(low, centre - reach), max(high, centre + reach))


def _bca(table: Differences, level: float, seed: int, resamples: int) -> tuple[float, float]:
    """Bias-corrected and accelerated bootstrap of the mean, in blocks so that memory stays flat."""
    generator = np.random.default_rng(seed)
    block = max(1, 4_000_000 // len(table))
    means = np.concatenate(
        [
            table[generator.integers(0, len(table), (min(block, resamples - start), len(table)))].mean(axis=1)
            for start in range(0, resamples, block)
        ]
    )
    centre = table.mean()
    below = np.clip(((means < centre).sum() + 0.5 * (means == centre).sum()) / resamples, 1e-6, 1 - 1e-6)
    bias = stats.norm.ppf(below)
    jack = (table.sum() - table) / (len(table) - 1)
    spread = jack.mean() - jack
    power = (spread**2).sum() ** 1.5
    acceleration = (spread**3).sum() / (6 * power) if power > 0 else 0.0
    ends = bias + stats.norm.ppf([(1 - level) / 2, (1 + level) / 2])
    places = stats.norm.cdf(bias + ends / (1 - acceleration * ends))
    low, high = np.quantile(means, np.nan_to_num(places, nan=0.5))
    return float(low), float(high)


def mcnemar(differences: Sequence[float]) -> float:
    """Exact two-sided p of McNemar's test (1947): are wins and losses among the discordant pairs a fair coin?"""
    table = np.asarray(differences)
    wins, losses = int((table > 0).sum()), int((table < 0).sum())
    return float(stats.binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def paired_p(differences: Sequence[float], seed: int = 0, resamples: int = 9999) -> float:
    """Two-sided p that the mean difference is zero: a sign-flip permutation test (Fisher 1935).

    Exact over all flips up to 12 differences that are not zero, else over random flips, the observed one counted.
    """
    table = np.asarray(differences, dtype=np.float64)
    table = table[table != 0]
    if len(table) == 0:
        return 1.0
    observed = abs(table.sum()) - 1e-12
    if len(table) <= 12:
        flips = 1 - 2 * ((np.arange(2 ** len(table))[:, None] >> np.arange(len(table))) & 1)
        return float((np.abs(flips @ table) >= observed).mean())
    generator = np.random.default_rng(seed)
    block = max(1, 4_000_000 // len(table))
    extreme = 0
    for start in range(0, resamples, block):
        flips = generator.integers(0, 2, (min(block, resamples - start), len(table)), dtype=np.int8) * 2.0 - 1
        extreme += int((np.abs(flips @ table) >= observed).sum())
    return (extreme + 1) / (resamples + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (1979): the family-wise error stays at the level the adjusted values are read at."""
    order = np.argsort(p_values)
    adjusted = np.empty(len(p_values))
    highest = 0.0
    for place, number in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[number]))
        adjusted[number] = highest
    return adjusted.tolist()


def equivalent(differences: Sequence[float], margin: float, level: float = 0.05) -> bool:
    """Two one-sided t tests (Schuirmann 1987): is the mean difference inside (-margin, margin)?

    Scores lie between 0 and 1, so a few nearly equal ones do not exclude a rare large difference that was not met: a
    share of -ln(level) / n of the questions could have one (the rule of three). The mean is held to be no surer.
    """
    table = np.asarray(differences, dtype=np.float64)
    if len(table) < 2 or margin <= 0:
        return False
    unseen = -float(np.log(level)) / len(table)
    reach = max(float(stats.t.ppf(1 - level, len(table) - 1)) * float(stats.sem(table)), unseen)
    return -margin < float(table.mean()) - reach and float(table.mean()) + reach < margin


def questions_needed(differences: Sequence[float], power: float = 0.8, level: float = 0.05) -> int | None:
    """Questions in all that would show a difference of the size seen with this power; None if none was seen.

    Normal approximation: n = ((z(1 - level / 2) + z(power)) * sd / mean)^2.
    """
    table = np.asarray(differences, dtype=np.float64)
    if len(table) < 2 or table.mean() == 0:
        return None
    z = float(stats.norm.ppf(1 - level / 2) + stats.norm.ppf(power))
    return ceil((z * float(table.std(ddof=1)) / float(table.mean())) ** 2)


def compare(pairs: Sequence[tuple[Sequence[float], Sequence[float]]], margin: float = 0.02) -> list[Comparison]:
    """Each (scores of this one, scores of the other), question by question, with Holm's correction over all pairs.

    Args:
        pairs: score lists of equal length; each compares one variant with another.
        margin: differences up to this size are no difference to the person who asks.
    """
    differences = [np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64) for one, other in pairs]
    p_values = [
        mcnemar(table) if _binary(one) and _binary(other) else paired_p(table)
        for table, (one, other) in zip(differences, pairs, strict=True)
    ]
    return [
        _judge(table, p, adjusted, margin)
        for table, p, adjusted in zip(differences, p_values, holm(p_values), strict=True)
    ]


def _judge(table: Differences, p: float, adjusted: float, margin: float) -> Comparison:
    if len(table) == 0:
        return Comparison(0, float("nan"), Interval(float("nan"), float("nan")), 1.0, 1.0, "cannot tell yet", None)
    difference = float(table.mean())
    verdict: Verdict = "cannot tell yet"
    if adjusted <= 0.05 and difference != 0:
        verdict = "better" if difference > 0 else "worse"
    elif equivalent(table, margin):
        verdict = "same within the margin"
    needed = questions_needed(table) if verdict == "cannot tell yet" else None
    more = None if needed is None else max(1, needed - len(table))
    return Comparison(len(table), difference, mean_interval(table), p, adjusted, verdict, more)


def _binary(values: Sequence[float]) -> bool:
    return all(value in (0.0, 1.0) for value in values)
