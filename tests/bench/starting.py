"""How long a person waits before the first sign of life: the command line, a first search, the page in a browser.

Each in a process of its own, with what the system has read before in its cache; the models are converted already.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests import chromium
from tests.command import ROOT
from tests.e2e.hands import settled

COMMAND = Path(sys.executable).with_name("ragkit")
SAMPLES = ROOT / "index_data" / "sample_documents"


def measure(scratch: Path, *, rounds: int, browser: bool) -> dict[str, list[float]]:
    """Seconds of each round: `help`, `search`, `browser`, and `python` alone, which is the floor of all."""
    home = scratch / "home"
    _run(COMMAND, "ingest", SAMPLES, "--collection", "sample", "--home", home)
    search = (COMMAND, "search", "What is a soft prompt?", "--collection", "sample", "--home", home)
    found: dict[str, list[float]] = {"python": [], "help": [], "search": [], "browser": []}
    _run(*search)  # converts the model where it has not been
    for _ in range(rounds):
        found["python"].append(_run(sys.executable, "-c", "pass"))
        found["help"].append(_run(COMMAND, "--help"))
        found["search"].append(_run(*search))
    if browser:
        found["browser"] = _browser(home, rounds)
    return found


def _run(*command: str | Path) -> float:
    begun = time.perf_counter()
    subprocess.run(list(map(str, command)), cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - begun


def _browser(home: Path, rounds: int) -> list[float]:
    """From the command to a page that is drawn; the browser is open already, as a person's is."""
    path = chromium.find()
    if path is None:
        raise RuntimeError("There is no Chromium; name one in RAGKIT_CHROMIUM.")
    spent = []
    with sync_playwright() as play:
        window = play.chromium.launch(executable_path=path, args=list(chromium.ARGUMENTS))
        for _ in range(rounds):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            page = window.new_page()
            begun = time.perf_counter()
            server = subprocess.Popen(
                [COMMAND, "ui", "--port", str(port)],
                cwd=ROOT,
                env={**os.environ, "RAGKIT_HOME": str(home)},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            try:
                _open(page, f"http://127.0.0.1:{port}/")
                settled(page)
                spent.append(time.perf_counter() - begun)
            finally:
                page.close()
                server.terminate()
                server.wait()
        window.close()
    return spent


def _open(page, address: str) -> None:  # noqa: ANN001
    """Ask until somebody answers."""
    for _ in range(600):
        try:
            page.goto(address)
            return
        except Exception:  # noqa: BLE001 - Playwright's own error type for a refused connection
            time.sleep(0.05)
    raise RuntimeError("The server did not answer within 30 seconds.")
