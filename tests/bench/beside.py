"""The sections of docs/benchmarks.md that stand ragkit beside other tools, their plots, and the table of targets."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.bench import results
from tests.bench.ingesting import median_ratio, rates
from tests.bench.plots import Bar, bars

Found = Mapping[str, Any]
Target = tuple[str, str, str, str, bool | None]
"""What, on what, the target, what was measured, and whether it was met (None: in part)."""

OURS = "ragkit_workbench"
NAMES = {
    OURS: "ragkit",
    f"{OURS}:read_and_store": "ragkit, stored and indexed",
    f"{OURS} hybrid": "ragkit",
    f"{OURS} dense": "ragkit, by meaning alone",
    f"{OURS} words": "ragkit, by words alone",
    "langchain_faiss": "LangChain + FAISS",
    "langchain_faiss:read_pdfium": "LangChain, PDFium loader",
    "llama_index_default": "LlamaIndex",
    "chroma_store": "Chroma",
    "txtai_embeddings": "txtai",
    "txtai_hybrid": "txtai, hybrid",
    "bm25s_words": "bm25s",
    "llama_cpp_generation": "llama.cpp",
    "floor": "embedding + exact FAISS alone",
}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def seconds(value: float) -> str:
    """Milliseconds below a second."""
    if value < 0.0995:
        return f"{value * 1e3:.1f} ms"
    return f"{value * 1e3:.0f} ms" if value < 1 else f"{value:.2f} s"


def _spread(values: Sequence[float]) -> tuple[float, float, float]:
    return statistics.median(values), min(values), max(values)


def _ratio(found: tuple[float, float, float]) -> str:
    return f"{found[0]:.1f} ({found[1]:.1f} to {found[2]:.1f})"


# Ingestion


def ingest(kept: Found) -> str:
    """Text files to searchable passages."""
    rows = []
    for name, one in kept["found"].items():
        ours = one["sides"][OURS]
        for side, row in one["sides"].items():
            ratio = "" if side == OURS else _ratio(median_ratio(rates(ours), rates(row)))
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
        " encoder's 256 tokens is never read: the column *read* is the share of the passages' text that is.\n\n"
        "![Tokens a second by set and side](ingest.svg)\n\n"
    )
    head = ("set", "side", "passages", "passages/s", "tokens/s", "ragkit is so many times as fast", "read", "peak")
    return text + table(head, rows)


def ingest_plot(kept: Found) -> str:
    """Tokens a second."""
    groups = []
    for name, one in kept["found"].items():
        rows: list[Bar] = [(NAMES[side], *_spread(rates(row))) for side, row in one["sides"].items()]
        bare = [one["sides"][OURS]["tokens"] / spent for spent in one["sides"][OURS]["bare"]]
        groups.append((f"{name}: tokens a second", [*rows, ("the encoder alone", *_spread(bare))]))
    return bars(groups, "ragkit")


def ingest_targets(kept: Found) -> list[Target]:
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
        ("ingest, of the bare encoder's rate", sets, ">= 80 %", shares, _all_or_some([each >= 0.8 for each in share])),
    ]


def _all_or_some(met: Sequence[bool]) -> bool | None:
    return True if all(met) else (None if any(met) else False)


# PDF


def pdf(kept: Found) -> str:
    """Pages a second."""
    rows = []
    for name, one in kept["found"].items():
        ours = _pages(one["sides"][OURS])
        for side, row in one["sides"].items():
            ratio = "" if side.startswith(OURS) else _ratio(median_ratio(ours, _pages(row)))
            what = f"{name}: {one['files']} files, {row['pages']} pages" if side == OURS else ""
            rows.append((what, NAMES[side], f"{statistics.median(_pages(row)):,.0f}", ratio))
    text = (
        "## PDF files into pages\n\nragkit reads in a process with limits of time and memory and without a network, and"
        " hands over clean pages: hyphens joined, labels kept. The files that every side can read.\n\n"
    )
    return text + table(("set", "side", "pages a second", "ragkit is so many times as fast"), rows)


def _pages(row: Found) -> list[float]:
    return [row["pages"] / each for each in row["seconds"]]


def pdf_targets(kept: Found) -> list[Target]:
    """As fast as the fastest."""
    found: list[Target] = []
    for what, chosen in (("default loaders", ("langchain_faiss", "llama_index_default")), ("any loader", NAMES)):
        least = []
        for one in kept["found"].values():
            peers = [row for side, row in one["sides"].items() if side in chosen and not side.startswith(OURS)]
            ahead = [median_ratio(_pages(one["sides"][OURS]), _pages(row))[0] for row in peers]
            least.append(min(ahead, default=math.nan))  # no peer took part: no target is met
        measured = ", ".join(f"{each:.2f}" for each in least)
        met = _all_or_some([each >= 1 for each in least])
        name = f"PDF pages, times the peers' fastest, {what}"
        found.append((name, ", ".join(kept["found"]), ">= 1", measured, met))
    return found


# Questions


def latency(kept: Found) -> str:
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


def latency_plot(kept: Found) -> str:
    """Medians, in milliseconds."""
    groups = []
    for size, one in kept["found"].items():
        rows: list[Bar] = []
        for side, spent in one["seconds"].items():
            middle = statistics.median(spent) * 1e3
            low, high = (value * 1e3 for value in statistics.quantiles(spent, n=20)[:: 18])
            rows.append((NAMES[side], middle, low, high))
        groups.append((f"{int(size):,} passages: milliseconds, p5 to p95", rows))
    return bars(groups, "ragkit", "{:.1f}")


def latency_targets(kept: Found) -> list[Target]:
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


# Answers


def answers(kept: Found) -> str:
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
                "" if side == "ragkit" else _ratio(_answer_ratio(ran, kept["settings"]["tokens"])),
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
        f" {seconds(one)}): they share the beginning of the prompt, which is read once."
    )
    return text + table(head, rows) + closing


def whole_answer(one: Found, tokens: int) -> float:
    """Seconds to so many tokens: the first as it came, the others at the rate of those that came."""
    return one["first"] + (tokens - 1) * (one["seconds"] - one["first"]) / max(one["tokens"] - 1, 1)


def _answer_ratio(ran: Found, tokens: int) -> tuple[float, float, float]:
    ours, theirs = ([whole_answer(one, tokens) for one in ran[side]] for side in ("ragkit", "llama_cpp_generation"))
    return median_ratio([1 / each for each in ours], [1 / each for each in theirs])


def answers_targets(kept: Found) -> list[Target]:
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
            _all_or_some([each >= 1 for each in ratios]),
        ),
    ]  # fmt: skip
    return [*(peer if beside else []), ("four variants to one", "one evidence", "<= 2.5", f"{four:.2f}", four <= 2.5)]


# Starts


def start(kept: Found) -> str:
    """The first sign of life."""
    names = {
        "python": "Python itself", "help": "`ragkit --help`", "search": "`ragkit search`, a process of its own",
        "browser": "`ragkit ui` until the page is drawn",
    }  # fmt: skip
    rows = [
        (names[what], *(seconds(value) for value in _spread(spent))) for what, spent in kept["found"].items() if spent
    ]
    text = "## The first sign of life\n\nProcesses started anew, files in the system's cache.\n\n"
    return text + table(("what", "median", "least", "most"), rows)


def start_targets(kept: Found) -> list[Target]:
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


# Quality


def quality(kept: Found) -> str:
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
    return text + table(("side", *map(_short, sets), "mean"), rows)


def _short(name: str) -> str:
    return "squad" if name.startswith("squad") else name.split("/")[-1]


def _scores(kept: Found) -> dict[str, dict[str, float]]:
    peers = results.load("quality-peers")
    beside = peers["found"] if peers else {}
    return {name: {**one["ndcg@10"], **beside.get(name, {}).get("ndcg@10", {})} for name, one in kept["found"].items()}


def quality_plot(kept: Found) -> str:
    """Means over the sets."""
    scores = _scores(kept)
    rows: list[Bar] = []
    for way in next(iter(scores.values())):
        mean = statistics.mean(one[way] for one in scores.values())
        rows.append((NAMES[way], mean, mean, mean))
    return bars([("nDCG@10, mean of the sets", rows)], "ragkit", "{:.3f}")


def quality_targets(kept: Found) -> list[Target]:
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
        met = _all_or_some([value > 0 for value in ahead.values()])
        found.append(("nDCG@10 above the best peer's", "each set", "> 0", measured, met))
    if "ir/scifact" in scores:
        scifact = scores["ir/scifact"][f"{OURS} hybrid"]
        found.append(("nDCG@10", "SciFact", ">= 0.73", f"{scifact:.3f}", scifact >= 0.73))
    return found


SECTIONS: dict[str, Callable[[Found], str]] = {
    "ingest": ingest, "pdf": pdf, "latency": latency, "answers": answers, "start": start, "quality": quality,
}  # fmt: skip
"""By the name of the result."""
PLOTS: dict[str, Callable[[Found], str]] = {"ingest": ingest_plot, "latency": latency_plot, "quality": quality_plot}
TARGETS: dict[str, Callable[[Found], list[Target]]] = {
    "ingest": ingest_targets, "pdf": pdf_targets, "latency": latency_targets, "answers": answers_targets,
    "start": start_targets, "quality": quality_targets,
}  # fmt: skip

REASONS: dict[str, str] = {
    "PDF pages, times the peers' fastest, any loader": (
        "the same PDFium reads for both; ragkit also cleans the text, joins hyphens, looks labels up and hands pages"
        " over from a process with limits"
    ),
}
"""Why a target was missed, by what it is of."""


def glance() -> str:
    """Each target, what was measured, and whether it was met."""
    rows = []
    for name, targets in TARGETS.items():
        kept = results.load(name)
        if kept:
            rows += [
                (what, on, target, measured, {True: "yes", None: "in part", False: "no"}[met] + _reason(what, met))
                for what, on, target, measured, met in targets(kept)
            ]
    return "## At a glance\n\n" + table(("what", "on", "target", "measured", "met"), rows)


def _reason(what: str, met: bool | None) -> str:
    return f": {REASONS[what]}" if not met and what in REASONS else ""
