"""Files of adapters: what is taken from a folder or an archive that somebody else made, and how one is packed.

Weights are taken as safetensors only, and nothing but tables beside them: a pickle, a program or a link in an archive
is never written. Names of an archive never leave the folder that it is unpacked into.
"""

from __future__ import annotations

import shutil
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ragkit.errors import ModelError


class AdapterError(ModelError):
    """An adapter that is missing, damaged, in the way, or not fit for its base."""


CARD = "ragkit.json"
"""What ragkit knows of an adapter."""
CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
TAKEN = (".safetensors", ".json", ".jsonl", ".md", ".txt", ".jinja", ".model")
"""Endings of the files that are taken; everything else is left where it is."""
MOST_FILES = 1000
"""Entries of an archive, taken or not."""
MOST_BYTES = 16 << 30
"""Of all files that are taken, unpacked."""
_AT_ONCE = 1 << 20
_LIMITS = f"An adapter has at most {MOST_FILES:,} files and {MOST_BYTES >> 30} GiB."


def take(source: Path, target: Path) -> None:
    """Copy or unpack what belongs to an adapter into an empty folder.

    The files may lie one folder down in an archive. Raises AdapterError for an archive with names that lead out of it,
    links, locked or too many files, or more bytes than it promises or than there is room for.
    """
    if source.is_dir():
        _copy(source, target)
    elif source.is_file() and zipfile.is_zipfile(source):
        _unpack(source, target)
    elif source.is_file():
        raise AdapterError(f"{source} is no zip archive.", "Give a folder, or a .zip of one.")
    else:
        raise AdapterError(f"There is no folder or archive {source}.", "Check the path.")


def _copy(source: Path, target: Path) -> None:
    files = [entry for entry in sorted(source.iterdir()) if entry.is_file() and _is_taken(entry.name)]
    _check_room(source, len(files), sum(file.stat().st_size for file in files), target)
    for file in files:
        shutil.copyfile(file, target / file.name)


def _unpack(source: Path, target: Path) -> None:
    try:
        with zipfile.ZipFile(source) as archive:
            entries = archive.infolist()
            chosen = list(_chosen(source, entries))
            _check_room(source, len(entries), sum(entry.file_size for entry in chosen), target)
            for entry in chosen:
                _write(archive, entry, target / PurePosixPath(entry.filename).name)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise AdapterError(f"{source} cannot be unpacked: {error}.", "Pack or fetch it again.") from error


def _chosen(source: Path, entries: list[zipfile.ZipInfo]) -> Iterator[zipfile.ZipInfo]:
    """The files that are taken: those beside the first adapter_config.json, card or config.json."""
    for entry in entries:
        path = PurePosixPath(entry.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in entry.filename or ":" in entry.filename:
            raise AdapterError(
                f"{source} holds the name {entry.filename!r}, which leads out of it.", "Do not trust it."
            )
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise AdapterError(f"{source} holds the link {entry.filename!r}.", "Pack the files themselves.")
        if entry.flag_bits & 0x1:
            raise AdapterError(f"{source} is locked with a password.", "Unpack it, and give the folder.")
    files = [entry for entry in entries if not entry.is_dir() and len(PurePosixPath(entry.filename).parts) <= 2]
    parents = {
        PurePosixPath(entry.filename).parent
        for entry in files
        if PurePosixPath(entry.filename).name in (CONFIG, CARD, "config.json")
    }
    if len(parents) > 1:
        raise AdapterError(f"{source} holds more than one adapter.", "Unpack it, and give one folder.")
    seen: set[str] = set()
    for entry in files:
        path = PurePosixPath(entry.filename)
        if path.parent in parents and _is_taken(path.name):
            if path.name.lower() in seen:
                raise AdapterError(f"{source} holds {entry.filename!r} twice.", "Pack it again.")
            seen.add(path.name.lower())
            yield entry


def _is_taken(name: str) -> bool:
    return name.lower().endswith(TAKEN) and not name.startswith(".")


def _check_room(source: Path, files: int, size: int, target: Path) -> None:
    if files > MOST_FILES or size > MOST_BYTES:
        raise AdapterError(f"{source} holds {files:,} files and {size:,} bytes.", _LIMITS)
    free = shutil.disk_usage(target).free
    if size > free:
        raise AdapterError(f"{source} needs {size:,} bytes, and {free:,} are free.", "Make room on the disk.")


def _write(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    left = entry.file_size
    with archive.open(entry) as packed, target.open("xb") as file:
        while piece := packed.read(_AT_ONCE):
            left -= len(piece)
            if left < 0:
                raise AdapterError(f"{entry.filename!r} is larger than its archive says.", "Do not trust it.")
            file.write(piece)


def pack(folder: Path, name: str, target: Path) -> None:
    """Write an adapter's files into an archive, below a folder of its name; equal files make equal archives.

    The archive appears complete or not at all, and replaces one that was there.
    """
    unfinished = target.with_name(f".{target.name}.unfinished")
    try:
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(folder.iterdir()):
                if file.is_file() and _is_taken(file.name):
                    entry = zipfile.ZipInfo(f"{name}/{file.name}")
                    entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                    with file.open("rb") as opened, archive.open(entry, "w", force_zip64=True) as packed:
                        shutil.copyfileobj(opened, packed, _AT_ONCE)
        unfinished.replace(target)
    except OSError as error:
        raise AdapterError(f"{target} cannot be written: {error}.", "Give another place.") from error
    finally:
        unfinished.unlink(missing_ok=True)
