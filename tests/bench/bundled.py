"""Make and measure the bundled adapters: data, training, evaluation on held-out articles, card. One command each:

    python -m tests.bench.bundled reader
    python -m tests.bench.bundled grounded

Everything lands in a work folder (`--work`, default build/bundled) and goes on there after an interruption; at the end
the adapter with its card, its log and its evaluation is copied to `ragkit/bundled/`. `--measure` leaves the training
out and measures what is bundled. Needs the shared data (RAGKIT_DATA).
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ingest.pipeline import ingest
from ragkit import adapters
from ragkit.catalog import EMBEDDERS
from ragkit.collection import Collection
from ragkit.evaluate.importers import read_set
from ragkit.evaluate.report import Report
from ragkit.evaluation import evaluate
from ragkit.sets import Sets
from ragkit.settings import RetrieveSettings, TuneSettings
from ragkit.tune.card import LOG
from ragkit.tune.rows import Point
from ragkit.tuning import TunePlan, tune
from ragkit.tuning_data import Sources
from ragkit.types import Question, Variant, to_json
from ragkit.workbench import Workbench
from tests.bench import articles, cards

ANSWERABLE = UNANSWERABLE = 300
READER = TuneSettings(task="extract", base="minilm", template="grounded", patience=0, looks=12)
FIRST = TuneSettings(
    task="generate", base="smollm2-135m", template="grounded", rank=4, learning_rate=1e-3, epochs=0.7, dropout=0.0,
    patience=0, looks=6,
)  # fmt: skip
"""Rank 4 keeps both adapters below 6 MB. Less than an epoch, on which no row is seen twice, needs no dropout."""
GROUNDED = TuneSettings(
    task="generate", base="smollm2-135m", template="grounded", start="grounded-first", learning_rate=5e-4, epochs=0.2,
    dropout=0.0, patience=0, looks=4, seed=1,
)  # fmt: skip
"""From the first one on, which had learnt to answer SQuAD's questions and to refuse all others: among them now such as
ask for an explanation."""
EXPLANATIONS = 2500
BARE = ("concise", "strict", "grounded", "cite")
"""Templates that the bare model is tried with; the best one stands beside the adapter."""
PILOT = 15
"""Answerable questions, and as many unanswerable ones, on which they are tried: the bare model takes seconds each."""
COMPARED = 200
"""Answerable questions, and as many unanswerable ones, that adapter and bare model both answer."""
ALONE = RetrieveSettings(reader="", abstain_below=0.0)
"""Nothing but the model decides whether it answers."""


def collection(home: Path, name: str, *corpora: Path) -> Workbench:
    """A collection that holds corpora, ingested by the ordinary worker."""
    made = Collection.open(home, name, create=True)
    if not made.documents():
        settings = made.settings
        ingest(made, corpora, EMBEDDERS.load(settings.embedder)(settings.embedder_model))
    return Workbench(made)


def train(name: str, work: Path) -> Path:
    """The adapter's folder in the work folder's library; trained if it is not there."""
    part = articles.training(work / "train")
    bench = collection(work / "home", "train", part.corpus)
    if name == "reader":
        return _trained(bench, name, READER, part.questions, work)
    _trained(bench, GROUNDED.start, FIRST, part.questions, work)
    more = articles.explanations(work / "train", EXPLANATIONS)
    wider = collection(work / "home", "wider", part.corpus, more.corpus)
    return _trained(wider, name, GROUNDED, (*part.questions, *more.questions), work)


def _trained(bench: Workbench, name: str, settings: TuneSettings, files: Sequence[Path], work: Path) -> Path:
    found = adapters.shelf(work / "home") / name
    if not found.is_dir():
        plan = TunePlan(name, Sources(files=tuple(map(str, files))), settings)
        tune(bench, plan, work / "runs" / name, _say)
    return found


def _say(point: Point) -> None:
    if point.phase != "training" or point.step % 20 == 0 or point.held_out_loss is not None:
        held = "" if point.held_out_loss is None else f" held-out {point.held_out_loss:.4f}"
        loss = "" if point.loss is None else f" loss {point.loss:.4f}"
        left = "" if point.left is None else f" {point.left / 60:.0f} min left"
        _out(f"{point.phase} {point.step}/{point.steps}{loss}{held} {point.tokens_per_second:,.0f} tok/s{left}")


def measure(name: str, folder: Path, work: Path) -> dict[str, Any]:
    """The evaluation on held-out articles: open book, five passages, paired intervals."""
    part = articles.held_out(work / "test", ANSWERABLE, UNANSWERABLE)
    bench = collection(work / "home", "test", part.corpus)
    asked = read_set(part.questions[0])
    if name == "reader":
        reader = Variant("grounded", engine="reader", model="minilm", adapter=str(folder))
        found = cards.summary(_evaluated(bench, "held-out", asked, [reader]), articles.titles())
        return {**found, "curve": cards.curve(bench, asked, str(folder), ALONE)}
    tuned = Variant("grounded", adapter=str(folder))
    bare = _best_bare(bench, asked)
    chosen = [*asked[:COMPARED], *asked[-COMPARED:]]
    found = cards.summary(_evaluated(bench, "compared", chosen, [tuned, bare]), articles.titles())
    beside = cards.summary(_evaluated(bench, "compared", chosen, [tuned], RetrieveSettings()), ())
    found["variants"]["the adapter beside the reader, as Ask has them"] = next(iter(beside["variants"].values()))
    found["long"] = _long(work, tuned, bare)
    return found


def _evaluated(
    bench: Workbench,
    name: str,
    asked: Sequence[Question],
    compared: Sequence[Variant],
    retrieve: RetrieveSettings = ALONE,
) -> Report:
    begun = time.time()
    kept = Sets(bench.collection).put(name, asked, "shared data")
    report = evaluate(bench, kept, compared, retrieve=retrieve, listen=_tell)
    _out(f"{name}: {len(asked)} questions, {len(compared)} variants evaluated in {time.time() - begun:,.0f} s")
    return report


def _best_bare(bench: Workbench, asked: Sequence[Question]) -> Variant:
    """The bare model with the template that gets the best F1 out of it, on a few of the questions."""
    compared = [Variant(template, adapter="") for template in BARE]
    few = [*asked[:PILOT], *asked[-PILOT:]]
    found = cards.summary(_evaluated(bench, "pilot", few, compared), ())["variants"]
    scores = [each["f1"]["mean"] for each in found.values()]
    _out("F1 of the bare model: " + ", ".join(f"{t} {s:.3f}" for t, s in zip(BARE, scores, strict=True)))
    return compared[scores.index(max(scores))]


def _long(work: Path, tuned: Variant, bare: Variant) -> dict[str, Any]:
    """What a model that learnt to answer briefly does with questions that want a paragraph, beside the bare one."""
    part = articles.medical(work / "medical")
    bench = collection(work / "home", "medical", part.corpus)
    return cards.summary(_evaluated(bench, "long", read_set(part.questions[0]), [tuned, bare]), ())


def thin(log: Path) -> None:
    """Every tenth step and every look at the held-out loss: what a curve needs."""
    points = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    kept = [each for each in points if each["step"] % 10 == 0 or each.get("held_out_loss") is not None]
    log.write_text("".join(json.dumps(each) + "\n" for each in kept), encoding="utf-8")


def _tell(progress: Any) -> None:  # noqa: ANN401
    if progress.done % 100 == 0:
        _out(f"{progress.done}/{progress.total} answers, {progress.left or 0:,.0f} s left")


def _out(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=("grounded", "reader"))
    parser.add_argument("--work", type=Path, default=Path("build/bundled"))
    parser.add_argument("--measure", action="store_true", help="Measure what is bundled; train nothing.")
    options = parser.parse_args()
    work = options.work.resolve()
    target = adapters.BUNDLED / options.name
    folder = target if options.measure else train(options.name, work)
    found = measure(options.name, folder, work)
    if not options.measure:
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(folder, target)
        thin(target / LOG)
    (target / "evaluation.json").write_text(json.dumps(to_json(found), indent=1) + "\n", encoding="utf-8")
    (target / "README.md").write_text(cards.text(adapters.read(target), found), encoding="utf-8")
    _out(f"{target}: {sum(each.stat().st_size for each in target.iterdir()) / 2**20:.2f} MiB")


if __name__ == "__main__":
    main()
