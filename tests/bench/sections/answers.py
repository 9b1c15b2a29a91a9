"""Prompts to answers, beside llama.cpp."""

from __future__ import annotations

import statistics

from ragkit.evaluate.statistics import mean_interval
from ragkit.evaluation import TOGETHER
from tests.bench.ingesting import median_ratio
from tests.bench.sections.base import NAMES, Found, Target, all_or_some, ratio_text, seconds, table


def section(kept: Found) -> str:
    """Prompts to answers."""
    rows = []
    for ran in kept["found"]["answers"].values():
        for side, each in ran.items():
            whole = [whole_answer(one, kept["settings"]["tokens"]) for one in each]
            rate = [(one["tokens"] - 1) / (one["seconds"] - one["first"]) for one in each if one["tokens"] > 1]
            rows.append((
                f"{statistics.median(one['prompt'] for one in each):.0f}" if side == "ragkit" else "",
                NAMES.get(side, side), seconds(statistics.median(one["first"] for one in each)),
                f"{statistics.median(rate):.0f}", seconds(statistics.median(whole)),
                "" if side == "ragkit" else ratio_text(_answer_ratio(ran, kept["settings"]["tokens"])),
            ))  # fmt: skip
    variants = kept["found"]["variants"]
    text = (
        "## A prompt to its answer\n\nThe built-in model, the same GGUF file, text and greedy decoding on all cores. An"
        f" answer counts as whole after {kept['settings']['tokens']} tokens, at each side's own rate.\n\n"
    )
    times = "ragkit is so many times as fast"
    head = ("tokens of the prompt", "side", "first token", "tokens a second", "whole answer", times)
    four, one = statistics.median(variants["four"]), statistics.median(variants["one"])
    closing = (
        f"\n\nFour templates on one evidence take {four / one:.2f} times as long as one ({seconds(four)} to"
        f" {seconds(one)}): the beginning of the prompt, which they share, is read once, and they are written together."
        f" Arithmetic of 16 bits rounds otherwise for four than for one: {statistics.mean(variants['same']):.0%} of the"
        " greedy answers were word for word those that the prompt gives alone. Evaluations ask one by one, unless they"
        " are told otherwise.\n\n"
    )
    return text + table(head, rows) + closing + _evaluation(kept["found"]["evaluation"])


def _evaluation(found: Found) -> str:
    """One by one beside together: time and quality."""
    alone, together = statistics.median(found["alone"]), statistics.median(found["together"])
    before, after = statistics.mean(found["f1 alone"]), statistics.mean(found["f1 together"])
    changes = [new - old for new, old in zip(found["f1 together"], found["f1 alone"], strict=True)]
    change = mean_interval(changes)
    return (
        f"`ragkit evaluate --together` has {TOGETHER} answers written at once: {seconds(together)} an answer instead of"
        f" {seconds(alone)}, {alone / together:.1f} times as fast with one template. Mean F1 of"
        f" {len(found['f1 alone'])} questions of SQuAD {after:.3f} instead of {before:.3f} (95 % interval of the"
        f" difference {change.low:+.3f} to {change.high:+.3f})."
    )


def whole_answer(one: Found, tokens: int) -> float:
    """Seconds to so many tokens: the first as it came, the others at the rate of those that came."""
    return one["first"] + (tokens - 1) * (one["seconds"] - one["first"]) / max(one["tokens"] - 1, 1)


def _answer_ratio(ran: Found, tokens: int) -> tuple[float, float, float]:
    ours, theirs = ([whole_answer(one, tokens) for one in ran[side]] for side in ("ragkit", "llama_cpp_generation"))
    return median_ratio([1 / each for each in ours], [1 / each for each in theirs])


def targets(kept: Found) -> list[Target]:
    """As fast as llama.cpp; four for the price of two and a half."""
    beside = [ran for ran in kept["found"]["answers"].values() if "llama_cpp_generation" in ran]
    ratios = [_answer_ratio(ran, kept["settings"]["tokens"])[0] for ran in beside]
    sizes = [statistics.median(one["prompt"] for one in ran["ragkit"]) for ran in beside]
    prompts = f"prompts of {', '.join(f'{size:.0f}' for size in sizes)} tokens"
    variants = kept["found"]["variants"]
    four = statistics.median(variants["four"]) / statistics.median(variants["one"])
    peer: list[Target] = [
        (
            "whole answer, times llama.cpp's speed", prompts, ">= 1", ", ".join(f"{each:.2f}" for each in ratios),
            all_or_some([each >= 1 for each in ratios]),
        ),
    ]  # fmt: skip
    return [*(peer if beside else []), ("four variants to one", "one evidence", "<= 2.5", f"{four:.2f}", four <= 2.5)]


def in_short(kept: Found) -> str:
    """One line."""
    measured = {what: value for what, _, _, value, _ in targets(kept)}
    beside = measured.get("whole answer, times llama.cpp's speed")
    ratios = sorted(map(float, beside.split(", "))) if beside else []
    times = f"{ratios[0]:.1f} to {ratios[-1]:.1f} times" if ratios else ""
    first = f"An answer is whole {times} as fast as with llama.cpp; " if times else ""
    return f"{first}four variants take {float(measured['four variants to one']):.1f} times as long as one."
