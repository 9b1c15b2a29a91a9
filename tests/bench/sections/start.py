"""The first sign of life."""

from __future__ import annotations

import statistics

from tests.bench.sections.base import Found, Target, seconds, spread, table


def section(kept: Found) -> str:
    """The first sign of life."""
    names = {
        "python": "Python itself", "help": "`ragkit --help`", "search": "`ragkit search`, a process of its own",
        "browser": "`ragkit ui` until the page is drawn",
    }  # fmt: skip
    rows = [
        (names[what], *(seconds(value) for value in spread(spent))) for what, spent in kept["found"].items() if spent
    ]
    text = "## The first sign of life\n\nProcesses started anew, files in the system's cache.\n\n"
    return text + table(("what", "median", "least", "most"), rows)


def targets(kept: Found) -> list[Target]:
    """Each has its own."""
    wanted = {
        "help": ("`ragkit --help`", 0.3),
        "search": ("`ragkit search`, cold", 2.5),
        "browser": ("browser ready", 6.0),
    }
    found: list[Target] = []
    for key, (what, limit) in wanted.items():
        if kept["found"][key]:
            middle = statistics.median(kept["found"][key])
            found.append((f"start: {what}", "sample documents", f"< {limit} s", seconds(middle), middle < limit))
    return found
