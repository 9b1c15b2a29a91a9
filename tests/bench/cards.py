"""Evaluation cards of the bundled adapters: figures from a report, and the text that goes with them."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ragkit.adapters import Adapter
from ragkit.catalog import GENERATORS
from ragkit.evaluate.answers import f1
from ragkit.evaluate.report import Report
from ragkit.evaluate.statistics import compare, mean_interval
from ragkit.settings import RetrieveSettings
from ragkit.types import Question
from ragkit.workbench import Workbench

MEASURES = {
    "f1": ("F1, answerable questions", True),
    "exact-match": ("exact match, answerable questions", True),
    "false-refusal": ("refused, answerable questions", True),
    "false-answer": ("answered, unanswerable questions", False),
    "citation-precision": ("citation precision", True),
    "support": ("support", None),
    "seconds": ("seconds an answer", None),
}
"""Metric: what it is called in a card, and whether it is of answerable questions, of the others, or of both (None)."""

LONG = {
    "rouge-l": "ROUGE-L with the answer",
    "length": "words in the answer",
    "support": "support",
    "false-refusal": "refused",
    "seconds": "seconds an answer",
}
"""The same for questions that want a paragraph."""

ATTRIBUTION = """Trained on articles of SQuAD 1.1 and 2.0 (Rajpurkar et al. 2016, 2018; CC BY-SA 4.0){} on
AdversarialQA (Bartolo et al. 2020; CC BY-SA 3.0), whose texts are from Wikipedia{}. The base is under
Apache-2.0; the adapter's weights are offered under CC BY-SA 4.0, as a derivative of its training data."""
MEDQUAD = """, and on 2,500 questions of MedQuAD (Ben Abacha and
Demner-Fushman 2019; CC BY 4.0) with the first sentence of their answers"""


def summary(report: Report, held_out: Sequence[str]) -> dict[str, Any]:
    """The figures of a card: means with 95 % intervals of each variant, and the first one against each other."""
    answerable = {each.id for each in report.questions if each.answers}
    found: dict[str, Any] = {
        "articles": list(held_out),
        "answerable": len(answerable),
        "unanswerable": len(report.questions) - len(answerable),
        "questions_sha256": report.sha256,
        "variants": {},
        "differences": {},
    }
    values: list[dict[str, dict[str, float]]] = []
    names = {**MEASURES, **{metric: (words, None) for metric, words in LONG.items() if metric not in MEASURES}}
    for number, name in enumerate(report.variants):
        items = [item for item in report.items if item.variant == number and item.column == "retrieved"]
        own: dict[str, dict[str, float]] = {}
        for metric, (_, kind) in names.items():
            own[metric] = {
                item.question: item.values[metric]
                for item in items
                if metric in item.values and (kind is None or (item.question in answerable) == kind)
            }
        values.append(own)
        found["variants"][name] = {
            metric: _mean(list(each.values())) for metric, each in own.items() if each
        }
    for number, name in enumerate(report.variants[1:], start=1):
        found["differences"][name] = {
            metric: _paired(values[number][metric], values[0][metric]) for metric in MEASURES if values[number][metric]
        }
    return found


def _mean(values: Sequence[float]) -> dict[str, float]:
    interval = mean_interval(values)
    return {"mean": float(np.mean(values)), "low": interval.low, "high": interval.high}


def _paired(other: dict[str, float], own: dict[str, float]) -> dict[str, float] | None:
    both = [key for key in own if key in other]
    if len(both) < 2:
        return None
    (result,) = compare([([own[key] for key in both], [other[key] for key in both])])
    return {"mean": result.difference, "low": result.interval.low, "high": result.interval.high}


def curve(
    bench: Workbench, questions: Sequence[Question], adapter: str, retrieve: RetrieveSettings
) -> list[dict[str, float]]:
    """F1 on answerable and false answers on unanswerable questions at every twentieth of the thresholds, and times."""
    reader = GENERATORS.load("reader")("minilm", adapter)
    seen: list[tuple[float, float | None]] = []
    seconds = []
    for question in questions:
        hits = bench.retrieve(question.question, retrieve).hits
        begun = time.perf_counter()
        read = reader.read(question.question, [hit.text for hit in hits])
        seconds.append(time.perf_counter() - begun)
        score = max((f1(read.text, answer) for answer in question.answers), default=None) if read else 0.0
        seen.append((read.confidence if read else 0.0, score))
    told = np.array([confidence for confidence, _ in seen])
    points = []
    for threshold in np.quantile(told, np.linspace(0, 0.95, 20)):
        right = [score if confidence >= threshold else 0.0 for confidence, score in seen if score is not None]
        wrong = [float(confidence >= threshold) for confidence, score in seen if score is None]
        points.append(
            {
                "threshold": round(float(threshold), 4),
                "f1": float(np.mean(right)),
                "false_answers": float(np.mean(wrong)),
                "seconds_median": float(np.median(seconds)),
            }
        )
    return points


def text(adapter: Adapter, found: dict[str, Any]) -> str:
    """The card as Markdown."""
    card = adapter.card
    metrics, rows = card["metrics"], card["rows"]
    lines = [
        f"# {adapter.name}",
        "",
        f"A {adapter.method} adapter of `{adapter.base}` (task {adapter.task}), {adapter.bytes / 2**20:.2f} MiB,"
        f" {metrics['trainable_parameters']:,} trained parameters.",
        "",
        f"Reproduce: `python -m tests.bench.bundled {adapter.name}` (with the shared data beside the checkout).",
        "",
        ATTRIBUTION.format(*((",", MEDQUAD) if "medquad.json" in card["sources"]["files"] else (" and", ""))),
        "",
        "## Measured",
        "",
        f"{found['answerable']} answerable and {found['unanswerable']} unanswerable questions of SQuAD 2.0 on articles"
        f" that nothing was trained on ({', '.join(found['articles']).replace('_', ' ')}), open book:"
        " five passages from the ordinary retrieval. Means with 95 % intervals.",
        "",
        "| | " + " | ".join(found["variants"]) + " |",
        "| --- |" + " --- |" * len(found["variants"]),
    ]
    for metric, (words, _) in MEASURES.items():
        cells = [_cell(each.get(metric)) for each in found["variants"].values()]
        lines.append(f"| {words} | " + " | ".join(cells) + " |")
    if len(found["variants"]) > 2:
        lines += ["", "Beside the reader means: where the reader's best quotation is hardly likely right, nothing is"
                  " answered; where the model finds no answer and the reader is sure, its quotation is the answer."
                  " How sure (0.25 and 0.6) was set in sight of these questions."]  # fmt: skip
    if found["differences"]:
        lines += ["", "Paired differences, this adapter minus the other:", "", "| | " + " | ".join(found["differences"])
                  + " |", "| --- |" + " --- |" * len(found["differences"])]  # fmt: skip
        for metric, (words, _) in MEASURES.items():
            cells = [_cell(each.get(metric), "+") for each in found["differences"].values()]
            lines.append(f"| {words} | " + " | ".join(cells) + " |")
    if "curve" in found:
        lines += ["", "The whole trade-off, by the threshold of the confidence (the default is"
                  f" {card['calibration']['threshold']:.3f}); {found['curve'][0]['seconds_median']:.2f} s an answer"
                  " after retrieval (median):", "", "| threshold | F1 on answerable | answered of unanswerable |",
                  "| --- | --- | --- |"]  # fmt: skip
        lines += [f"| {p['threshold']:.3f} | {p['f1']:.3f} | {p['false_answers']:.3f} |" for p in found["curve"]]
    if "long" in found:
        lines += [
            "",
            "## Where it is worse",
            "",
            f"Questions that want a paragraph: {found['long']['answerable']} of MedQuAD (CC BY 4.0), whose answers have"
            " 200 to 1,000 characters; of their subjects nothing was trained on. It answers them in a few words, as"
            " it was taught; take another template for explanations, lists and summaries, which asks the model without"
            " it.",
            "",
            "| | " + " | ".join(found["long"]["variants"]) + " |",
            "| --- |" + " --- |" * len(found["long"]["variants"]),
        ]
        for metric, words in LONG.items():
            cells = [_cell(each.get(metric)) for each in found["long"]["variants"].values()]
            lines.append(f"| {words} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "## Training",
        "",
        f"{rows['train']:,} rows ({rows['held']:,} held out by article), {metrics['steps']:,} steps,"
        f" {metrics['tokens']:,} tokens in {metrics['seconds'] / 60:.0f} minutes"
        f" ({metrics['tokens_per_second']:,.0f} a second); held-out loss {metrics['held_out_loss']:.4f}, best at step"
        f" {metrics['best_step']:,}.{_start(card)} Settings, data hash and versions: `ragkit.json`. Its course:"
        " `log.jsonl`.",
        "",
    ]
    return "\n".join(lines)


def _start(card: Mapping[str, Any]) -> str:
    """What went before a training that went on from another adapter."""
    if "start" not in card:
        return ""
    return f" It went on from `{card['start']['name']}`, a first stage that the same command makes."


def _cell(value: dict[str, float] | None, sign: str = "") -> str:
    if value is None:
        return ""
    if not math.isfinite(value["low"]):  # of one value
        return f"{value['mean']:{sign}.3f}"
    return f"{value['mean']:{sign}.3f} ({value['low']:{sign}.3f} to {value['high']:{sign}.3f})"
