"""Zip containers (office files, e-books) and their XML, opened with bombs and entities in mind."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

from lxml import etree

from ragkit.errors import LoadError

MAX_ENTRIES = 20_000
MAX_UNPACKED = 2 << 30
"""Bytes, all parts together: more than any office file that fits the cage."""
MAX_TEXT = 256 << 20
"""Bytes of XML and HTML, which are parsed; pictures and films are not."""
FREE = 32 << 20
"""Bytes below which no ratio is looked at: small files compress as well as they like."""
MAX_RATIO = 100
"""Unpacked to packed. Plain XML of real documents reaches about 25; a run of one letter reaches 1,000."""

DAMAGE = (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, ValueError)
"""What unpacking a damaged part raises."""

_PARSED = (".xml", ".rels", ".xhtml", ".html", ".htm", ".opf", ".ncx", ".vml")


def open_zip(path: Path) -> zipfile.ZipFile:
    """The archive, once its directory says that it is no bomb. Raises LoadError for a damaged or hostile one."""
    try:
        archive = zipfile.ZipFile(path)
        entries = archive.infolist()
        if any(entry.compress_size > path.stat().st_size for entry in entries):
            raise zipfile.BadZipFile("a part is longer than the file")
    except DAMAGE as error:
        raise LoadError(
            "The file is damaged or was cut short: its zip directory cannot be read.",
            "Save or download it again.",
        ) from error
    unpacked = sum(entry.file_size for entry in entries)
    packed = sum(entry.compress_size for entry in entries) or 1
    text = sum(entry.file_size for entry in entries if entry.filename.lower().endswith(_PARSED))
    if (
        len(entries) > MAX_ENTRIES
        or unpacked > MAX_UNPACKED
        or text > MAX_TEXT
        or (unpacked > FREE and unpacked > MAX_RATIO * packed)
    ):
        raise LoadError(
            f"The file would unpack from {packed >> 10:,} KB to {unpacked >> 20:,} MB in {len(entries):,} parts, "
            "which looks like a zip bomb.",
            "Split the document, or save it in another format.",
        )
    if any(entry.flag_bits & 1 for entry in entries):
        raise LoadError("The file is encrypted and needs a password.", "Save a copy without the password.")
    return archive


def read_part(archive: zipfile.ZipFile, name: str) -> bytes:
    """Bytes of one part. Raises LoadError when it is missing or damaged."""
    try:
        return archive.read(name)
    except KeyError as error:
        raise LoadError(f"The file is incomplete: its part {name!r} is missing.", "Save it again.") from error
    except DAMAGE as error:
        raise LoadError(f"The file is damaged: its part {name!r} cannot be unpacked.", "Save it again.") from error


def parse_xml(data: bytes, what: str = "The file", *, recover: bool = False) -> etree._Element:
    """Root element; entities are not resolved, nothing is fetched. Raises LoadError when it is not well formed."""
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, recover=recover, remove_pis=True
    )
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        if str(error).startswith("unknown error") or getattr(error, "code", 0) == etree.ErrorTypes.ERR_NO_MEMORY:
            raise MemoryError from error  # how libxml2 says that it got no memory
        raise LoadError(f"{what} is damaged: its XML breaks off or is wrong ({error}).", "Save it again.") from error
    if root is None:
        raise LoadError(f"{what} is damaged: it holds no XML.", "Save it again.")
    return root
