"""PDF: pypdfium2 reads; pypdf steps in where pdfium cannot open the file, finds nothing, or shuffles the letters.

On real files both find the same words in the same order; pdfium is ten times as fast, and reads fonts whose encoding
pypdf takes for another one.
"""

from __future__ import annotations

import contextlib
import functools
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import ClassVar

import fontTools  # noqa: F401 - pypdf needs it to read the encodings of CFF fonts and only logs its absence
import pypdf
import pypdfium2
from pypdf.errors import DependencyError, PyPdfError

from ingest.loaders.base import BaseLoader, make_page
from ingest.text import join_hyphens, one_line
from ragkit.errors import LoadError
from ragkit.types import Page

PAGE_SECONDS = 5.0
"""What pypdf may take for one page; ordinary pages take 0.003 to 0.6 s."""
MAX_FAILED = 3
"""Pages on which pypdf failed or took too long, after which it is asked no more."""
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff]")
"""Hebrew, Arabic and their neighbours, which pdfium returns as they are painted: in visual order, in joined forms."""

# What a damaged file makes pypdf raise beside its own errors (seen in its issue tracker): wrong types, missing keys,
# bad numbers, cycles. DependencyError: AES needs a package that pdfium does without.
_FAILURES = (
    PyPdfError, DependencyError, ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError,
    ArithmeticError, RecursionError, NotImplementedError, OSError, LookupError, UnicodeError,
)  # fmt: skip

_STRANGE = re.compile("[\x00-\x08\ufffd\ue000-\uf8ff]")
"""What stands where a glyph could not be decoded."""


class _TooSlowError(Exception):
    """pypdf took longer than PAGE_SECONDS."""


@contextlib.contextmanager
def _limit(seconds: float) -> Iterator[None]:
    """Raise _TooSlowError in the block after so many seconds, where the system can do that (main thread, POSIX)."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise _TooSlowError

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class PdfLoader(BaseLoader):
    """Pages with their numbers and labels; words broken at line ends are put together."""

    suffixes: ClassVar[tuple[str, ...]] = (".pdf",)
    no_text: ClassVar[tuple[str, str]] = (
        "The PDF has no text layer: its pages are pictures, most likely a scan.",
        "Run text recognition (OCR) on it first, for example with OCRmyPDF, and add the result.",
    )

    def load(self, path: Path) -> Iterator[Page]:
        """One page a PDF page, empty ones included."""
        with contextlib.ExitStack() as stack:
            pdfium = _open_pdfium(path)
            if pdfium is not None:
                stack.callback(pdfium.close)
            other = _Pypdf(path, alone=pdfium is None)
            count = len(pdfium) if pdfium is not None else other.count()
            if not count:
                raise LoadError("The PDF is damaged or was cut short: no page can be read.", "Download it again.")
            self.title, self.total = _title(pdfium), count
            for index in range(count):
                text = _pdfium_text(pdfium, index)
                if not _readable(text) or _RIGHT_TO_LEFT.search(text):
                    text = other.text(index) or text
                yield make_page(index + 1, join_hyphens(_lines(text)), _label(pdfium, index))


class _Pypdf:
    """The file in pypdf, opened when it is first needed."""

    def __init__(self, path: Path, *, alone: bool) -> None:
        self._path, self._alone = path, alone
        self._failed = 0

    @functools.cached_property
    def _reader(self) -> pypdf.PdfReader | None:
        """None when pypdf cannot read it. Raises LoadError when it wants a password and pdfium read nothing either."""
        try:
            with _limit(PAGE_SECONDS * 2):
                reader = pypdf.PdfReader(self._path, strict=False)
                if not reader.is_encrypted or reader.decrypt(""):
                    return reader
                if self._alone:
                    _refuse_encrypted(None)
                return None
        except (*_FAILURES, _TooSlowError):
            return None

    def count(self) -> int:
        """Pages; 0 when it cannot tell."""
        try:
            with _limit(PAGE_SECONDS * 2):
                return len(self._reader.pages) if self._reader is not None else 0
        except (*_FAILURES, _TooSlowError):
            return 0

    def text(self, index: int) -> str:
        """Text of a page; empty when it finds none that can be read, fails or takes too long."""
        if self._failed >= MAX_FAILED or self._reader is None:
            return ""
        try:
            with _limit(PAGE_SECONDS):
                text = self._reader.pages[index].extract_text()
        except (*_FAILURES, _TooSlowError):
            self._failed += 1
            return ""
        return text if _readable(text) else ""


def _lines(text: str) -> str:
    """LF line ends; pdfium writes U+FFFE for a hyphen together with the line end that follows it."""
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\ufffe\n", "-\n").replace("\ufffe", "-\n")


def _readable(text: str) -> bool:
    """Whether there is text and no more than a fifth of it is undecoded glyphs."""
    strange = len(_STRANGE.findall(text))
    glyphs = text.count("(cid:") * 7 + text.count("/uni") * 8
    return bool(text.strip()) and strange + glyphs <= 0.2 * len(text)


def _open_pdfium(path: Path) -> pypdfium2.PdfDocument | None:
    try:
        return pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower():
            _refuse_encrypted(error)
        return None


def _refuse_encrypted(cause: Exception | None) -> None:
    raise LoadError(
        "The PDF is encrypted and needs a password to be opened.", "Save a copy without the password and add that."
    ) from cause


def _pdfium_text(pdf: pypdfium2.PdfDocument | None, index: int) -> str:
    if pdf is None:
        return ""
    try:
        page = pdf[index]
        with contextlib.closing(page), contextlib.closing(page.get_textpage()) as textpage:
            return textpage.get_text_range()
    except (pypdfium2.PdfiumError, UnicodeError):
        return ""


def _label(pdf: pypdfium2.PdfDocument | None, index: int) -> str:
    if pdf is None:
        return ""
    try:
        return pdf.get_page_label(index)
    except (pypdfium2.PdfiumError, UnicodeError):
        return ""


def _title(pdf: pypdfium2.PdfDocument | None) -> str:
    """The title in the file's metadata, unless it is a mere file name left by the program that printed it."""
    if pdf is None:
        return ""
    title = one_line(pdf.get_metadata_value("Title"))
    machine = title.lower().startswith("microsoft ") or re.search(r"\.[a-z]{2,4}$", title.lower()) is not None
    return "" if machine or title.lower() in ("untitled", "title") else title
