"""The process that parses files, one after another, under limits; started and fed by `ingest/cage.py`.

Requests come as JSON lines on standard input: `{"path": ...}`. Answers go to the stream that was standard output:
`{"kind", "title", "total"}` before the first page, `{"page": [number, label, text, title]}` for each, then `{"end"}`;
or `{"error": [reason, hint]}` at any time. `"retire": true` in a last line asks for a fresh process.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from ingest.catalog import LOADERS
from ingest.sniff import sniff
from ragkit.errors import LoadError, RagkitError

MAX_PAGE = 32 << 20
"""Characters of one page; nothing a person would cite is longer."""
RETIRE = 300 << 20
"""Bytes of resident memory after which a process makes room for a fresh one."""
_NEW_NETWORK, _NEW_USERS = 0x40000000, 0x10000000
"""CLONE_NEWNET and CLONE_NEWUSER of sched.h."""
_FORBIDDEN = ("socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.bind", "subprocess.Popen", "os.system",
              "os.exec", "os.posix_spawn", "os.fork", "webbrowser.open")  # fmt: skip


def _forbid(event: str, arguments: tuple[Any, ...]) -> None:
    """No file that is parsed makes this process reach the network or start a program."""
    if event in _FORBIDDEN:
        raise PermissionError(f"{event} is not allowed while a file is parsed")


def _leave_network() -> None:
    """Move to a network of this process's own, without any interface, where the system lets an ordinary person do so.

    What runs past Python (a hole in a parser's C code) is then cut off, too; elsewhere `_forbid` stands alone.
    """
    try:
        unshare = ctypes.CDLL(None, use_errno=True).unshare  # os.unshare came with Python 3.12
    except (AttributeError, OSError, TypeError):  # not Linux
        return
    # Who is not root needs users of its own for that; who is would lose the right to read other people's files.
    unshare(_NEW_NETWORK if os.geteuid() == 0 else _NEW_NETWORK | _NEW_USERS)


def _limit_files() -> None:
    """Let no byte be written into a file: answers go through a pipe, and nothing else is to be written."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _limit_memory(size: int) -> None:
    """Let allocations beyond `size` bytes of data fail, where the system knows such a limit.

    Data, not address space: libraries reserve far more addresses than they use.
    """
    try:
        import resource  # not on Windows, where the parent watches alone
    except ImportError:
        return
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    if hard == resource.RLIM_INFINITY or hard > size:
        resource.setrlimit(resource.RLIMIT_DATA, (size, hard))


def _watch_parent(parent: int) -> None:
    """End with the parent, also in the middle of a file."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(3)


def _resident() -> int:
    """Bytes of memory in use now; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    except (OSError, ValueError, AttributeError, IndexError):
        return 0


class Child:
    """Answers requests on a stream."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def send(self, **message: object) -> None:
        """One line, flushed, so that the parent sees progress as it happens."""
        self._out.write(json.dumps(message) + "\n")
        self._out.flush()

    def answer(self, request: Mapping[str, str]) -> None:
        """Read one file and send what it holds."""
        try:
            self._read(Path(request["path"]))
        except RagkitError as error:
            self.send(error=[error.message, error.hint])
        except MemoryError:
            reason = "Reading the file takes more memory than is allowed."
            self.send(error=[reason, "Split it, or save it as PDF."], retire=True)
            os._exit(4)
        except OSError as error:
            self.send(error=[f"The file cannot be read: {error.strerror or error}.", "Check that it is there."])
        except (Exception, RecursionError) as error:  # noqa: BLE001 - any parser may fail in any way; the batch goes on
            what = f"{type(error).__name__}: {error}"[:300]
            self.send(error=[f"The file could not be read ({what}).", "It may be damaged; open it and save it again."])

    def _read(self, path: Path) -> None:
        kind = sniff(path)
        loader = LOADERS.load(kind)()
        count, any_text = 0, False
        for page in loader.load(path):
            if not count:
                self.send(kind=kind, title=loader.title, total=loader.total)
            count += 1
            if len(page.text) > MAX_PAGE:
                raise LoadError(f"Page {page.number} is longer than {MAX_PAGE >> 20} million characters.", "Split it.")
            any_text = any_text or bool(page.text.strip())
            self.send(page=[page.number, page.label, page.text, page.title])
        if not any_text:
            raise LoadError(*loader.no_text)
        self.send(end=count, retire=_resident() > RETIRE)


def main() -> None:
    """Serve requests until standard input ends."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints must not look like an answer
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    _leave_network()  # while there is one thread, or the kernel refuses
    _limit_files()
    _limit_memory(int(sys.argv[1]))
    sys.addaudithook(_forbid)
    threading.Thread(target=_watch_parent, args=(os.getppid(),), daemon=True).start()
    child = Child(out)
    for line in sys.stdin:
        child.answer(json.loads(line))


if __name__ == "__main__":
    main()
