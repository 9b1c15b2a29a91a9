"""Files that come through the browser wait in the collection's folder until their job is over."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from ingest.files import display_name
from ragkit.collection import Collection

FOLDER = "uploads"
LONGEST = 200
"""Bytes of a file's name; most file systems take 255."""
_FORGOTTEN = 3600.0
"""Seconds after which an upload that no job asks for is removed."""


def stage_upload(collection: Collection, name: str, data: bytes | BinaryIO) -> Path:
    """Keep uploaded bytes under `<collection>/uploads/<token>/<name>` and return that path.

    The name is text from elsewhere: only its last part is used, without control characters, at most LONGEST bytes
    long. The file's name is what the document will be called.
    """
    folder = collection.folder / FOLDER / secrets.token_hex(8)
    folder.mkdir(parents=True)
    path = folder / safe_name(name)
    with path.open("xb") as file:
        if isinstance(data, (bytes, bytearray, memoryview)):
            file.write(data)
        else:
            shutil.copyfileobj(data, file)
    return path


def safe_name(name: str) -> str:
    """The last part of a name, fit to be a file's name; its ending survives when it is shortened."""
    last = display_name(name.encode("utf-8", "replace").decode().replace("\\", "/").rpartition("/")[2]).strip()
    if last.strip(". ") == "":
        return "unnamed"
    stem, dot, ending = last.rpartition(".")
    if not dot or len(ending.encode()) > 20:
        stem, ending = last, ""
    room = LONGEST - len((dot + ending).encode())
    return stem.encode()[:room].decode("utf-8", "ignore").rstrip() + (f".{ending}" if ending else "")


def remove_uploads(collection: Collection, paths: Iterable[str]) -> None:
    """Delete these uploads; a path outside the collection's upload folder is left alone."""
    root = (collection.folder / FOLDER).resolve()
    for path in map(Path, paths):
        folder = path.parent.resolve()
        if folder.parent == root:
            shutil.rmtree(folder, ignore_errors=True)


def remove_forgotten(collection: Collection, wanted: Iterable[str]) -> None:
    """Delete uploads that no waiting job asks for (their job was cancelled, or never submitted) after an hour."""
    root = collection.folder / FOLDER
    keep = {Path(path).parent.name for path in wanted}
    for folder in root.iterdir() if root.is_dir() else ():
        with contextlib.suppress(OSError):
            if folder.name not in keep and time.time() - folder.stat().st_mtime > _FORGOTTEN:
                shutil.rmtree(folder, ignore_errors=True)
