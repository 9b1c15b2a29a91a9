"""Backups: one file with what a home holds and nothing could make again. Made while everything is in use.

The file is a zip archive: each collection's database as one moment had it, the originals that it keeps, the person's
templates and adapters, and a manifest with the SHA-256 of every part. Vector indexes are left out: they are built from
the database. A restored part is in place whole or not at all, and nothing that is there is overwritten.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import sqlite3
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from filelock import FileLock

from ragkit.collection import Collection
from ragkit.errors import RagkitError
from ragkit.home import DATABASE, check_name, collections

FORMAT = 1
MANIFEST = "ragkit-backup.json"
COLLECTIONS = "collections"
SHARED = ("adapters", "templates")
"""Folders of a home that all its collections share."""
_PART = re.compile(r"[^/\\:\x00-\x1f]{1,255}")
_BUFFER = 1 << 20
_NO_JOBS = "DELETE FROM jobs WHERE state IN ('queued', 'running')"
_WORK = ".restore"


class BackupError(RagkitError):
    """A backup that cannot be written, read or put back."""


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup file holds."""

    created: str
    """UTC, ISO 8601."""
    collections: tuple[str, ...]
    adapters: tuple[str, ...]
    templates: tuple[str, ...]
    bytes: int
    """Of the parts, unpacked."""


def back_up(home: Path, target: Path, only: Sequence[str] = ()) -> Backup:
    """Write everything of a home, or only some collections, into one new file.

    Others may read and write meanwhile: each database is copied as it stood at one moment. Raises BackupError where
    the file is there already or cannot be written; then nothing of it is left.
    """
    names = list(only) or collections(home)
    opened = [Collection.open(home, name) for name in names]
    if target.exists():
        raise BackupError(f"{target} is there already.", "Give another name, or move it away.")
    unfinished = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with unfinished.open("wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                parts: dict[str, str] = {}
                for collection in opened:
                    parts |= _put_collection(archive, collection, unfinished)
                for folder in () if only else SHARED:
                    parts |= _put_folder(archive, home, folder)
                created = datetime.now(UTC).isoformat(timespec="seconds")
                manifest = {"format": FORMAT, "created": created, "parts": parts}
                archive.writestr(MANIFEST, json.dumps(manifest, indent=1))
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(target)
    except OSError as error:
        raise BackupError(
            f"{target} cannot be written ({error.strerror or error}).", "Make room, or choose another place."
        ) from error
    finally:
        unfinished.unlink(missing_ok=True)
    return look(target)


def look(source: Path) -> Backup:
    """What a backup holds, by its manifest. Raises BackupError for a file that is none."""
    with _opened(source) as (archive, manifest):
        sizes = sum(archive.getinfo(name).file_size for name in manifest["parts"])
        return Backup(
            manifest["created"],
            tuple(_names(manifest["parts"], COLLECTIONS)),
            tuple(_names(manifest["parts"], "adapters")),
            tuple(name.removesuffix(".toml") for name in _names(manifest["parts"], "templates")),
            sizes,
        )


def restore(source: Path, home: Path, only: Sequence[str] = (), rename: Mapping[str, str] | None = None) -> list[str]:
    """Put everything of a backup back, or only some collections (under other names where `rename` says so).

    Returns what was put back, as paths below the home. Adapters and templates of a name that is there stay as they
    are. Raises BackupError, and changes nothing, where a collection of the name is there already, the file is damaged
    or there is no room.
    """
    renamed = {old: check_name(new) for old, new in (rename or {}).items()}
    home.mkdir(parents=True, exist_ok=True)
    work = home / _WORK
    try:
        with FileLock(f"{work}.lock"), _opened(source) as (archive, manifest):
            shutil.rmtree(work, ignore_errors=True)  # of a process that died
            held = _names(manifest["parts"], COLLECTIONS)
            chosen = list(only) or held
            for name in {*chosen, *renamed}:
                if name not in held:
                    there = ", ".join(held) or "none"
                    raise BackupError(f"{source} holds no collection {name!r}.", f"There are: {there}.")
            places = {f"{COLLECTIONS}/{name}": renamed.get(name, name) for name in chosen}
            for place in places.values():
                if (home / check_name(place)).exists():
                    raise BackupError(
                        f"There is a collection {place!r} in {home} already.",
                        "Restore under another name with --as, into another --home, or remove it first.",
                    )
            if not only:
                shared = [(folder, name) for folder in SHARED for name in _names(manifest["parts"], folder)]
                places |= {f"{f}/{n}": f"{f}/{n}" for f, n in shared if not (home / f / n).exists()}
            _unpack(archive, manifest["parts"], tuple(places), work)
            for packed, place in places.items():
                (home / place).parent.mkdir(parents=True, exist_ok=True)
                (work / packed).rename(home / place)
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise BackupError(f"The backup cannot be put back ({error.strerror or error}).", "Make room.") from error
    return list(places.values())


def _put_collection(archive: zipfile.ZipFile, collection: Collection, beside: Path) -> dict[str, str]:
    """The database as it is at one moment, and the originals that its documents own."""
    root = f"{COLLECTIONS}/{collection.name}"
    copy = beside.with_name(f"{beside.name}.sqlite")
    try:
        with contextlib.closing(sqlite3.connect(copy)) as database:
            collection.connection.backup(database)  # in one step: writers go on, and are not in it
            database.execute("PRAGMA journal_mode=DELETE")  # one file
            with database:  # work that was going on is not taken up again somewhere else
                database.execute(_NO_JOBS)
            kept = [row[0] for row in database.execute("SELECT sha256 FROM documents")]
        parts = _put(archive, f"{root}/{DATABASE}", copy)
    except sqlite3.DatabaseError as error:
        raise BackupError(
            f"The database of {collection.name!r} cannot be copied ({error}).",
            f"Look at it with: ragkit verify -c {collection.name}",
        ) from error
    finally:
        copy.unlink(missing_ok=True)
    for sha256 in kept:
        for path in collection.folder.glob(f"files/{sha256}.*"):
            with contextlib.suppress(FileNotFoundError):  # deleted since that moment: its pages are in the database
                parts |= _put(archive, f"{root}/files/{path.name}", path)
    return parts


def _put_folder(archive: zipfile.ZipFile, home: Path, folder: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    for path in sorted((home / folder).rglob("*")):
        inside = path.relative_to(home)
        if path.is_file() and not any(part.startswith(".") for part in inside.parts):  # unfinished ones begin so
            with contextlib.suppress(FileNotFoundError):
                parts |= _put(archive, inside.as_posix(), path)
    return parts


def _put(archive: zipfile.ZipFile, name: str, path: Path) -> dict[str, str]:
    with path.open("rb") as source, archive.open(name, "w", force_zip64=True) as sink:
        return {name: _copy(source, sink)}


def _copy(source: IO[bytes], sink: IO[bytes]) -> str:
    """The SHA-256 of what was copied."""
    digest = hashlib.sha256()
    while data := source.read(_BUFFER):
        digest.update(data)
        sink.write(data)
    return digest.hexdigest()


@contextlib.contextmanager
def _opened(source: Path) -> Iterator[tuple[zipfile.ZipFile, dict]]:
    damaged = BackupError(f"{source} is no backup of ragkit, or damaged.", "Take another copy of it.")
    try:
        with zipfile.ZipFile(source) as archive:
            manifest = json.loads(archive.read(MANIFEST))
            if manifest["format"] > FORMAT:
                raise BackupError(f"{source} was written by a newer ragkit.", "Update ragkit to read it.")
            if {*manifest["parts"], MANIFEST} != set(archive.namelist()):
                raise damaged
            if not all(_sound(name) for name in manifest["parts"]):
                raise damaged
            yield archive, manifest
    except FileNotFoundError as error:
        raise BackupError(f"There is no file {source}.", "Check its name.") from error
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, EOFError, NotImplementedError) as error:
        raise damaged from error


def _sound(name: str) -> bool:
    """Whether a part's name leads to a place below its folder, and nowhere else."""
    parts = name.split("/")
    plain = all(_PART.fullmatch(part) and not part.startswith(".") for part in parts)
    return plain and len(parts) > 1 and parts[0] in (COLLECTIONS, *SHARED)


def _names(parts: Mapping[str, str], folder: str) -> list[str]:
    return sorted({name.split("/")[1] for name in parts if name.startswith(f"{folder}/")})


def _unpack(archive: zipfile.ZipFile, parts: Mapping[str, str], wanted: tuple[str, ...], work: Path) -> None:
    """The wanted parts below a work folder, each compared with its hash."""
    for name, sha256 in parts.items():
        if not any(name == each or name.startswith(f"{each}/") for each in wanted):
            continue
        target = work / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(name) as packed, target.open("wb") as sink:
            if _copy(packed, sink) != sha256:
                raise zipfile.BadZipFile(name)
            sink.flush()
            os.fsync(sink.fileno())
