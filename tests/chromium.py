"""Find a Chromium for the browser tests; run as a script, also get one.

Order: the one that RAGKIT_CHROMIUM names, one on the path, Playwright's own, and Debian's package when root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ROOTS = ("~/.cache/ms-playwright", "~/Library/Caches/ms-playwright", "~/AppData/Local/ms-playwright")
BINARIES = ("chrome", "chrome.exe", "Chromium", "Google Chrome for Testing")
ARGUMENTS = ("--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync")
"""No sandbox, since the tests may run as root; no traffic of the browser's own."""


def find() -> str | None:
    """Path of a Chromium that starts, or None."""
    named = os.environ.get("RAGKIT_CHROMIUM")
    candidates = [named] if named else [path for path in map(shutil.which, NAMES) if path] + _playwright()
    return next((path for path in candidates if _starts(path)), None)


def _playwright() -> list[str]:
    """Browsers that Playwright has downloaded, newest first."""
    chosen = os.environ.get("PLAYWRIGHT_BROWSERS_PATH")
    roots = [Path(root).expanduser() for root in ([chosen] if chosen else ROOTS)]
    found = [path for root in roots for path in root.glob("chromium-*/**/*") if path.name in BINARIES]
    return [str(path) for path in sorted(found, reverse=True) if path.is_file()]


def _starts(path: str) -> bool:
    """Whether the program runs at all; a browser without its shared libraries does not."""
    try:
        return subprocess.run([path, "--version"], capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def obtain() -> str | None:
    """Find a Chromium, else download Playwright's, else install Debian's when root."""
    path = find()
    if path or os.environ.get("RAGKIT_CHROMIUM"):
        return path
    _try("Downloading Playwright's Chromium", [sys.executable, "-m", "playwright", "install", "chromium"])
    if not (path := find()) and hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get"):
        _try("Installing Debian's Chromium", ["apt-get", "update", "-qq"])
        _try("", ["apt-get", "install", "-qq", "--no-install-recommends", "chromium"])
        path = find()
    return path


def _try(what: str, command: list[str]) -> None:
    if what:
        print(f"==> {what}", flush=True)  # noqa: T201 - a script's progress
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        subprocess.run(command, env=quiet, capture_output=True, timeout=240)
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"    {error}", flush=True)  # noqa: T201


if __name__ == "__main__":
    chromium = obtain()
    print(f"==> Browser tests use {chromium}" if chromium else "==> No Chromium: browser tests are skipped")  # noqa: T201
    if not chromium and os.environ.get("CI") == "true":
        sys.exit("Under CI=true the browser tests must run. Install Chromium or name one in RAGKIT_CHROMIUM.")
