"""A question to its passages, beside peers."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from tests.bench.plots import Bar, bars
from tests.bench.sections.base import NAMES, OURS, Found, Target, seconds, table


def section(kept: Found) -> str:
    """A question to its passages."""
    rows = []
    for size, one in kept["found"].items():
        for side, spent in one["seconds"].items():
            rows.append((
                f"{int(size):,}" if side == OURS else "", NAMES[side],
                *(seconds(value) for value in percentiles(spent)),
            ))  # fmt: skip
    opened = [
        (
            f"{int(size):,}", f"`{one['manifest']['index']}`", f"{one['recall@10']:.3f}",
            f"{one['manifest']['recall']:.3f}", seconds(one["opened in"]), f"{one['resident_mb']:,.0f} MB",
            f"{one['private_mb']:,.0f} MB",
        )
        for size, one in kept["found"].items()
    ]  # fmt: skip
    text = (
        f"## A question to its passages\n\n{kept['settings']['questions']} questions of MedQuAD and SQuAD, in turns of"
        " 20 to each side; passages drawn from real sentences with real vectors"
        " (`tests/bench/passages.py`). ragkit searches by meaning and by words, on disk; the peers by meaning alone"
        " (bm25s by words alone), in memory except Chroma. Above 100,000 passages the peers were not filled.\n\n"
        "![Median time of a question](latency.svg)\n\n"
    )
    first = table(("passages", "side", "p50", "p95"), rows)
    head = ("passages", "index, chosen by itself", "recall@10 of the questions", "as measured when built",
            "opened and searched in", "resident", "of it private")  # fmt: skip
    return f"{text}{first}\n\nThe process that answered, and its index of vectors:\n\n{table(head, opened)}"


def percentiles(spent: Sequence[float]) -> tuple[float, float]:
    """p50 and p95."""
    ordered = sorted(spent)
    return statistics.median(ordered), ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]


def plot(kept: Found) -> str:
    """Medians, in milliseconds."""
    groups = []
    for size, one in kept["found"].items():
        rows: list[Bar] = []
        for side, spent in one["seconds"].items():
            middle = statistics.median(spent) * 1e3
            low, high = (value * 1e3 for value in statistics.quantiles(spent, n=20)[::18])
            rows.append((NAMES[side], middle, low, high))
        groups.append((f"{int(size):,} passages: milliseconds, p5 to p95", rows))
    return bars(groups, "ragkit", "{:.1f}")


def targets(kept: Found) -> list[Target]:
    """Beside the floor at 100,000, and at a million."""
    found: list[Target] = []
    middle, large = kept["found"].get("100000"), kept["found"].get("1000000")
    if middle:
        extra = statistics.median(middle["seconds"][OURS]) - statistics.median(middle["seconds"]["floor"])
        found.append((
            "hybrid search, p50 beyond embedding + exact FAISS", "100,000 passages", "<= 3 ms",
            f"{extra * 1e3:+.1f} ms", extra <= 0.003,
        ))  # fmt: skip
    if large:
        late = percentiles(large["seconds"][OURS])[1]
        found += [
            ("hybrid search, p95", "1,000,000 passages", "<= 50 ms", seconds(late), late <= 0.05),
            (
                "resident memory, recall@10", "1,000,000 passages", "<= 1.5 GB, >= 0.95",
                f"{large['resident_mb'] / 1024:.2f} GB, {large['recall@10']:.3f}",
                large["resident_mb"] <= 1536 and large["recall@10"] >= 0.95,
            ),
        ]  # fmt: skip
    return found


def in_short(kept: Found) -> str:
    """One line."""
    size, one = max(kept["found"].items(), key=lambda pair: int(pair[0]))
    middle, late = percentiles(one["seconds"][OURS])
    return (
        f"A question finds its passages among {int(size):,} in {seconds(middle)} (p95 {seconds(late)}), by meaning and"
        f" by words, with {one['resident_mb'] / 1024:.1f} GB in memory and recall@10 of {one['recall@10']:.3f}."
    )
