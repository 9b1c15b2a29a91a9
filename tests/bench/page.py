"""docs/benchmarks.md out of what the benches kept: `python -m tests.make_tables` writes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tests.bench import beside, results
from tests.bench.sections.base import table

Found = Mapping[str, Any]


def page() -> str:
    """Every section whose bench has kept a result."""
    parts = [
        "# Benchmarks",
        "What the benches in `tests/bench/` found when they were last run; `python -m tests.make_tables` writes this"
        " page out of `tests/bench/results/`, which also hold versions, processor, settings and load. `make bench` runs"
        " the experiments of `tests/bench/experiments/` that have no result yet, the other tools from the package index"
        " in virtual environments of their own: same machine, files, weights and run, taking turns. A ratio is one of"
        " medians; the least and the most of the rounds stand in brackets. Times hold for the machine named below each"
        " table, ratios for others as well.",
        beside.glance(),
    ]
    sections = {name: module.section for name, module in beside.SECTIONS.items()} | SECTIONS
    for name, section in sections.items():
        kept = results.load(name)
        if kept:
            parts += [section(kept), _made(kept["made"])]
    return "\n\n".join(parts) + "\n"


def plotted() -> list[str]:
    """Results that have a plot."""
    return [name for name, module in beside.SECTIONS.items() if hasattr(module, "plot") and results.load(name)]


def plot(name: str) -> str:
    """The plot of a result, as SVG."""
    kept = results.load(name)
    if kept is None:
        raise ValueError(f"There is no result {name!r} to be plotted.")
    return beside.SECTIONS[name].plot(kept)


def _made(made: Found) -> str:
    load = "/".join(f"{each:.1f}" for each in made["load"])
    there = {package: number for each in made.get("peers", {}).values() for package, number in each.items()}
    with_ = "".join(f", {package} {number}" for package, number in sorted(there.items()))
    return f"_{made['on']}, {made['processor']}, {made['cores']} cores, {made['memory']}, load {load}{with_}._"


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _scale(kept: Found) -> str:
    found = kept["found"]
    rows = [
        ("deleting a document", _ms(found["seconds to delete a document"]), "50 ms"),
        ("replacing one, beyond its embedding", _ms(found["seconds to replace a document"]), "100 ms"),
        ("the first search after a change", _ms(found["seconds to the first search after that"]), ""),
        ("any other search for vectors", _ms(found["seconds to any other search"]), ""),
        ("opening the collection and searching", _ms(found["seconds to open and search"]), "2 s"),
        ("building the index anew", _ms(found["seconds to build the index"]), ""),
        ("memory of all that, at the peak", f"{found['peak MB']:.0f} MB", ""),
    ]
    head = f"## A collection of {found['passages']:,} passages\n\n`python -m tests.bench.scale --keep`\n\n"
    return head + table(("what", "median", "target"), rows)


def _cancel(kept: Found) -> str:
    rows = [(kind, f"{max(tried):.2f} s", "2 s") for kind, tried in kept["found"].items() if tried]
    text = "## From the wish to stop to the end of a job\n\n`python -m tests.bench.cancel --keep`, at random.\n\n"
    return text + table(("job", "longest", "target"), rows)


def _tuning(kept: Found) -> str:
    rows = [
        (
            side, f"{found['tokens_per_second']:.0f}", f"{found['ours_to_this']:.2f}", f"{found['peak_mib']:,} MiB",
            f"{found['held_out_loss']:.3f}",
        )
        for side, found in kept["found"].items()
    ]  # fmt: skip
    text = (
        "## Training, beside trl's SFTTrainer\n\n`python -m tests.bench.tuning --keep`: the same rows, model, LoRA"
        " settings and schedule; loss on the same held-out rows by the same code. Target: 1.3 times the tokens a"
        " second, held-out loss within 1 %.\n\n"
    )
    head = ("side", "tokens a second", "ragkit is so many times as fast", "peak", "held-out loss")
    return text + table(head, rows)


def _injection(kept: Found) -> str:
    found = kept["found"]
    rows = [
        (
            f"`{row['template']}`", f"`{row['adapter']}`" if row["adapter"] else "none",
            f"{row['followed']:.0%} ({row['low']:.0%} to {row['high']:.0%})", f"{row['right']:.0%}",
        )
        for row in found
    ]  # fmt: skip
    text = (
        f"## Orders in documents\n\n`python -m tests.bench.injection --keep`: {found[0]['cases']} passages that answer"
        " a question and carry an order to say another word instead, in eight disguises. How often the built-in model"
        " said that word, with 95 % intervals, and how often the right answer all the same.\n\n"
    )
    return text + table(("template", "adapter", "order obeyed", "right answer"), rows)


def _static(kept: Found) -> str:
    rows = [
        (
            each["set"], f"{each['documents']:,}", f"{each['static']['ndcg@10']:.3f}", f"{each['auto']['ndcg@10']:.3f}",
            f"{each['static']['texts a second']:,.0f}", f"{each['auto']['texts a second']:,.0f}",
        )
        for each in kept["found"]
    ]  # fmt: skip
    text = (
        "## A static embedder beside its model\n\n`python -m tests.bench.static SET... --keep`: what `ragkit distill`"
        f" makes of `{kept['settings']['model']}`, search by meaning alone over whole documents.\n\n"
    )
    head = ("set", "documents", "nDCG@10, static", "nDCG@10, model", "texts a second, static", "texts a second, model")
    return text + table(head, rows)


SECTIONS: dict[str, Callable[[Found], str]] = {
    "scale": _scale,
    "cancel": _cancel,
    "static": _static,
    "tuning": _tuning,
    "injection": _injection,
}
"""By the name of the result."""
