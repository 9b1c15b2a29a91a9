"""Text files to searchable passages, beside peers."""

from __future__ import annotations

import math
import statistics

from tests.bench.ingesting import median_ratio, rates
from tests.bench.plots import Bar, bars
from tests.bench.sections.base import NAMES, OURS, Found, Target, all_or_some, ratio_text, spread, table


def section(kept: Found) -> str:
    """Text files to searchable passages."""
    rows = []
    for name, one in kept["found"].items():
        ours = one["sides"][OURS]
        for side, row in one["sides"].items():
            ratio = "" if side == OURS else ratio_text(median_ratio(rates(ours), rates(row)))
            rows.append((
                name if side == OURS else "", NAMES[side], f"{row['passages']:,}",
                f"{row['passages'] / statistics.median(row['seconds']):.0f}", f"{statistics.median(rates(row)):,.0f}",
                ratio, f"{row['tokens'] / row['tokens in them']:.0%}", f"{row['peak_mb']:,.0f} MB",
            ))  # fmt: skip
    size = kept["settings"]["characters"]
    text = (
        f"## Text files to searchable passages\n\nThe first {size:,} characters of each set, drawn by document. Every"
        " side cuts as its documentation shows, so passages differ in length; what is comparable are the tokens that"
        " the encoder reads. Everything is counted: loading, cutting, embedding, storing, indexing. ragkit's side is on"
        " disk and holds words as well as vectors; LangChain's and LlamaIndex's are in memory. What exceeds the"
        " encoder's 256 tokens (512 as txtai calls it) is never read: the column *read* is the share of the passages'"
        " text that is.\n\n"
        "![Tokens a second by set and side](ingest.svg)\n\n"
    )
    head = ("set", "side", "passages", "passages/s", "tokens/s", "ragkit is so many times as fast", "read", "peak")
    return text + table(head, rows)


def plot(kept: Found) -> str:
    """Tokens a second."""
    groups = []
    for name, one in kept["found"].items():
        rows: list[Bar] = [(NAMES[side], *spread(rates(row))) for side, row in one["sides"].items()]
        bare = [one["sides"][OURS]["tokens"] / spent for spent in one["sides"][OURS]["bare"]]
        groups.append((f"{name}: tokens a second", [*rows, ("the encoder alone", *spread(bare))]))
    return bars(groups, "ragkit")


def targets(kept: Found) -> list[Target]:
    """2.5 times the fastest peer, and four fifths of the bare encoder."""
    least, share = [], []
    for one in kept["found"].values():
        ours = one["sides"][OURS]
        ahead = [median_ratio(rates(ours), rates(row))[0] for side, row in one["sides"].items() if side != OURS]
        least.append(min(ahead, default=math.nan))
        share.append(statistics.median(ours["bare"]) / statistics.median(ours["seconds"]))
    sets = ", ".join(kept["found"])
    times = ", ".join(f"{each:.1f}" for each in least)
    shares = ", ".join(f"{each:.0%}" for each in share)
    return [
        ("ingest, times the fastest peer", sets, ">= 2.5", times, min(least) >= 2.5),
        ("ingest, of the bare encoder's rate", sets, ">= 80 %", shares, all_or_some([each >= 0.8 for each in share])),
    ]


def in_short(kept: Found) -> str:
    """One line."""
    times = next(measured for what, _, _, measured, _ in targets(kept) if "peer" in what)
    rate = [statistics.median(rates(one["sides"][OURS])) for one in kept["found"].values()]
    return (
        f"Text becomes searchable {_range(times)} times as fast as with the fastest of LangChain, LlamaIndex, Chroma"
        f" and txtai ({min(rate):,.0f} to {max(rate):,.0f} tokens a second on two cores)."
    )


def _range(measured: str) -> str:
    values = sorted(map(float, measured.split(", ")))
    return f"{values[0]:.1f} to {values[-1]:.1f}"
