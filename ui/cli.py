"""The command `ragkit`: a table of commands, and what happens to errors.

A command's module is imported when the command is called, so that `ragkit --help` stays quick.
"""

from __future__ import annotations

import sys
from typing import Any

import typer
from rich.markup import escape
from typer.core import TyperCommand, TyperGroup

from ragkit.errors import RagkitError, UnknownPart, of_storage
from ragkit.registry import Registry, Row
from ui.console import notes

COMMANDS = Registry(
    "command",
    Row("ingest", "ui.commands.ingest:ingest", "Put files or folders into a collection."),
    Row("documents", "ui.commands.documents:documents", "List the documents of a collection."),
    Row("remove", "ui.commands.documents:remove", "Remove documents from a collection."),
    Row("search", "ui.commands.search:search", "Find passages, for one question or for many."),
    Row("ask", "ui.commands.ask:ask", "Answer a question with citations."),
    Row("compare", "ui.commands.compare:compare", "Answer with several variants on the same passages."),
    Row("votes", "ui.commands.votes:votes", "List votes on answers, take one back, export them as training data."),
    Row("ratings", "ui.commands.votes:ratings", "Rate variants, or what they are made of, by the votes."),
    Row(
        "demonstrations",
        "ui.commands.demonstrations:demonstrations",
        "Fill, list, export and check the bank of worked examples.",
    ),
    Row("evaluate", "ui.commands.evaluate:evaluate", "Answer many questions with several variants, and compare them."),
    Row("search-prompts", "ui.commands.search_prompts:search_prompts", "Search for a better prompt and test it once."),
    Row("sets", "ui.commands.sets:sets", "Import, list, export or draft evaluation sets."),
    Row("tune", "ui.commands.tune:tune", "Train an adapter on questions with answers."),
    Row("promote", "ui.commands.promote:promote", "Make an adapter the default if it is measured to be better."),
    Row("adapters", "ui.commands.adapters:adapters", "List, rename, export, import or remove adapters."),
    Row("list", "ui.commands.parts:parts", "List the parts that can be plugged in."),
    Row("distill", "ui.commands.distill:distill", "Make a static embedding model, many times as fast, out of another."),
    Row("models", "ui.commands.models:models", "Show where each model comes from and whether its hash is right."),
    Row("verify", "ui.commands.verify:verify", "Check a collection for damage, and repair it."),
    Row("backup", "ui.commands.backup:backup", "Write everything into one file, safely while it is in use."),
    Row("restore", "ui.commands.backup:restore", "Put what a backup holds back."),
    Row("reembed", "ui.commands.reembed:reembed", "Embed a collection again with another model or other settings."),
    Row("jobs", "ui.commands.jobs:jobs", "List long-running work, or cancel it."),
    Row("ui", "ui.commands.serve:serve", "Serve the browser front end on this machine."),
)


class Commands(TyperGroup):
    """The commands, imported one at a time."""

    _listing = False

    def list_commands(self, ctx: typer.Context) -> list[str]:
        """Names in the order of the table."""
        return COMMANDS.names

    def get_command(self, ctx: typer.Context, cmd_name: str) -> TyperCommand:  # type: ignore[override]
        """The command of that name; while the list is printed, only its name and summary."""
        try:
            row = COMMANDS.row(cmd_name)
        except UnknownPart as error:
            ctx.fail(str(error))
        if self._listing:
            return TyperCommand(row.name, help=row.summary, short_help=row.summary)
        single = typer.Typer(add_completion=False, rich_markup_mode="rich")
        single.command(row.name, help=row.summary, no_args_is_help=False)(COMMANDS.load(row.name))
        return typer.main.get_command(single)  # type: ignore[return-value]

    def format_help(self, ctx: typer.Context, formatter: Any) -> None:  # noqa: ANN401 - typer's own type
        """The list of commands, without importing any."""
        self._listing = True
        super().format_help(ctx, formatter)

    def invoke(self, ctx: typer.Context) -> Any:  # noqa: ANN401 - whatever the command returns
        """Run a command; what a person can mend becomes one sentence, an interrupted command says so."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # the reader of our output has gone: `ragkit search ... | head`
            sys.stdout = None  # type: ignore[assignment]
            raise typer.Exit(0) from None
        except Exception as error:
            reason = error if isinstance(error, RagkitError) else of_storage(error)
            if reason is None:
                raise
            notes.print(f"[bold red]Error:[/] {escape(str(reason))}", soft_wrap=True)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            notes.print("Stopped.")
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=Commands, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich"
)


@app.callback(
    help="A local workbench for retrieval-augmented in-context learning: ask your documents, compare prompts."
)
def ragkit() -> None:
    """Nothing happens before the command itself."""


def main() -> None:
    """Entry point of the command `ragkit`."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] - a file name may hold any bytes
    app(prog_name="ragkit")


if __name__ == "__main__":
    main()
