"""`ragkit evaluate`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn
from rich.table import Table

from ingest.evaluations import submit_evaluation
from ragkit import evaluation
from ragkit.catalog import METRICS
from ragkit.evaluate.export import write_report
from ragkit.evaluate.importers import read_answers, read_set
from ragkit.evaluate.page import COLUMN_NAMES, figure
from ragkit.evaluate.report import Report, Summary
from ragkit.evaluate.scoring import score_answers
from ragkit.runs import COLUMNS, Column, Plan, RunError
from ragkit.sets import EvaluationSet, Sets, set_name
from ragkit.settings import RetrieveSettings
from ragkit.types import Decoding, Variant, to_json
from ragkit.workbench import Workbench
from ui.commands.compare import variant_of
from ui.console import (
    COLLECTION,
    CollectionOption,
    DocumentsOption,
    HomeOption,
    JsonOption,
    emit,
    home_of,
    interruptible,
    notes,
    results,
    settings_options,
)

QUESTIONS = "A set of the collection, or a file: JSON lines, CSV, SQuAD JSON or a BEIR folder."


@settings_options(Decoding, "decoding", "How the answers are written")
@settings_options(Variant, "common", "What all variants share", skip=("template", "adapter", "decoding"))
@settings_options(RetrieveSettings, "retrieval", "How passages are found", short={"k": "-k"})
def evaluate(
    retrieval: dict[str, Any],
    common: dict[str, Any],
    decoding: dict[str, Any],
    questions: Annotated[str, typer.Argument(help=QUESTIONS)] = "",
    variants: Annotated[
        list[str] | None,
        typer.Option("--variant", "-v", metavar="TEMPLATE[+ADAPTER]", help="Repeat the option for each."),
    ] = None,
    answers: Annotated[
        list[Path] | None,
        typer.Option(
            "--answers",
            metavar="FILE",
            help='Score answers made elsewhere: JSON lines {"id", "answer"}, or a SQuAD prediction file; repeatable.',
        ),
    ] = None,
    gold: Annotated[
        Path | None, typer.Option("--gold", metavar="FILE", help="Questions that --answers are scored against.")
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            metavar="NAME",
            help=f"What the model reads: {', '.join(COLUMNS)}. May be repeated. [dim]\\[default: retrieved][/]",
        ),
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option("--metric", "-m", metavar="NAME", help="A metric that decides (all are measured); repeatable."),
    ] = None,
    baseline: Annotated[
        str, typer.Option("--baseline", metavar="VARIANT", help="Compare with this variant instead of the first.")
    ] = "",
    margin: Annotated[float, typer.Option("--margin", help="Differences up to this count as none.")] = 0.02,
    repeats: Annotated[
        int, typer.Option("--repeats", min=1, help="Answers a question, with a temperature above 0.")
    ] = 1,
    together: Annotated[
        bool,
        typer.Option(
            "--together",
            help="Write several answers at once: faster, but wordings may differ from those of single answers.",
        ),
    ] = False,
    out: Annotated[
        list[Path] | None,
        typer.Option("--out", "-o", metavar="FILE", help="Also write the report: .html, .csv or .json; repeatable."),
    ] = None,
    background: Annotated[
        bool, typer.Option("--background", help="Hand it to the worker and return: see `ragkit jobs`.")
    ] = False,
    documents: DocumentsOption = None,
    collection: CollectionOption = COLLECTION,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Answer every question with every variant and compare; what was answered before comes from the cache."""
    _check(questions, variants, answers, gold)
    if answers and gold:
        report = score_answers(
            read_set(gold),
            _answers(answers),
            metrics=_metrics(metrics),
            baseline=_place(baseline, [path.stem for path in answers]),
            margin=margin,
            name=gold.name,
        )
    else:
        workbench = Workbench.open(collection, home_of(home))
        chosen = variants or [workbench.defaults.variant(common.get("model", "")).template]
        plan = Plan(
            variants=tuple(variant_of(each, common, Decoding(**decoding)) for each in chosen),
            retrieve=RetrieveSettings(**retrieval),
            documents=tuple(documents) if documents else None,
            columns=cast(tuple[Column, ...], tuple(columns or ("retrieved",))),  # `begin` checks the names
            metrics=_metrics(metrics),
            baseline=_place(baseline, chosen),
            margin=margin,
            repeats=repeats,
            together=together,
        )
        asked = questions_of(workbench, questions)
        if background:
            _submit(workbench, asked, plan, as_json)
            return
        run = evaluation.begin(workbench, asked, plan)
        with interruptible() as stopped, progress() as listen:
            report = evaluation.carry_out(workbench, run.id, listen, stopped)
    for path in out or ():
        write_report(report, path)
        notes.print(f"Wrote {escape(str(path))}.")
    if as_json:
        emit({**to_json(report), "items": None, "questions": len(report.questions)})
    else:
        show(report)


def questions_of(workbench: Workbench, named: str) -> EvaluationSet:
    """A set of the collection by name; a file or folder is imported under its own name first."""
    sets = Sets(workbench.collection)
    path = Path(named).expanduser()
    if any(each.name == named for each in sets.list()) or not path.exists():
        return sets.get(named)
    return sets.put(set_name(path.name), read_set(path), path.name)


def _check(questions: str, variants: list[str] | None, answers: list[Path] | None, gold: Path | None) -> None:
    if bool(answers) != bool(gold):
        raise typer.BadParameter("--answers and --gold go together.")
    if bool(questions) == bool(answers):
        raise typer.BadParameter("Give either QUESTIONS or --answers with --gold.")
    if answers and variants:
        raise typer.BadParameter("Answers made elsewhere have no --variant.")


def _metrics(named: list[str] | None) -> tuple[str, ...]:
    for name in named or ():
        METRICS.row(name)
    return tuple(named or ())


def _place(baseline: str, names: list[str]) -> int:
    if baseline and baseline not in names:
        raise RunError(f"The baseline {baseline!r} is none of the variants.", f"There are: {', '.join(names)}.")
    return names.index(baseline) if baseline else 0


def _answers(paths: list[Path]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for path in paths:
        name = path.stem if path.stem not in found else str(path)
        found[name] = read_answers(path)
    return found


def _submit(workbench: Workbench, asked: EvaluationSet, plan: Plan, as_json: bool) -> None:
    job, run = submit_evaluation(workbench, asked, plan)
    if as_json:
        emit({"job": job, "run": run})
    else:
        notes.print(f"Job {job} does run {run}. Follow it with: ragkit jobs -c {workbench.collection.name}")


@contextmanager
def progress() -> Iterator[Callable[[evaluation.Progress], None]]:
    """A bar on standard error for the progress of an evaluation."""
    bar = Progress(
        SpinnerColumn(),
        BarColumn(16),
        TaskProgressColumn(),
        TextColumn("{task.fields[told]}"),
        console=notes,
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=None, told="loading")

        def listen(now: evaluation.Progress) -> None:
            left = "" if now.left is None else f", {int(now.left // 60)}:{int(now.left % 60):02d} left"
            told = f"{now.done:,}/{now.total:,} answers, {now.cached:,} from the cache, {now.rate:.2f}/s{left}"
            bar.update(task, completed=now.done, total=now.total, told=told)

        yield listen


def show(report: Report) -> None:
    """The report as tables on standard output."""
    for column in report.columns:
        results().print(_table(report, column))
        _causes(report, column)
    for each in report.verdicts:
        name = f"{report.variants[each.variant]} against {report.variants[each.baseline]}"
        where = f", {COLUMN_NAMES.get(each.column, each.column)}" if len(report.columns) > 1 else ""
        results().print(f"{escape(name)}, {each.metric}{where}: [bold]{escape(each.words)}[/]", soft_wrap=True)
    for note in report.notes:
        notes.print(escape(note))
    if report.run is not None:
        made = f"{report.generated:,} answers generated, {report.cached:,} from the cache"
        told = f"{made}, {report.withheld:,} held back, {report.seconds:.1f} s"
        notes.print(f"[dim]Run {report.run}: {told}.[/]", soft_wrap=True)


def _table(report: Report, column: str) -> Table:
    usual = ("recall", "abstention", "support", "seconds", "tokens")
    metrics = [name for name in dict.fromkeys((*report.metrics, *usual)) if name in report.measured]
    title = f"{len(report.questions):,} questions, {COLUMN_NAMES.get(column, column)}"
    table = Table("variant", title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for metric in metrics:
        table.add_column(metric, justify="right")
    for number, name in enumerate(report.variants):
        cells = [_cell(report.summary(number, column, metric), metric) for metric in metrics]
        table.add_row(escape(name), *cells)
    return table


def _cell(cell: Summary | None, metric: str) -> str:
    if cell is None or cell.mean is None:
        return "[dim]missing[/]"
    span = ""
    if cell.low is not None and cell.high is not None:
        span = f" [dim]{figure(cell.low, metric)}-{figure(cell.high, metric)}[/]"
    gone = sum(cell.missing.values())
    return f"{figure(cell.mean, metric)}{span}" + (f" [dim]({gone} missing)[/]" if gone else "")


def _causes(report: Report, column: str) -> None:
    for each in report.causes:
        if each.column == column and set(each.counts) != {"not judged"}:
            told = ", ".join(f"{count} {name}" for name, count in sorted(each.counts.items(), key=lambda x: -x[1]))
            results().print(f"[dim]{escape(report.variants[each.variant])}: {told}[/]", soft_wrap=True)
