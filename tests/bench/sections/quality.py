"""How good the passages are, beside peers."""

from __future__ import annotations

import statistics

from ragkit.evaluate.statistics import mean_interval
from tests.bench import results
from tests.bench.plots import Bar, bars
from tests.bench.sections.base import NAMES, OURS, Found, Target, all_or_some, table


def section(kept: Found) -> str:
    """nDCG@10 of ragkit's ways and of the peers' defaults."""
    scores = _scores(kept)
    sets = list(kept["found"])
    rows = []
    for way in scores[sets[0]]:
        values = [scores[name][way] for name in sets]
        rows.append((NAMES[way], *(f"{value:.3f}" for value in values), f"{statistics.mean(values):.3f}"))
    sizes = ", ".join(f"{one['documents']:,} and {one['questions']:,}" for one in kept["found"].values())
    text = (
        "## How good the passages are\n\nnDCG@10 over the records of each set, out of the box: the same MiniLM weights,"
        f" each side cutting and ranking by its defaults. Records and questions: {sizes}; those of MedQuAD are a drawn"
        " part.\n\n![nDCG@10, mean of the sets](quality.svg)\n\n"
    )
    return text + table(("side", *map(_short, sets), "mean"), rows) + _paired()


def _paired() -> str:
    """Differences question by question, where a peer comes near."""
    kept = results.load("quality-paired")
    lines = []
    for name, one in kept["found"].items() if kept else ():
        ours = one["each"][f"{OURS} hybrid"]
        for way, theirs in one["each"].items():
            if way.startswith(OURS):
                continue
            changes = [mine - other for mine, other in zip(ours, theirs, strict=True)]
            interval = mean_interval(changes)
            chance = "chance may be all of it" if interval.low <= 0 <= interval.high else "more than chance"
            lines.append(
                f"\n\nOn {_short(name)} {NAMES[way]} comes near: question by question ragkit's default differs"
                f" from it by {statistics.mean(changes):+.3f}, with a 95 % interval of {interval.low:+.3f} to"
                f" {interval.high:+.3f}: {chance}."
            )
    return "".join(lines)


def _short(name: str) -> str:
    return "squad" if name.startswith("squad") else name.split("/")[-1]


def _scores(kept: Found) -> dict[str, dict[str, float]]:
    peers = results.load("quality-peers")
    beside = peers["found"] if peers else {}
    return {name: {**one["ndcg@10"], **beside.get(name, {}).get("ndcg@10", {})} for name, one in kept["found"].items()}


def plot(kept: Found) -> str:
    """Means over the sets."""
    scores = _scores(kept)
    rows: list[Bar] = []
    for way in next(iter(scores.values())):
        mean = statistics.mean(one[way] for one in scores.values())
        rows.append((NAMES[way], mean, mean, mean))
    return bars([("nDCG@10, mean of the sets", rows)], "ragkit", "{:.3f}")


def targets(kept: Found) -> list[Target]:
    """Above its parts, above the peers, and SciFact."""
    scores = _scores(kept)
    ways = {way: statistics.mean(one[way] for one in scores.values()) for way in next(iter(scores.values()))}
    hybrid = ways[f"{OURS} hybrid"]
    parts = max(ways[f"{OURS} dense"], ways[f"{OURS} words"])
    found: list[Target] = [
        ("hybrid above both of its parts", "mean of six sets", "> 0", f"{hybrid - parts:+.3f}", hybrid > parts)
    ]
    if any(not way.startswith(OURS) for way in ways):
        ahead = {
            name: one[f"{OURS} hybrid"] - max(score for way, score in one.items() if not way.startswith(OURS))
            for name, one in scores.items()
        }
        measured = ", ".join(f"{_short(name)} {value:+.3f}" for name, value in ahead.items())
        met = all_or_some([value > 0 for value in ahead.values()])
        found.append(("nDCG@10 above the best peer's", "each set", "> 0", measured, met))
    if "ir/scifact" in scores:
        scifact = scores["ir/scifact"][f"{OURS} hybrid"]
        found.append(("nDCG@10", "SciFact", ">= 0.73", f"{scifact:.3f}", scifact >= 0.73))
    return found


def in_short(kept: Found) -> str:
    """One line."""
    scores = _scores(kept)
    ways = {way: statistics.mean(one[way] for one in scores.values()) for way in next(iter(scores.values()))}
    peers = {way: value for way, value in ways.items() if not way.startswith(OURS)}
    best = max(peers, key=peers.__getitem__, default="")
    beside = f"; the best of the other tools' defaults, {NAMES[best]}, has {peers[best]:.3f}" if best else ""
    return f"Passages are found with a mean nDCG@10 of {ways[f'{OURS} hybrid']:.3f} over {len(scores)} sets{beside}."
