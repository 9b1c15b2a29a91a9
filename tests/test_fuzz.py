"""Altered copies of real files: whatever is in them, the reader says what they hold or why not, and goes on.

`RAGKIT_FUZZ=2000 pytest tests/test_fuzz.py` is the long run; without it a short one. The seed of an input is its
number, so a failure can be had again alone: `RAGKIT_FUZZ=1317:1318`.
"""

from __future__ import annotations

import io
import os
import random
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from ingest.cage import MEMORY, Cage
from ragkit.errors import LoadError

FIRST, _, LAST = os.environ.get("RAGKIT_FUZZ", "40").rpartition(":")
INPUTS = range(int(FIRST or 0), int(LAST))
LARGEST = (1 << 20) if len(INPUTS) > 100 else (100 << 10)
"""Bytes of the files that are altered; large ones take long and fail in the same ways."""
SECONDS = 30.0
ENTITY = b"<!ENTITY x SYSTEM 'file:///etc/passwd'>"
ODD = [b"\x00", b"\xff" * 8, b"%PDF-1.7", ENTITY, b"../" * 40, b"9" * 60, b"<" * 500]


def altered(data: bytes, draw: random.Random) -> bytes:
    """A few changes to the bytes, or to a part of the archive that they are."""
    if data[:2] == b"PK" and draw.random() < 0.6:
        return _altered_zip(data, draw)
    changed = bytearray(data)
    for _ in range(draw.choice((1, 2, 5, 30))):
        place = draw.randrange(len(changed) + 1)
        length = draw.choice((1, 4, 60, 2000))
        match draw.randrange(6):
            case 0:
                changed[place : place + length] = draw.randbytes(length)
            case 1:
                del changed[place : place + length]
            case 2:
                changed[place:place] = changed[place : place + length] * draw.choice((2, 50))
            case 3:
                changed[place:place] = draw.choice(ODD)
            case 4:
                del changed[max(place, 1) :]
            case _:
                if place < len(changed):
                    changed[place] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _altered_zip(data: bytes, draw: random.Random) -> bytes:
    out = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as sink:
            names = source.namelist()
            victims = set(draw.sample(names, min(len(names), draw.choice((1, 2, 4)))))
            for name in names:
                part = source.read(name)
                if name not in victims:
                    sink.writestr(name, part)
                elif draw.random() < 0.8:
                    sink.writestr(draw.choice((name, name, name, f"../../{name}")), altered(b"-" + part, draw)[1:])
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError):  # encrypted, say
        return data[: draw.randrange(len(data))]
    return out.getvalue()


@pytest.mark.data
@pytest.mark.timeout(600 + 3 * len(INPUTS))
def test_no_file_crashes_hangs_or_outgrows_the_reader(data: Path, tmp_path: Path) -> None:
    sources = [path for path in sorted((data / "documents" / "files").iterdir()) if path.stat().st_size <= LARGEST]
    outcomes: Counter[str] = Counter()
    peak = 0
    with Cage(seconds=SECONDS, seconds_per_mb=0) as cage:
        for number in INPUTS:
            draw = random.Random(number)
            source = draw.choice(sources)
            path = tmp_path / f"{number}{source.suffix}"
            path.write_bytes(altered(source.read_bytes(), draw))
            outcomes[_outcome(cage, path)] += 1
            peak = max(peak, _peak(cage.pid))
            path.unlink()
        path = next(path for path in sources if path.suffix == ".md")
        assert list(cage.read(path).pages)  # and the next file is read as ever
    sys.stdout.write(f"{dict(outcomes)}, peak {peak >> 20} MB\n")
    assert peak <= MEMORY
    assert outcomes["read"] > 0
    assert outcomes["refused"] > 0
    assert sum(outcomes.values()) == len(INPUTS), outcomes


def _outcome(cage: Cage, path: Path) -> str:
    """What became of a file; fails where neither its pages nor a reason came back."""
    refusal = None
    try:
        pages = list(cage.read(path).pages)
    except LoadError as error:
        refusal = error
    if refusal is None:
        assert [page.number for page in pages] == list(range(1, len(pages) + 1))
        assert "".join(page.text for page in pages).encode().strip()  # text that can be stored
        return "read"
    assert refusal.message.endswith(".")
    assert refusal.hint
    reasons = {"took longer": "too slow", "crashed": "crashed", "MB of memory": "too big"}
    return next((word for part, word in reasons.items() if part in refusal.message), "refused")


def _peak(pid: int | None) -> int:
    """Bytes of memory that a process had at most; 0 if it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM")), 0)
