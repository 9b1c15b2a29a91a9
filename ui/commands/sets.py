"""`ragkit sets`."""

from __future__ import annotations

import json
from itertools import count as numbers
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape
from rich.table import Table

from ragkit import drafting
from ragkit.evaluate.drafts import Draft, listed
from ragkit.evaluate.importers import read_set
from ragkit.sets import EvaluationSet, Sets, record_of, set_name
from ragkit.types import Variant, to_json
from ragkit.workbench import Workbench
from ui.console import (
    COLLECTION,
    CollectionOption,
    DocumentsOption,
    HomeOption,
    JsonOption,
    emit,
    home_of,
    notes,
    results,
    write,
)

Action = Literal["list", "import", "show", "export", "remove", "draft"]
KEYS = "[k]eep, [d]rop, [e]dit the answer, [q]uit"


def sets(
    action: Annotated[Action, typer.Argument(help="What to do.")] = "list",
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME|FILE]...", help="Sets, or files to import.")
    ] = None,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Import under this name, not the file's.")] = "",
    split: Annotated[str, typer.Option("--split", help="Which judgements of a BEIR folder.")] = "",
    version: Annotated[int | None, typer.Option("--version", help="An older version (show, export).")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Export, or write drafts, to this file.")] = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Drafts to propose.")] = 20,
    seed: Annotated[int, typer.Option("--seed", help="Another seed proposes other drafts.")] = 0,
    model: Annotated[str, typer.Option("--model", help="Let this language model write the drafts.")] = "",
    keep_all: Annotated[bool, typer.Option("--keep-all", help="Keep every draft without asking.")] = False,
    documents: DocumentsOption = None,
    collection: CollectionOption = COLLECTION,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Work on the evaluation sets of a collection. A change makes a new version; the same content again does not."""
    workbench = Workbench.open(collection, home_of(home))
    kept = Sets(workbench.collection)
    named = names or []
    if action != "list" and not named:
        raise typer.BadParameter(f"ragkit sets {action} needs a {'file' if action == 'import' else 'name'}.")
    if action == "list":
        _list(kept.list(), as_json)
    elif action == "import":
        _import(kept, named, name, split, as_json)
    elif action == "remove":
        _remove(kept, named)
    elif action == "draft":
        writer = Variant(model=model) if model else None
        found = drafting.drafts(workbench, documents=documents or (), seed=seed, variant=writer)
        known = [each.question for each in kept.questions(named[0])] if _exists(kept, named[0]) else []
        _draft(kept, named[0], listed(found, count, known), out, keep_all, as_json)
    else:
        for each in named:
            _show(kept, each, version, out if action == "export" else None, lines=as_json or action == "export")


def _import(kept: Sets, files: list[str], name: str, split: str, as_json: bool) -> None:
    if name and len(files) > 1:
        raise typer.BadParameter("--name names one set; give one file.")
    read = [(Path(each).expanduser(), read_set(Path(each).expanduser(), split)) for each in files]
    for path, questions in read:  # nothing is kept unless every file could be read
        _tell(kept.put(name or set_name(path.name), questions, path.name), as_json)


def _remove(kept: Sets, names: list[str]) -> None:
    for each in names:
        kept.get(each)
    for each in names:
        kept.remove(each)
        notes.print(f"Removed {escape(each)}.")


def _exists(kept: Sets, name: str) -> bool:
    return any(each.name == name for each in kept.list())


def _list(found: list[EvaluationSet], as_json: bool) -> None:
    if as_json:
        for each in found:
            emit(to_json(each))
        return
    table = Table("set", box=None, pad_edge=False)
    for column in ("version", "questions", "unanswerable"):
        table.add_column(column, justify="right")
    table.add_column("from")
    table.add_column("changed")
    for each in found:
        counts = (f"{each.version}", f"{each.count:,}", f"{each.unanswerable:,}")
        table.add_row(escape(each.name), *counts, escape(each.source), each.created[:16].replace("T", " "))
    if found:
        results().print(table)
    else:
        notes.print("There are no evaluation sets. Import one with: ragkit sets import FILE")


def _tell(made: EvaluationSet, as_json: bool) -> None:
    if as_json:
        emit(to_json(made))
    else:
        told = f"{made.count:,} questions, {made.unanswerable:,} of them unanswerable"
        notes.print(f"{escape(made.name)}, version {made.version}: {told}.")


def _show(kept: Sets, name: str, version: int | None, out: Path | None, *, lines: bool) -> None:
    if out is not None:
        out.write_text(kept.export(name, version), "utf-8")
        notes.print(f"Wrote {escape(str(out))}.")
    elif lines:
        write(kept.export(name, version))
    else:
        for each in kept.questions(name, version):
            answers = " | ".join(each.answers) or ("no answer in the documents" if each.judged else "not judged")
            results().print(f"[bold]{escape(each.question)}[/]  [dim]{escape(answers)}[/]", soft_wrap=True)


def _draft(kept: Sets, name: str, drafts: list[Draft], out: Path | None, keep_all: bool, as_json: bool) -> None:
    """Show each draft and ask; what is kept goes into the set, or into a file."""
    chosen = drafts if keep_all or as_json else _ask(drafts)
    if as_json:
        for draft in drafts:
            emit(to_json(draft))
        if not keep_all:
            return
    questions = [draft.as_question() for draft in chosen]
    if not questions:
        notes.print("Nothing was kept.")
    elif out is not None:
        lines = [json.dumps(record_of(question), ensure_ascii=False) + "\n" for question in questions]
        out.write_text("".join(lines), "utf-8")
        notes.print(f"Wrote {escape(str(out))}.")
    else:
        _tell(kept.add(name, *questions), as_json)


def _ask(drafts: list[Draft]) -> list[Draft]:
    chosen: list[Draft] = []
    for number, draft in zip(numbers(1), drafts, strict=False):
        notes.print(f"\n[bold]{number} of {len(drafts)}: {escape(draft.question)}[/]", soft_wrap=True)
        sentence = " ".join(draft.sentence.split())
        place = f"{escape(draft.document)}, page {draft.page}"
        notes.print(f"[green]{escape(draft.answer)}[/]\n[dim]{place}: {escape(sentence)}[/]", soft_wrap=True)
        key = typer.prompt(KEYS, default="k", err=True).strip().lower()[:1]
        if key == "q":
            break
        if key == "e":
            answer = typer.prompt("Answer", default=draft.answer, err=True).strip()
            chosen.append(Draft(**{**to_json(draft), "answer": answer}))
        elif key == "k":
            chosen.append(draft)
    return chosen
