"""PDF files into pages, beside peers."""

from __future__ import annotations

import math
import statistics

from tests.bench.ingesting import median_ratio
from tests.bench.sections.base import NAMES, OURS, Found, Target, all_or_some, ratio_text, table


def section(kept: Found) -> str:
    """Pages a second."""
    rows = []
    for name, one in kept["found"].items():
        ours = _pages(one["sides"][OURS])
        for side, row in one["sides"].items():
            ratio = "" if side.startswith(OURS) else ratio_text(median_ratio(ours, _pages(row)))
            what = f"{name}: {one['files']} files, {row['pages']} pages" if side == OURS else ""
            rows.append((what, NAMES[side], f"{statistics.median(_pages(row)):,.0f}", ratio))
    text = (
        "## PDF files into pages\n\nragkit reads in a process with limits of time and memory and without a network, and"
        " hands over clean pages: hyphens joined, labels kept. The files that every side can read.\n\n"
    )
    return text + table(("set", "side", "pages a second", "ragkit is so many times as fast"), rows)


def _pages(row: Found) -> list[float]:
    return [row["pages"] / each for each in row["seconds"]]


def targets(kept: Found) -> list[Target]:
    """As fast as the fastest."""
    found: list[Target] = []
    for what, chosen in (("default loaders", ("langchain_faiss", "llama_index_default")), ("any loader", NAMES)):
        least = []
        for one in kept["found"].values():
            peers = [row for side, row in one["sides"].items() if side in chosen and not side.startswith(OURS)]
            ahead = [median_ratio(_pages(one["sides"][OURS]), _pages(row))[0] for row in peers]
            least.append(min(ahead, default=math.nan))  # no peer took part: no target is met
        measured = ", ".join(f"{each:.2f}" for each in least)
        met = all_or_some([each >= 1 for each in least])
        name = f"PDF pages, times the peers' fastest, {what}"
        found.append((name, ", ".join(kept["found"]), ">= 1", measured, met))
    return found
