"""`ragkit compare`."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from ragkit.adapters import AUTO
from ragkit.history import History
from ragkit.settings import RetrieveSettings
from ragkit.types import Answer, Decoding, Generation, Variant, to_json
from ragkit.workbench import Workbench
from ui.commands.ask import show_citations, summary
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
    write,
)


@settings_options(Decoding, "decoding", "How the answers are written")
@settings_options(Variant, "common", "What all variants share", skip=("template", "adapter", "decoding"))
@settings_options(RetrieveSettings, "retrieval", "How passages are found", short={"k": "-k"})
def compare(
    retrieval: dict[str, Any],
    common: dict[str, Any],
    decoding: dict[str, Any],
    question: Annotated[str, typer.Argument(help="The question.")],
    variants: Annotated[
        list[str],
        typer.Option("--variant", "-v", metavar="TEMPLATE[+ADAPTER]", help="Two or more; repeat the option for each."),
    ],
    documents: DocumentsOption = None,
    collection: CollectionOption = COLLECTION,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Retrieve once and answer with every variant on that evidence.

    The answers are kept: the browser's Compare page lists them, and `ragkit votes cast` takes their numbers.
    """
    if len(variants) < 2:
        raise typer.BadParameter("Name at least two variants.", param_hint="--variant")
    chosen = [variant_of(each, common, Decoding(**decoding)) for each in variants]
    workbench = Workbench.open(collection, home_of(home))
    held = [""] * len(chosen)  # the first is written as it comes, the others, which are made beside it, after it
    with interruptible() as stopped:

        def on_text(number: int, text: str) -> bool:
            if not number and not as_json:
                if not held[0]:
                    _rule(chosen[0], first=True)
                write(text)
            held[number] += text
            return not stopped()

        settings = RetrieveSettings(**retrieval)
        answers = workbench.compare(question, chosen, retrieve=settings, documents=documents or None, on_text=on_text)
    history, thread = History(workbench.collection), uuid.uuid4().hex[:12]
    answers = [history.keep(answer, thread, "compare") for answer in answers]
    if as_json:
        for answer in answers:
            emit(to_json(answer))
        return
    for variant, text in list(zip(chosen, held, strict=True))[1:]:
        _rule(variant, first=False)
        write(text)
    write("\n\n")
    for answer in answers:
        if answer.citations:
            results().print(f"[bold]{escape(answer.variant.name)}[/]", soft_wrap=True)
            show_citations(answer)
    _table(answers)


def variant_of(text: str, common: dict[str, Any], decoding: Decoding) -> Variant:
    """A variant from `template` (with the default adapter, where it belongs to it), `template+adapter` or `template+`
    (with none)."""
    template, plus, adapter = text.partition("+")
    return Variant(**common, template=template, adapter=adapter if plus else AUTO, decoding=decoding)


def _rule(variant: Variant, *, first: bool) -> None:
    write(("" if first else "\n\n") + f"--- {variant.name} ---\n")


def _table(answers: list[Answer]) -> None:
    table = Table("answer", "variant", box=None, pad_edge=False)
    for column in ("tokens read", "written", "first token", "seconds", "supported", "citations"):
        table.add_column(column, justify="right")
    for answer in answers:
        support = f"{answer.supported:.0%}" if answer.supported is not None else "-"
        name, cited = escape(answer.variant.name), str(len(answer.citations))
        table.add_row(str(answer.id), name, *_numbers(answer.generation), support, cited)
    results().print(table)
    for answer in answers:
        if answer.prompt and answer.prompt.dropped:
            notes.print(f"[dim]{escape(answer.variant.name)}: {escape(summary(answer))}[/]")


def _numbers(made: Generation | None) -> tuple[str, str, str, str]:
    if made is None:
        return ("-",) * 4
    return f"{made.prompt_tokens:,}", f"{made.tokens:,}", f"{made.seconds_to_first:.2f}", f"{made.seconds:.1f}"
