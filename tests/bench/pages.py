"""PDF files into pages: ragkit, which parses in a process with limits and stores what it reads, beside loaders that
return the pages; in turns, over the same files.

Files that one of the sides refuses are left out for all of them; generated ones are added: a novel's text, typeset.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

from tests.bench.ingesting import texts_of
from tests.bench.passages import DATA
from tests.bench.sides import Side

LINES = 50
WIDTH = 85
"""Lines on a page and characters on a line."""


def measure(scratch: Path, *, sides: Sequence[str], generated: int, pages: int, rounds: int) -> dict[str, Any]:
    """By set (`documents`, `generated`) and side: pages and seconds of each round. A side is NAME or NAME:METHOD."""
    found: dict[str, Any] = {}
    with ExitStack() as stack:
        names = sorted({name.partition(":")[0] for name in sides})
        processes = {name: stack.enter_context(Side(name, scratch)) for name in names}
        for process in processes.values():
            process.ask("load")
        real = sorted((DATA / "documents" / "files").glob("*.pdf"))
        readable = [str(file) for file in real if all(_reads(processes, side, str(file)) for side in sides)]
        made = [str(_typeset(scratch / f"novel-{number}.pdf", pages, number)) for number in range(generated)]
        for name, files in (("documents", readable), ("generated", made)):
            rows: dict[str, Any] = {side: {"seconds": []} for side in sides}
            for number in range(rounds):
                for side in [*sides[number % len(sides) :], *sides[: number % len(sides)]]:
                    rows[side]["pages"], seconds = _read(processes, side, files)
                    rows[side]["seconds"].append(seconds)
            found[name] = {"files": len(files), "sides": rows}
    return found


def _read(processes: dict[str, Side], side: str, files: list[str]) -> tuple[int, float]:
    name, _, method = side.partition(":")
    pages = processes[name].ask(method or "read", files=files)
    return pages, processes[name].seconds


def _reads(processes: dict[str, Side], side: str, file: str) -> bool:
    try:
        return _read(processes, side, [file])[0] > 0
    except RuntimeError:
        return False


def _typeset(path: Path, pages: int, number: int) -> Path:
    """A PDF of so many pages of plain text; another part of the novels for each number."""
    text = " ".join("".join(texts_of("novels", (number + 1) * pages * LINES * WIDTH)).split())
    text = text[-pages * LINES * WIDTH :]
    canvas = Canvas(str(path), pagesize=A4)
    for page in range(pages):
        lines = canvas.beginText(50, 800)
        lines.setFont("Helvetica", 10)
        for line in range(LINES):
            start = (page * LINES + line) * WIDTH
            lines.textLine(text[start : start + WIDTH].encode("latin-1", "replace").decode("latin-1"))
        canvas.drawText(lines)
        canvas.showPage()
    canvas.save()
    return path
