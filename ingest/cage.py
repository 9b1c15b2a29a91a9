"""Files are parsed in a process of their own, with limits on time and memory and no network.

A parser that hangs, crashes or eats memory costs one file, never the batch. The process is kept for the next file
(starting one costs about 0.2 s), and pages come through a pipe one at a time, so memory stays bounded on both sides.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import psutil

from ingest.weighed import WeighedQueue
from ragkit.errors import Cancelled, LoadError
from ragkit.types import Page

SECONDS = 60.0
"""Time for a small file."""
SECONDS_PER_MB = 10.0
"""Added for each megabyte; ordinary PDFs take 0.1 to 2."""
MEMORY = 768 << 20
"""Bytes that the parsing process may use; real documents of a thousand pages take 200 MB."""
_STEP = 0.25
"""Seconds between two looks at the clock, the memory and the wish to stop."""
_AHEAD = 256 << 10
"""Bytes of pages read ahead of the consumer, who has a queue of its own."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A file that is being read: its kind and title are known, its pages are still coming."""

    kind: str
    title: str
    total: int
    """Pages to come, where the kind of file says so beforehand; else 0."""
    pages: Iterator[Page]
    """To be used up or closed before the next file. Raises LoadError if the file turns out to be unreadable."""


class Cage:
    """Reads files in a child process. Use from one thread; close when done."""

    def __init__(self, seconds: float = SECONDS, seconds_per_mb: float = SECONDS_PER_MB, memory: int = MEMORY) -> None:
        self._seconds, self._per_mb, self._memory = seconds, seconds_per_mb, memory
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: queue.Queue[bytes] = WeighedQueue(_AHEAD, len)
        self._stopped = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Process id of the child, while there is one."""
        return self._process.pid if self._process else None

    def close(self) -> None:
        """End the child."""
        process, self._process = self._process, None
        self._stopped.set()
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(BrokenPipeError):
                        stream.close()

    def read(self, path: Path, should_stop: Callable[[], bool] = lambda: False) -> Reading:
        """Start reading a file; returns once its first page is there.

        Raises LoadError with the reason when it cannot be read, Cancelled when `should_stop` says so.
        """
        if self._process is None or self._process.poll() is not None:
            self.start()
        limit = self._seconds + self._per_mb * path.stat().st_size / 1e6
        clock = _Clock(limit, should_stop)
        self._ask(path)
        first = self._next(clock)
        if "kind" not in first:
            self._raise_error(first)
        return Reading(first["kind"], first["title"], first["total"], self._pages(clock))

    def start(self) -> None:
        """Start a fresh child, without waiting for it; `read` does so where there is none."""
        self.close()
        root = str(Path(__file__).resolve().parents[1])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OPENBLAS_NUM_THREADS": "1"}
        # -P: nothing is imported from the folder the user happens to stand in.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "ingest.child", str(self._memory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
        self._answers = WeighedQueue(_AHEAD, len)
        self._stopped = threading.Event()
        assert self._process.stdout is not None
        threading.Thread(
            target=_pump, args=(self._process.stdout, self._answers, self._stopped), name="cage", daemon=True
        ).start()

    def _ask(self, path: Path) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        line = json.dumps({"path": str(path.resolve())}).encode() + b"\n"
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except BrokenPipeError:  # it went between two files: a fresh one takes the request
            self.start()
            self._process.stdin.write(line)
            self._process.stdin.flush()

    def _next(self, clock: _Clock) -> dict[str, Any]:
        """The next message. Raises LoadError when the time or the memory is used up or the child is gone."""
        while True:
            before = time.monotonic()
            try:
                line = self._answers.get(timeout=_STEP)
            except queue.Empty:
                line = None
            clock.used += time.monotonic() - before
            if line:
                message = json.loads(line)
                if message.get("retire"):
                    self.close()
                if "page" not in message or clock.used <= clock.limit:
                    return message
            if line == b"":
                raise self._death()
            if clock.should_stop():
                self.close()
                raise Cancelled("Stopped.")
            if clock.used > clock.limit:
                self.close()
                raise LoadError(f"Reading the file took longer than {clock.limit:.0f} seconds.", "Split it.")
            if self._resident() > self._memory:
                self.close()
                raise _too_big(self._memory)

    def _resident(self) -> int:
        assert self._process is not None
        try:
            return psutil.Process(self._process.pid).memory_info().rss
        except psutil.Error:
            return 0

    def _death(self) -> LoadError:
        """Why the child is gone."""
        assert self._process is not None
        code = self._process.wait()
        self.close()
        if code == -9:
            return _too_big(self._memory)
        return LoadError(
            f"The parser crashed on the file (exit {code}), or needed more than {self._memory >> 20:,} MB of memory.",
            "The file is damaged or unusually made; save it again, or as PDF.",
        )

    def _raise_error(self, message: dict[str, Any]) -> None:
        reason, hint = message.get("error", ["The file has no pages.", "There is nothing to search in it."])
        raise LoadError(reason, hint)

    def _pages(self, clock: _Clock) -> Iterator[Page]:
        done = False
        try:
            while True:
                message = self._next(clock)
                if "page" in message:
                    yield Page(*message["page"])
                    continue
                done = True
                if "end" not in message:
                    self._raise_error(message)
                return
        finally:
            if not done:  # somebody lost interest: the rest of the file must not be taken for the next one
                self.close()


class _Clock:
    """Time that the parent waited for the child; time that the child waits for the parent does not count."""

    def __init__(self, limit: float, should_stop: Callable[[], bool]) -> None:
        self.limit = limit
        self.used = 0.0
        self.should_stop = should_stop


def _too_big(memory: int) -> LoadError:
    return LoadError(f"Reading the file takes more than {memory >> 20:,} MB of memory.", "Split it, or save it as PDF.")


def _pump(stream: IO[bytes], answers: queue.Queue[bytes], stopped: threading.Event) -> None:
    """Lines from the child to the queue, an empty one when there are no more; ends when told that nobody listens."""
    with contextlib.suppress(ValueError, OSError):  # the stream was closed
        for line in stream:
            if not line.endswith(b"\n"):
                break  # the child died in the middle of it
            if not _put(answers, line, stopped):
                return
    _put(answers, b"", stopped)


def _put(answers: queue.Queue[bytes], line: bytes, stopped: threading.Event) -> bool:
    while not stopped.is_set():
        with contextlib.suppress(queue.Full):
            answers.put(line, timeout=_STEP)
            return True
    return False
