"""The cage in which files are parsed: one process for many files, its limits, and what it may not do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ingest.cage import Cage
from ragkit.errors import Cancelled, LoadError
from tests.filemaker import MAKERS, SENTENCE, make_zip


def test_the_child_is_kept_for_the_next_file_and_imports_nothing_heavy(tmp_path):
    MAKERS["text"](tmp_path / "a.txt")
    with Cage() as cage:
        list(cage.read(tmp_path / "a.txt").pages)
        pid = cage.pid
        list(cage.read(tmp_path / "a.txt").pages)
        assert cage.pid == pid is not None
        maps = Path(f"/proc/{pid}/maps").read_text()
        assert [name for name in ("libtorch", "openvino", "faiss", "pandas") if name in maps] == []


def test_a_child_that_dies_costs_one_file(tmp_path):
    MAKERS["text"](tmp_path / "a.txt")
    (tmp_path / "long.txt").write_text("\f".join(["x" * 5000] * 3000))
    with Cage() as cage:
        reading = cage.read(tmp_path / "long.txt")
        next(reading.pages)
        os.kill(cage.pid, 9)
        with pytest.raises(LoadError, match="memory"):
            list(reading.pages)
        assert list(cage.read(tmp_path / "a.txt").pages)


def test_half_read_files_do_not_leak_into_the_next(tmp_path):
    MAKERS["text"](tmp_path / "a.txt")
    (tmp_path / "long.txt").write_text("\f".join(["x" * 5000] * 3000))
    with Cage() as cage:
        reading = cage.read(tmp_path / "long.txt")
        next(reading.pages)
        reading.pages.close()
        assert [page.text for page in cage.read(tmp_path / "a.txt").pages] == [SENTENCE, SENTENCE]


def test_reading_can_be_stopped(tmp_path):
    path = tmp_path / "a.docx"
    space = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    body = "".join(f"<w:p><w:r><w:t>word {number}</w:t></w:r></w:p>" for number in range(200_000))
    make_zip(path, {"word/document.xml": f'<w:document xmlns:w="{space}"><w:body>{body}</w:body></w:document>'})
    with Cage() as cage, pytest.raises(Cancelled):
        cage.read(path, lambda: True)


def stand_in_for_striprtf(tmp_path, monkeypatch, deed):
    """A library that was taken over by the file it parses; here it takes the place of the RTF reader."""
    package = tmp_path / "lib" / "striprtf"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    lines = ("import os, socket", "def rtf_to_text(*args, **options):", f"    {deed}", "    return 'done'", "")
    (package / "striprtf.py").write_text("\n".join(lines))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "lib"))
    MAKERS["rtf"](tmp_path / "a.rtf")


@pytest.mark.parametrize("deed", ["socket.create_connection(('127.0.0.1', 9))", "os.system('true')", "os.fork()"])
def test_a_parser_reaches_no_network_and_starts_no_program(tmp_path, monkeypatch, deed):
    stand_in_for_striprtf(tmp_path, monkeypatch, deed)
    with Cage() as cage, pytest.raises(LoadError, match="not allowed while a file is parsed"):
        list(cage.read(tmp_path / "a.rtf").pages)


def test_a_parser_writes_no_file(tmp_path, monkeypatch):
    written = tmp_path / "written"
    stand_in_for_striprtf(tmp_path, monkeypatch, f"open({str(written)!r}, 'w').write('x' * 100_000)")
    with Cage() as cage, pytest.raises(LoadError, match="cannot be read"):
        list(cage.read(tmp_path / "a.rtf").pages)
    assert written.read_bytes() == b""


_UNSHARE = """
import ctypes, os, sys
sys.exit(ctypes.CDLL(None).unshare(0x40000000 if os.geteuid() == 0 else 0x50000000) != 0)
"""


@pytest.mark.skipif(
    sys.platform != "linux" or subprocess.run([sys.executable, "-c", _UNSHARE]).returncode != 0,
    reason="the system gives no process a network of its own",
)
def test_the_parser_has_no_network_even_past_python(tmp_path):
    (tmp_path / "a.txt").write_text(SENTENCE)
    with Cage() as cage:
        list(cage.read(tmp_path / "a.txt").pages)
        assert os.readlink(f"/proc/{cage.pid}/ns/net") != os.readlink("/proc/self/ns/net")
        interfaces = Path(f"/proc/{cage.pid}/net/dev").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]
