"""`ragkit demonstrations`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape
from rich.table import Table

from ragkit import demonstrations as bank_files
from ragkit.collection import Collection
from ragkit.errors import LoadError
from ragkit.evaluate import leaks
from ragkit.sets import Sets
from ragkit.types import Demonstration, to_json
from ragkit.votes import Votes
from ui.console import COLLECTION, CollectionOption, HomeOption, JsonOption, emit, home_of, notes, results, write


def demonstrations(
    action: Annotated[
        Literal["list", "import", "export", "remove", "clear", "check"],
        typer.Argument(
            help="list them; import a file, or with --graded the answers graded good; export as JSON lines; remove "
            "one by its number; clear the bank; check --against an evaluation set for questions given away.",
        ),
    ] = "list",
    what: Annotated[
        str,
        typer.Argument(
            metavar="[FILE|NUMBER]",
            help="The file to import or export (else standard output); the number to remove; a file of training rows "
            "to check instead of the bank.",
        ),
    ] = "",
    graded: Annotated[bool, typer.Option("--graded", help="Import the answers that were graded good.")] = False,
    against: Annotated[str, typer.Option("--against", metavar="SET", help="Evaluation set to check against.")] = "",
    threshold: Annotated[
        float, typer.Option("--threshold", min=0.05, max=1.0, help="Overlap from which two texts are nearly the same.")
    ] = leaks.THRESHOLD,
    collection: CollectionOption = COLLECTION,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """The bank of worked examples for few-shot prompts: list, fill, export, empty it, or check it for leaks."""
    opened = Collection.open(home_of(home), collection)
    if action == "list":
        _list(opened.demonstrations(), as_json)
    elif action == "import":
        _import(opened, what, graded)
    elif action == "export":
        _export(opened, what)
    elif action == "remove":
        _remove(opened, what)
    elif action == "clear":
        notes.print(f"{_count(opened.clear_demonstrations())} removed.")
    elif not against:
        raise typer.BadParameter("Name the evaluation set.", param_hint="--against")
    else:
        _check(opened, what, against, threshold, as_json)


def _list(bank: list[Demonstration], as_json: bool) -> None:
    if as_json:
        for number, example in enumerate(bank, start=1):
            emit({"number": number, **to_json(example)})
        return
    table = Table("", "question", "answer", "passage", box=None, pad_edge=False)
    for number, example in enumerate(bank, start=1):
        texts = (example.question, example.answer, example.passage)
        table.add_row(str(number), *(escape(_short(text)) for text in texts))
    if bank:
        results().print(table)
    else:
        notes.print("The bank is empty. Fill it with: ragkit demonstrations import FILE")


def _import(opened: Collection, file: str, graded: bool) -> None:
    if graded == bool(file):
        raise typer.BadParameter("Give a file, or --graded.", param_hint="FILE")
    if graded:
        added = Votes(opened).to_demonstrations()
    else:
        added = opened.add_demonstrations(bank_files.read(Path(file).expanduser()))
    notes.print(f"{_count(added)} added; the bank holds {len(opened.demonstrations()):,}.")


def _export(opened: Collection, file: str) -> None:
    bank = opened.demonstrations()
    if not file:
        write(bank_files.dump(bank))
        return
    Path(file).expanduser().write_text(bank_files.dump(bank), encoding="utf-8")
    notes.print(f"{_count(len(bank))} written to {escape(file)}.")


def _remove(opened: Collection, number: str) -> None:
    bank = opened.demonstrations()
    if not number.isdecimal() or not 1 <= int(number) <= len(bank):
        raise typer.BadParameter(f"Give a number from 1 to {len(bank)}, as listed.", param_hint="NUMBER")
    example = bank[int(number) - 1]
    opened.remove_demonstration(example)
    notes.print(f"Removed: {escape(_short(example.question))}")


def _check(opened: Collection, file: str, against: str, threshold: float, as_json: bool) -> None:
    """Exit 1 if a question is given away."""
    questions = Sets(opened).questions(against)
    texts = list(_rows(Path(file).expanduser())) if file else [each.question for each in opened.demonstrations()]
    found = leaks.leaks(texts, questions, threshold)
    table = Table("", "overlap", "example", "question", box=None, pad_edge=False)
    for leak in found:
        if as_json:
            emit(to_json(leak))
        texts_shown = (escape(_short(leak.example)), escape(_short(leak.question)))
        table.add_row(str(leak.place + 1), "same" if leak.kind == "exact" else f"{leak.overlap:.0%}", *texts_shown)
    if found and not as_json:
        results().print(table)
    given = len({leak.question_id for leak in found})
    notes.print(f"{given} of {len(questions):,} questions of {escape(against)} are given away.")
    if found:
        raise typer.Exit(1)


def _rows(path: Path) -> Iterator[str]:
    """Training rows as texts. Raises LoadError with the line that is wrong."""
    try:
        lines = path.read_text("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise LoadError(f"{path} cannot be read: {error}.", "Give a UTF-8 file of JSON lines.") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise LoadError(f"Line {number} of {path} is no JSON: {line[:60]!r}.", "Give JSON lines.") from error
        text = leaks.row_text(row) if isinstance(row, dict) else ""
        if not text:
            raise LoadError(f"Line {number} of {path} holds nothing to read.", "It needs a prompt or a question.")
        yield text


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:59] + "…"


def _count(number: int) -> str:
    return f"{number:,} worked example{'s' * (number != 1)}"
