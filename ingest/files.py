"""Which files an ingestion reads, and what the collection calls them."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Source:
    """A file and the name of the document that it becomes."""

    path: Path
    name: str


def find_sources(paths: Iterable[Path | str | Source]) -> list[Source]:
    """The files behind these paths, in order, each once.

    Folders are walked; hidden entries and links that lead out of the folder are skipped. A file in a folder is named
    by its path below it, a single file by its name; files that would share a name get as much of their path in front
    as tells them apart. A path where nothing is stays in the list, to be refused by name.
    """
    found: dict[str, Source] = {}
    for given in paths:
        for source in [given] if isinstance(given, Source) else _expand(Path(given).expanduser()):
            found.setdefault(os.path.realpath(source.path), source)
    return _distinct(list(found.values()))


def _expand(path: Path) -> Iterator[Source]:
    if not path.is_dir():
        yield Source(path, display_name(path.name or str(path)))
        return
    root = path.resolve()
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            file = Path(folder, name)
            if not name.startswith(".") and file.is_file() and file.resolve().is_relative_to(root):
                yield Source(file, display_name(file.relative_to(root).as_posix()))


def display_name(name: str) -> str:
    """A name as text: composed, with a sign for bytes that are no UTF-8 and without control characters."""
    text = unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "replace"))
    return "".join(char for char in text if char.isprintable()) or "unnamed"


def _distinct(sources: list[Source]) -> list[Source]:
    """Put parent folders in front of names that occur twice, one at a time, until none does."""
    depths = [source.name.count("/") + 1 for source in sources]
    while True:
        counts = Counter(source.name for source in sources)
        clashing = [index for index, source in enumerate(sources) if counts[source.name] > 1]
        grown = False
        for index in clashing:
            parts = sources[index].path.absolute().parts[1:]
            if depths[index] < len(parts):
                depths[index] += 1
                name = display_name("/".join(parts[-depths[index] :]))
                grown = grown or name != sources[index].name
                sources[index] = replace(sources[index], name=name)
        if not grown:
            return sources
