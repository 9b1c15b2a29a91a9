"""What an ingestion says while it runs. The windows draw bars from these; nothing depends on anybody listening."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ragkit.jobs import JobFile, Progress


@dataclass(frozen=True, slots=True)
class Planned:
    """The files that will be read, in order; their names are how the collection will know them."""

    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FileChanged:
    """A file has a new state, more pages or more passages."""

    file: JobFile


@dataclass(frozen=True, slots=True)
class Advanced:
    """The whole has come further."""

    progress: Progress


Event = Planned | FileChanged | Advanced
Listen = Callable[[Event], None]


def ignore(event: Event) -> None:
    """A listener for those who only want the result."""
