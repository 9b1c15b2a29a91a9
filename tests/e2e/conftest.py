"""A real server on a free port with a home of its own, and windows that watch what the page does behind one's back."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil
import pytest

from ragkit.collection import Collection
from tests import library

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Server:
    """A running app."""

    port: int
    home: Path

    def url(self, page: str = "", **query: str) -> str:
        """Address of a page."""
        return f"http://127.0.0.1:{self.port}/{page}?{urlencode(query)}"

    def collection(self, name: str) -> Collection:
        """A new collection that needs no model."""
        return library.new(self.home, name)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One app for all browser tests; each test has collections of its own."""
    home = tmp_path_factory.mktemp("served") / "home"
    home.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (home.parent / "server.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", "ui/app.py", f"--server.port={port}"],
        cwd=ROOT,
        env={**os.environ, "RAGKIT_HOME": str(home), "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
    )
    try:
        _wait(process, port, Path(log.name))
        yield Server(port, home)
    finally:
        _end_workers(home)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
        log.close()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            connection.request("GET", "/_stcore/health")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return
        time.sleep(0.1)
    pytest.fail(f"The server did not start: {log.read_text(errors='replace')[-2000:]}")


def _end_workers(home: Path) -> None:
    """Workers that linger over this home; nobody else's."""
    for process in psutil.process_iter(["cmdline"]):
        with contextlib.suppress(psutil.Error):
            command = process.info["cmdline"] or []
            if "ingest.worker" in command and str(home) in command:
                process.terminate()


@dataclass
class Watched:
    """What a window did that nobody asked it for."""

    alerts: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


@pytest.fixture
def watched(page: Any, server: Server) -> Iterator[Watched]:
    """Fails the test when the page opened an alert, asked for anything elsewhere, or threw an error."""
    seen = Watched()
    own = (f"http://127.0.0.1:{server.port}/", f"ws://127.0.0.1:{server.port}/", "data:", "blob:")

    def alert(dialog: Any) -> None:
        seen.alerts.append(dialog.message)
        dialog.dismiss()

    page.set_default_timeout(60_000)  # a machine that does other work besides is slow, not broken
    page.on("dialog", alert)
    page.on("request", lambda request: None if request.url.startswith(own) else seen.requests.append(request.url))
    page.on("pageerror", lambda error: seen.faults.append(str(error)))
    yield seen
    assert seen == Watched()
