"""The picture of a PDF page with a passage marked on it.

PDFium runs in a process of its own: a file that crashes it, or keeps it busy for ever, costs one picture and not the
app. This file is that process's program too, so it imports nothing first-party.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import pypdfium2
import pypdfium2.raw as pdfium
from PIL import Image, ImageChops, ImageDraw

WIDTH = 1100
"""Pixels across: sharp in a drawer of 700 px on a display of ordinary density, 150 to 250 kB."""
LARGEST = 6_000_000
"""Pixels in all; a page of absurd proportions is drawn smaller."""
PATIENCE = 20.0
"""Seconds before the drawing is given up."""
PIECE = 20
"""Letters of a piece of a sentence that is looked for on its own; twenty in a row are hardly ever twice on a page."""
_YELLOW = (255, 226, 120)


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawn page."""

    png: bytes
    marked: bool
    """Whether the passage was found on it."""
    top: float
    """Where the first mark is, as a share of the page's height; 0 if there is none."""


def draw(path: Path, page: int, quote: str) -> Picture | None:
    """Page number `page` (from 1) with `quote` marked; None when the page cannot be drawn."""
    try:
        done = subprocess.run(
            [sys.executable, "-I", __file__, str(path), str(page)],
            input=quote.encode(),
            capture_output=True,
            timeout=PATIENCE,
            check=True,
        )
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError):
        return None
    head, _, png = done.stdout.partition(b"\n")
    return Picture(png, **json.loads(head))


def squeeze(text: str) -> tuple[str, list[int]]:
    """The text without spaces, hyphens, accents, ligatures and case, and where each of its characters stood.

    Readers of PDFs disagree about these, and about little else.
    """
    kept = [
        (part, at)
        for at, letter in enumerate(text)
        for part in unicodedata.normalize("NFKD", letter).casefold()
        if part.isalnum()
    ]
    return "".join(letter for letter, _ in kept), [at for _, at in kept]


def locate(page_text: str, quote: str) -> list[tuple[int, int]]:
    """Where the quote stands in a page's text: start and end, in one piece or, where readers differ, in several.

    Pieces are `PIECE` letters long; unless half of them are found, nothing is.
    """
    page, places = squeeze(page_text)
    wanted, _ = squeeze(quote)
    if not wanted:
        return []
    found = page.find(wanted)
    if found >= 0:
        return [(places[found], places[found + len(wanted) - 1] + 1)]
    pieces = [wanted[start : start + PIECE] for start in range(0, len(wanted) - PIECE + 1, PIECE // 2)]
    starts = [start for start in (page.find(piece) for piece in pieces) if start >= 0]
    if len(starts) * 2 < len(pieces) or not starts:
        return []
    return [(places[start], places[start + PIECE - 1] + 1) for start in starts]


def _draw(path: str, number: int, quote: str) -> tuple[bytes, bool, float]:
    page = pypdfium2.PdfDocument(path)[number - 1]
    width, height = page.get_size()
    scale = min(WIDTH / width, (LARGEST / (width * height)) ** 0.5)
    bitmap = page.render(scale=scale, may_draw_forms=False)
    picture = bitmap.to_pil().convert("RGB")
    text = page.get_textpage()
    convert = bitmap.get_posconv(page)
    boxes = []
    # One code point an index, as PDFium counts them; its own text drops some and shifts the rest.
    letters = "".join(chr(pdfium.FPDFText_GetUnicode(text, index) or 32) for index in range(text.count_chars()))
    for start, end in locate(letters, quote):
        for index in range(text.count_rects(start, end - start)):
            left, bottom, right, top = text.get_rect(index)
            corners = [convert.to_bitmap(left, top), convert.to_bitmap(right, bottom)]
            (x0, x1), (y0, y1) = (sorted(pair) for pair in zip(*corners, strict=True))
            boxes.append((x0 - 3, y0 - 2, x1 + 3, y1 + 2))
    if boxes:
        marks = Image.new("RGB", picture.size, "white")
        pen = ImageDraw.Draw(marks)
        for box in boxes:
            pen.rounded_rectangle(box, radius=4, fill=_YELLOW)
        picture = ImageChops.multiply(picture, marks)  # as a marker pen does: the letters stay black
    out = io.BytesIO()
    picture.quantize(128).save(out, "PNG")
    return out.getvalue(), bool(boxes), boxes[0][1] / picture.height if boxes else 0.0


if __name__ == "__main__":
    png, marked, top = _draw(sys.argv[1], int(sys.argv[2]), sys.stdin.buffer.read().decode())
    sys.stdout.buffer.write(json.dumps({"marked": marked, "top": max(top, 0.0)}).encode() + b"\n" + png)
