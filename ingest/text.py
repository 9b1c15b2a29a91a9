"""From bytes to clean text: the one place where encodings are found and text is normalised, before a Page is made.

Chunk offsets refer to the text that comes out of `clean`.
"""

from __future__ import annotations

import codecs
import io
import re
import unicodedata
from pathlib import Path

import charset_normalizer

from ragkit.errors import LoadError

SAMPLE = 256 * 1024
"""Bytes looked at to find an encoding that is not UTF-8."""

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

_LIGATURES = {"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st"}


def _cleaning_table() -> dict[int, str | None]:
    """What single characters become; None removes them."""
    table: dict[int, str | None] = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)], None)
    table |= {ord("\n"): "\n", ord("\t"): "\t", 0x0B: "\n", 0x0C: "\n", 0x85: "\n", 0x2028: "\n", 0x2029: "\n\n"}
    # Soft hyphens, zero-width space, byte order marks, non-characters: layout, not text. Bidirectional overrides and
    # tag characters can hide text from the reader that a model would see. The joiners U+200C and U+200D spell words.
    hidden = [0xAD, 0x200B, 0x2060, 0xFEFF, 0xFFFE, 0xFFFF, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
    table |= dict.fromkeys([*hidden, *range(0xE0000, 0xE0080)], None)
    table |= dict.fromkeys([0xA0, 0x202F, 0x205F, 0x3000, *range(0x2000, 0x200B)], " ")
    return table | {ord(key): value for key, value in _LIGATURES.items()}


_TABLE = _cleaning_table()
_UNUSUAL = re.compile(r"[^\n\t\x20-\x7e]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_TRAILING = re.compile(r"[ \t]+(?=\n|\Z)")
_GAPS = re.compile(r"\n{3,}")


def clean(text: str) -> str:
    """Text as it is stored: newlines as LF, no control or hidden characters, ligatures spelt out, composed (NFC).

    Compatibility forms other than the Latin ligatures stay as they are, so that superscripts remain readable.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if _UNUSUAL.search(text):
        if _SURROGATES.search(text):  # pairs become their character, lone halves go
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")
        text = unicodedata.normalize("NFC", text.translate(_TABLE))
    text = _GAPS.sub("\n\n", _TRAILING.sub("", text))
    return text.strip("\n")


def one_line(text: str, limit: int = 200) -> str:
    """A clean single line of at most `limit` characters."""
    return " ".join(clean(text).split())[:limit].strip()


_BROKEN_WORD = re.compile(r"([^\W\d_]+)-\n[ \t]*([^\W\d_]+)")
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")


def join_hyphens(text: str) -> str:
    """Put words together that were hyphenated at a line end; a hyphen that belongs to the word stays.

    A hyphen belongs when the second half starts with a capital, or when the page writes the word with it elsewhere
    and never without.
    """
    if "-\n" not in text:
        return text
    known = {word.casefold() for word in _WORD.findall(text)}

    def mend(match: re.Match[str]) -> str:
        left, right = match.groups()
        hyphenated = f"{left}-{right}".casefold()
        if (right[0].isupper() and not left.isupper()) or (
            hyphenated in known and (left + right).casefold() not in known
        ):
            return f"{left}-{right}"
        return left + right

    return _BROKEN_WORD.sub(mend, text)


def is_utf8(path: Path) -> bool:
    """Whether the whole file is valid UTF-8, read in blocks."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


_CENTRAL = frozenset(["Polish", "Czech", "Slovak", "Hungarian", "Croatian", "Slovene", "Romanian"])
_CENTRAL_LETTERS = frozenset("ąćęłńóśźżčďěňřšťůžýáéíúőűöüôľĺŕşţăâîđ")


_FOREIGN_SIGNS = frozenset("¿¡³¹²¼½¾¥¯¤¶ªº±¢£§¨´¸¬×÷")


def legacy_encoding(sample: bytes) -> str:
    """The most likely encoding of text that is not UTF-8 and has no byte order mark.

    Latin text is taken for Windows-1252, what a Western editor writes, unless its language or its letters are Central
    European.
    """
    high = sum(byte > 127 for byte in sample)
    letters = sum(65 <= byte <= 90 or 97 <= byte <= 122 for byte in sample)
    if letters >= high:
        return _latin_encoding(sample, high)
    japanese = sample.decode("shift_jis", "ignore")
    kana = sum("\u3040" <= char <= "\u30ff" for char in japanese)
    if kana > 0.1 * len(japanese) and len(japanese.encode("shift_jis")) > 0.99 * len(sample):
        return "cp932"
    best = charset_normalizer.from_bytes(sample).best()
    return best.encoding if best else "cp1252"


def _latin_encoding(sample: bytes, high: int) -> str:
    if _signs_in_words(sample, "cp1252") > _signs_in_words(sample, "cp1250") + 1:
        return max(("cp1250", "iso8859-2"), key=lambda name: _central_letters(sample, name))
    best = charset_normalizer.from_bytes(sample).best() if high >= 8 else None
    if best is not None and best.language in _CENTRAL:
        return max(("cp1250", "iso8859-2"), key=lambda name: _central_letters(sample, name))
    return "cp1252"


def _signs_in_words(sample: bytes, encoding: str) -> int:
    """Signs that follow a letter: what a wrong encoding makes of letters."""
    text = sample.decode(encoding, "replace")
    return sum(after in _FOREIGN_SIGNS and before.isalpha() for before, after in zip(text, text[1:], strict=False))


def _central_letters(sample: bytes, encoding: str) -> int:
    return sum(char in _CENTRAL_LETTERS for char in sample.decode(encoding, "replace").lower())


def detect(path: Path) -> str:
    """Encoding of a text file. Raises LoadError when the bytes are no text."""
    with path.open("rb") as file:
        sample = file.read(SAMPLE)
    for mark, encoding in _BOMS:
        if sample.startswith(mark):
            return encoding
    zeros_even, zeros_odd = sample[::2].count(0), sample[1::2].count(0)
    half = max(len(sample) // 2, 1)
    if zeros_odd > 0.6 * half > 12 * zeros_even:
        return "utf-16-le"
    if zeros_even > 0.6 * half > 12 * zeros_odd:
        return "utf-16-be"
    if binary_share(sample) > 0.01:
        raise LoadError("The file holds binary data, not text.", "Convert it to PDF, Word, HTML or plain text first.")
    return "utf-8" if is_utf8(path) else legacy_encoding(sample)


def binary_share(sample: bytes) -> float:
    """Share of bytes that no text in a one-byte or UTF-8 encoding has; 1 when there is a NUL in a short sample."""
    odd = sum(sample.count(bytes([code])) for code in range(32) if code not in (9, 10, 12, 13, 26, 27))
    return odd / max(len(sample), 1)


def open_text(path: Path) -> io.TextIOWrapper:
    """The file as text, decoded as it is read; bytes that fit no character become U+FFFD."""
    return path.open("r", encoding=detect(path), errors="replace", newline=None)


def read_text(path: Path) -> str:
    """The whole file as text."""
    with open_text(path) as file:
        return file.read()


def decode(data: bytes, declared: str = "") -> str:
    """Bytes of a part (a chapter, a mail body) as text; a declared encoding is taken when it fits."""
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    for encoding in ("utf-8", declared):
        try:
            if encoding:
                return data.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    return data.decode(legacy_encoding(data[:SAMPLE]), "replace")
