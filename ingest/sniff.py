"""Which loader reads a file: its content decides before its ending."""

from __future__ import annotations

import re
from pathlib import Path

from ingest.archive import open_zip, read_part
from ingest.text import binary_share, detect
from ragkit.errors import LoadError

HEAD = 64 * 1024
"""Bytes looked at."""

SUFFIXES = {
    ".csv": "csv", ".tsv": "csv", ".tab": "csv",
    ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl",
    ".md": "markdown", ".markdown": "markdown", ".mdx": "markdown", ".qmd": "markdown",
    ".html": "html", ".htm": "html", ".xhtml": "html", ".shtml": "html",
    ".xml": "xml", ".svg": "xml", ".rss": "xml", ".atom": "xml",
    ".eml": "eml", ".mht": "eml", ".mhtml": "eml",
}  # fmt: skip
"""Kinds of text that only the ending tells apart; every other text is plain text."""

_MAGIC = (
    (b"\x89PNG", "a PNG picture"), (b"\xff\xd8\xff", "a JPEG picture"), (b"GIF8", "a GIF picture"),
    (b"II*\0", "a TIFF picture"), (b"MM\0*", "a TIFF picture"), (b"BM", "a BMP picture"),
    (b"\x1f\x8b", "a gzip archive"), (b"7z\xbc\xaf", "a 7-Zip archive"), (b"Rar!", "a RAR archive"),
    (b"BZh", "a bzip2 archive"), (b"\xfd7zXZ", "an xz archive"), (b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (b"\x7fELF", "a program"), (b"MZ", "a program"),
    (b"\xcf\xfa\xed\xfe", "a program"), (b"\xca\xfe\xba\xbe", "a program"),
    (b"SQLite format 3", "a database"), (b"OggS", "a sound file"), (b"ID3", "a sound file"), (b"fLaC", "a sound file"),
    (b"RIFF", "a sound, film or WebP file"), (b"\x1aE\xdf\xa3", "a film"), (b"%!PS", "a PostScript file"),
    (b"GGUF", "a language model"), (b"PAR1", "a Parquet table"),
)  # fmt: skip

_CONTENT_TYPES = {
    b"wordprocessingml.document.main": "docx", b"wordprocessingml.template.main": "docx",
    b"ms-word.document.macroenabled.main": "docx",
    b"presentationml.presentation.main": "pptx", b"presentationml.slideshow.main": "pptx",
    b"presentationml.template.main": "pptx", b"ms-powerpoint.presentation.macroenabled.main": "pptx",
    b"spreadsheetml.sheet.main": "xlsx", b"spreadsheetml.template.main": "xlsx",
    b"ms-excel.sheet.macroenabled.main": "xlsx",
}  # fmt: skip
_FOLDERS = {"word/document.xml": "docx", "ppt/presentation.xml": "pptx", "xl/workbook.xml": "xlsx"}

_KNOWN = (
    "Known kinds: PDF, Word, PowerPoint, Excel, OpenDocument text, RTF, EPUB, HTML, e-mail, XML, CSV, JSON, Markdown "
    "and plain text."
)


def sniff(path: Path) -> str:
    """Name of the loader for a file. Raises LoadError when the file is empty or of a kind that is not read."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    if not head:
        raise LoadError("The file is empty (0 bytes).", "Check that it was saved or copied completely.")
    if b"%PDF-" in head[:1024]:
        return "pdf"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")):
        return _zip_kind(path)
    if head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        raise _ole(path)
    if head.lstrip().startswith(b"{\\rtf"):
        return "rtf"
    _refuse_binary(head, path.suffix.lower())
    return _text_kind(path, head)


def _refuse_binary(head: bytes, suffix: str) -> None:
    """Raise LoadError for content that is known to be no document, or binary under the name of one."""
    for magic, what in _MAGIC:
        if head.startswith(magic) and (len(magic) > 3 or binary_share(head) > 0):
            hint = "Run text recognition (OCR) on it and add the result." if "picture" in what else _KNOWN
            raise LoadError(f"The file is {what}, not a document.", hint)
    if head[4:8] == b"ftyp":
        raise LoadError("The file is a film, a sound file or a picture, not a document.", _KNOWN)
    if suffix == ".pdf" and binary_share(head) > 0.01:
        raise LoadError("The file is called .pdf but is damaged: the header of a PDF is missing.", "Download it again.")


def _zip_kind(path: Path) -> str:
    with open_zip(path) as archive:
        names = set(archive.namelist())
        kind = read_part(archive, "mimetype")[:100].strip() if "mimetype" in names else b""
        types = read_part(archive, "[Content_Types].xml")[: 1 << 20].lower() if "[Content_Types].xml" in names else b""
    if kind == b"application/epub+zip" or "META-INF/container.xml" in names:
        return "epub"
    if kind.startswith(b"application/vnd.oasis.opendocument.text"):
        return "odt"
    if kind.startswith(b"application/vnd.oasis.opendocument."):
        raise LoadError("OpenDocument tables and slides are not read.", "Export it as PDF, .xlsx or .pptx.")
    for mark, loader in _CONTENT_TYPES.items():
        if mark in types:
            return loader
    for name, loader in _FOLDERS.items():
        if name in names:
            return loader
    if "xl/workbook.bin" in names:
        raise LoadError("Binary workbooks (.xlsb) are not read.", "Save it as .xlsx.")
    named = path.suffix.lower().removeprefix(".")
    if named in ("docx", "pptx", "xlsx", "odt", "epub"):
        raise LoadError(f"The file is called .{named} but is another kind of zip archive.", "Save it again.")
    raise LoadError("The file is a zip archive, not a document.", "Unpack it and add the files or the folder.")


def _ole(path: Path) -> LoadError:
    """What to say of the container of old Office files, which also holds encrypted new ones."""
    data = path.read_bytes()[: 8 << 20]
    if "EncryptedPackage".encode("utf-16-le") in data:
        return LoadError("The file is encrypted and needs a password.", "Save a copy without the password.")
    for stream, kind, new in (
        ("WordDocument", "Word document (.doc)", ".docx"),
        ("Workbook", "Excel workbook (.xls)", ".xlsx"),
        ("PowerPoint Document", "PowerPoint presentation (.ppt)", ".pptx"),
        ("__properties_version1.0", "Outlook message (.msg)", ".eml"),
    ):
        if stream.encode("utf-16-le") in data:
            return LoadError(f"The file is an old binary {kind}, which is not read.", f"Save it as {new} or PDF.")
    return LoadError("The file is of an old binary Office kind, which is not read.", "Save it as PDF.")


_HTML = re.compile(r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*(?:<!doctype html|<html[\s>])", re.IGNORECASE | re.DOTALL)
_MAIL = re.compile(r"\A(?:[!-9;-~]+:[^\n]*\n(?:[ \t][^\n]*\n)*){2,}")


def _text_kind(path: Path, head: bytes) -> str:
    encoding = detect(path)
    text = head.decode(encoding, "ignore").lstrip("\ufeff").replace("\r\n", "\n")
    if not text.strip() and path.stat().st_size <= HEAD:
        raise LoadError("The file holds white space only.", "There is nothing to search in it.")
    if _HTML.match(text):
        return "html"
    kind = SUFFIXES.get(path.suffix.lower(), "text")
    if kind == "eml" and not _MAIL.match(text):
        return "text"
    if kind == "xml" and not text.lstrip().startswith("<"):
        return "text"
    if kind == "text" and text.lstrip().startswith("<?xml"):
        return "xml"
    return kind
