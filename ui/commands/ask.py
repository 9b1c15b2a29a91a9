"""`ragkit ask`, and how an answer is written to the terminal."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape

from ragkit.settings import RetrieveSettings
from ragkit.types import Answer, Decoding, Evidence, Hit, Reading, Variant, to_json
from ragkit.workbench import Workbench
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


@settings_options(Decoding, "decoding", "How the answer is written")
@settings_options(Variant, "variant", "What answers", skip=("decoding",), short={"template": "-t"})
@settings_options(RetrieveSettings, "retrieval", "How passages are found", short={"k": "-k"})
def ask(
    retrieval: dict[str, Any],
    variant: dict[str, Any],
    decoding: dict[str, Any],
    question: Annotated[str, typer.Argument(help="The question.")],
    documents: DocumentsOption = None,
    collection: CollectionOption = COLLECTION,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print what the reader quotes, the answer as it is written, then the sentences that it cites."""
    workbench = Workbench.open(collection, home_of(home))
    usual = workbench.defaults.variant(variant.get("model", ""))
    if "adapter" not in variant and "engine" not in variant:  # nobody chose who answers: then the default's template
        variant = {"template": usual.template, **variant}
    chosen = Variant(**variant, decoding=Decoding(**decoding))
    refusal = workbench.templates.get(chosen.template).abstain
    held = ""
    with interruptible() as stopped:

        def on_text(text: str) -> bool:
            nonlocal held
            held += text
            if not as_json and not refusal.startswith(held.strip()):  # a refusal waits: a quotation may stand in for it
                write(held)
                held = ""
            return not stopped()

        def on_reading(reading: Reading, evidence: Evidence) -> None:
            if reading.answered and not as_json:
                show_reading(reading, evidence.hits[reading.passage])

        settings = RetrieveSettings(**retrieval)
        answer = workbench.ask(
            question,
            chosen,
            retrieve=settings,
            documents=documents or None,
            on_text=on_text,
            on_reading=on_reading,
        )
    if as_json:
        emit(to_json(answer))
        return
    show_rest(answer, held)


def show_rest(answer: Answer, held: str) -> None:
    """What is to be said when the model has ended: the text that was held back, its sources, and how it was made."""
    if not answer.quoted:
        write(f"{held}\n")
    elif answer.reading is not None and not answer.reading.answered:  # else the quotation stands there already
        write(f"{answer.text}\n")
    if answer.quoted:
        notes.print("[dim]The language model found no answer; this is what the reader quotes.[/]")
    if answer.closest:
        notes.print("[dim]Nearest in the documents:[/]")
    show_citations(answer)
    if (answer.abstained or answer.quoted) and answer.generation and answer.variant.adapter:
        notes.print(f"[dim]The adapter {escape(answer.variant.adapter)} declines. The model itself, at length: "
                    "--template concise --adapter \"\"[/]", soft_wrap=True)  # fmt: skip
    notes.print(f"[dim]{escape(summary(answer))}[/]", soft_wrap=True)


def show_reading(reading: Reading, hit: Hit) -> None:
    """What the reader quotes, from where, and how sure it is; on standard output."""
    quote, place = " ".join(reading.text.split()), f"{hit.document}, page {hit.page}"
    told = f"[dim]{escape(place)}, {reading.confidence:.0%} sure[/]"
    results().print(f"“{escape(quote)}” {told}\n", soft_wrap=True)


def show_citations(answer: Answer) -> None:
    """One line a citation, or a sentence near to what got no answer, on standard output."""
    for citation in answer.citations or answer.closest:
        quote = " ".join(citation.quote.split())
        place = f"{citation.document}, page {citation.page}"
        results().print(f"[bold]\\[{citation.number}][/] {escape(place)}: [dim]{escape(quote)}[/]", soft_wrap=True)


def summary(answer: Answer) -> str:
    """Time, tokens and support in one line."""
    nearest = f"nearest passage {answer.nearest:.2f}" if answer.nearest is not None else ""
    if answer.generation is None:
        read = answer.reading
        found = f"the reader finds no answer, {read.confidence:.0%} sure of its best guess" if read else ""
        return ", ".join(part for part in ("no model was asked", found, nearest) if part)
    made = answer.generation
    parts = [
        f"{made.prompt_tokens:,} tokens read, {made.tokens:,} written",
        f"{made.seconds_to_first:.1f} s to the first, {made.seconds:.1f} s in all",
        nearest,
        f"{answer.supported:.0%} supported" if answer.supported is not None else "",
        f"{len(answer.prompt.dropped)} passages did not fit" if answer.prompt and answer.prompt.dropped else "",
        "stopped" if made.finish == "cancelled" else "cut off at the longest length" if made.finish == "length" else "",
    ]
    return ", ".join(part for part in parts if part)
