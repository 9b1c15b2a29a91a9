"""What can be made again: hashes of large files, and folders converted from them, in one cache folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import filelock
import platformdirs


def cache_dir() -> Path:
    """Folder for what can be made again: RAGKIT_CACHE, else the user's cache folder."""
    named = os.environ.get("RAGKIT_CACHE")
    return Path(named).expanduser() if named else platformdirs.user_cache_path("ragkit")


def file_sha256(path: Path, recheck: bool = False) -> str:
    """SHA-256 of a file's bytes; remembered by path, size and modification time: a second start costs nothing."""
    path = path.resolve()
    stat = path.stat()
    key = [stat.st_size, stat.st_mtime_ns]
    remembered = _read_hashes().get(str(path))
    if not recheck and remembered and remembered[:2] == key:
        return str(remembered[2])
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time, nothing else
        _write_hashes({**_read_hashes(), str(path): [*key, digest]})
    return digest


def _hashes_path() -> Path:
    return cache_dir() / "hashes.json"


def _read_hashes() -> dict[str, list[Any]]:
    try:
        read = json.loads(_hashes_path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    rows = read.items() if isinstance(read, dict) else ()
    return {path: row for path, row in rows if isinstance(row, list) and len(row) == 3}


def _write_hashes(hashes: dict[str, list[Any]]) -> None:
    target = _hashes_path()
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=target.name, dir=target.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(hashes, file, indent=1)
    Path(name).replace(target)


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """A folder of the cache that `make` fills once; it appears complete or not at all, also between processes.

    Args:
        name: path below the cache folder; names the source's hash and whatever else the content depends on.
        make: fills the empty folder it gets. If it raises, nothing is left behind.
    """
    target = cache_dir() / name
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(f"{target}.lock"):
        if not target.is_dir():
            with _empty_folder(target.parent / f".making-{target.name}") as folder:
                make(folder)
                folder.rename(target)
    return target


@contextlib.contextmanager
def _empty_folder(folder: Path) -> Iterator[Path]:
    """The folder, empty; what a process that was killed had left in it goes, and so does what this one leaves."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
