"""`ragkit search-prompts`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table

from ragkit.errors import RagkitError
from ragkit.evaluate.page import figure
from ragkit.prompt_search import Search, Space, Step, search
from ragkit.settings import RetrieveSettings
from ragkit.types import Decoding, Variant, to_json
from ragkit.workbench import Workbench
from ui.commands.evaluate import QUESTIONS, questions_of
from ui.console import (
    COLLECTION,
    CollectionOption,
    HomeOption,
    JsonOption,
    emit,
    home_of,
    interruptible,
    notes,
    results,
    settings_options,
)


class NoInstructions(RagkitError):
    """A file of instructions that cannot be read."""


@settings_options(Decoding, "decoding", "How the answers are written")
@settings_options(
    Variant, "common", "The default, and what all candidates share", skip=("decoding", "demonstrations", "template")
)
@settings_options(RetrieveSettings, "retrieval", "How passages are found", skip=("k",))
def search_prompts(
    retrieval: dict[str, Any],
    common: dict[str, Any],
    decoding: dict[str, Any],
    questions: Annotated[str, typer.Argument(help=QUESTIONS)],
    templates: Annotated[
        list[str] | None,
        typer.Option("--template", "-t", help="Candidate; the first is the default to beat. Repeatable."),
    ] = None,
    instructions: Annotated[
        list[str] | None,
        typer.Option("--instruction", "-i", help="Another text for a template's system block. Repeatable."),
    ] = None,
    instruction_file: Annotated[
        Path | None, typer.Option("--instructions", metavar="FILE", help="Instructions, an empty line between two.")
    ] = None,
    ks: Annotated[list[int] | None, typer.Option("-k", "--k", min=1, help="Passages. Repeatable.")] = None,
    shots: Annotated[
        list[int] | None, typer.Option("--demonstrations", min=0, help="Worked examples. Repeatable.")
    ] = None,
    metric: Annotated[str, typer.Option("--metric", "-m", help="What decides: f1, or recall, if not said.")] = "",
    share: Annotated[float, typer.Option("--share", help="Part of the questions that the search sees.")] = 0.5,
    margin: Annotated[float, typer.Option("--margin", help="Differences up to this count as none.")] = 0.02,
    split_seed: Annotated[int, typer.Option("--split-seed", help="Another seed splits the questions otherwise.")] = 0,
    save: Annotated[str, typer.Option("--save", metavar="NAME", help="Keep the winner as a template.")] = "",
    collection: CollectionOption = COLLECTION,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search on one part of the questions, then test the winner against the default once, on the other part."""
    workbench = Workbench.open(collection, home_of(home))
    named = templates or [Variant().template]
    texts = [*(instructions or ()), *(_read(instruction_file) if instruction_file else ())]
    counts, passages = shots or [Variant().demonstrations], ks or [RetrieveSettings().k]
    space = Space(tuple(named), tuple(texts), tuple(passages), tuple(counts))
    default = Variant(**common, template=named[0], demonstrations=counts[0], decoding=Decoding(**decoding))
    with interruptible() as stopped, _progress() as listen:
        found = search(
            workbench,
            questions_of(workbench, questions),
            default,
            space,
            retrieve=RetrieveSettings(**retrieval, k=passages[0]),
            metric=metric,
            share=share,
            margin=margin,
            seed=split_seed,
            listen=listen,
            should_stop=stopped,
        )
    if as_json:
        emit(to_json(found))
    else:
        _show(found)
    if save and found.winner == 0:
        notes.print("Nothing was saved: the default stays.")
    elif save:
        text = re.sub(r"^name = .*$", f'name = "{save}"', found.template, count=1, flags=re.MULTILINE)
        workbench.templates.save(text)
        notes.print(f"Saved the winner as the template {escape(save)}.")


def _read(path: Path) -> list[str]:
    try:
        return [part.strip() for part in re.split(r"\n\s*\n", path.read_text("utf-8")) if part.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise NoInstructions(f"{path} cannot be read: {error}.", "Give a UTF-8 text.") from error


@contextmanager
def _progress() -> Iterator[Callable[[Step], None]]:
    columns = (BarColumn(16), TaskProgressColumn(), TextColumn("{task.fields[told]}"))
    with Progress(*columns, console=notes, transient=True) as bar:
        task = bar.add_task("", total=None, told="loading")

        def listen(step: Step) -> None:
            told = f"round {step.round} of {step.rounds}, ahead: {escape(step.leader)}"
            bar.update(task, completed=step.done, total=step.total, told=told)

        yield listen


def _show(found: Search) -> None:
    rounds = max(trial.round for trial in found.trials)
    table = Table("candidate", box=None, pad_edge=False)
    for number in range(1, rounds + 1):
        asked = next(trial.questions for trial in found.trials if trial.round == number)
        table.add_column(f"round {number} ({asked})", justify="right")
    for candidate in found.candidates:
        scores = {trial.round: trial for trial in found.trials if trial.candidate == candidate.number}
        cells = []
        for number in range(1, rounds + 1):
            trial = scores.get(number)
            shown = "" if trial is None else "missing" if trial.score is None else figure(trial.score, found.metric)
            cells.append(f"[bold]{shown}[/]" if trial and trial.goes_on else shown)
        mark = " (default)" if candidate.number == 0 else ""
        table.add_row(escape(candidate.name) + mark, *cells)
    results().print(table)
    winner, default = found.candidates[found.winner], found.candidates[0]
    against = f"{winner.name} against {default.name} on {found.held_out} held-out questions, {found.metric}"
    told = found.verdict if found.winner == 0 else f"{against}: {found.verdict}"
    results().print(f"[bold]{escape(told)}[/]", soft_wrap=True)
    notes.print(f"[dim]{found.generated:,} answers generated, {found.cached:,} from the cache.[/]")
