"""`ragkit ui`: one address, one machine, one clean end."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from tests.command import ROOT, TRACEBACK, ragkit
from ui.commands import serve


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_port_in_use_is_one_sentence(home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = ragkit("ui", "--port", str(port), home=home, expect=1)
    assert f"Port {port} on 127.0.0.1 is in use." in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_pages_that_poll_collect_no_garbage_each_time() -> None:
    """It holds the interpreter for as long as there are objects, and the thread that loads a model makes many."""
    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text("utf-8"))
    assert config["runner"]["postScriptGC"] is False
    assert serve.FLAGS["runner.postScriptGC"] == "false"


def test_ui_serves_this_machine_alone_and_stops_cleanly(home: Path, tmp_path: Path) -> None:
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-m", "ui.cli", "ui", "--port", str(port)],
        cwd=tmp_path,
        env={**os.environ, "RAGKIT_HOME": str(home), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that runs the tests in the background has them, and all they start, ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as running:
        try:
            assert running.stdout is not None
            assert running.stdout.readline() == f"ragkit is at http://127.0.0.1:{port}\n"
            assert _handshake(port, f"127.0.0.1:{port}") == http.HTTPStatus.SWITCHING_PROTOCOLS
            assert _handshake(port, "evil.example") == http.HTTPStatus.FORBIDDEN  # by DNS rebinding
            assert _handshake(port, f"127.0.0.1:{port}", "http://evil.example") == http.HTTPStatus.FORBIDDEN
        finally:
            running.send_signal(signal.SIGINT)
            _, errors = running.communicate(timeout=30)
    assert running.returncode == 0
    assert not TRACEBACK.search(errors)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.1)
    pytest.fail("the server is still there")


def _handshake(port: int, host: str, origin: str = "") -> int:
    """Status of a WebSocket handshake that a page of this origin (that host, if not given) sends to this host."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    key = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Host": host, "Origin": origin or f"http://{host}"}
    connection.request("GET", "/_stcore/stream", headers=upgrade | key)
    status = connection.getresponse().status
    connection.close()
    return status
