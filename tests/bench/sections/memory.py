"""Memory while text comes in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.bench.sections.base import Found, Target, all_or_some, table

LIMIT = 1_200
"""Megabytes of all processes together."""
FLAT = 1.25
"""Times the memory that ten times the text may take."""


def section(kept: Found) -> str:
    """Memory while text comes in."""
    rows = [
        (
            f"`{one['embedder']}`", f"{one['MB']} MB", f"{one['files']}", f"{one['passages']:,}",
            *(f"{one[f'peak MB, {kind}']:.0f} MB" for kind in ("together", "worker", "parsing")),
        )
        for one in kept["found"]
    ]  # fmt: skip
    text = (
        "## Memory while text comes in\n\nHalf of it in one file, a quarter in files of 1 MB, a quarter in records of"
        " one file.\n\n"
    )
    head = ("embedder", "text", "files", "passages", "peak of memory", "worker", "parsing")
    return text + table(head, rows)


def targets(kept: Found) -> list[Target]:
    """As flat as can be, and bounded."""
    by_embedder: dict[str, list[Mapping[str, Any]]] = {}
    for one in kept["found"]:
        by_embedder.setdefault(one["embedder"], []).append(one)
    grown = [_together(ones)[-1] / _together(ones)[0] for ones in by_embedder.values()]
    most = max(_together(kept["found"]))
    on = ", ".join(f"`{name}`, {ones[-1]['MB']} MB" for name, ones in by_embedder.items())
    return [
        (
            "ingest, memory for ten times the text", on, f"flat: <= {FLAT} times",
            ", ".join(f"{each:.2f}" for each in grown), all_or_some([each <= FLAT for each in grown]),
        ),
        ("ingest, peak of memory", on, f"<= {LIMIT:,} MB", f"{most:.0f} MB", most <= LIMIT),
    ]  # fmt: skip


def _together(ones: Sequence[Mapping[str, Any]]) -> list[float]:
    return [one["peak MB, together"] for one in ones]
