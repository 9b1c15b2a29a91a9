"""Runs `ragkit` as a person does: in a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TRACEBACK = re.compile(r"Traceback|File \".*\", line \d+")


def ragkit(*arguments: str | Path, home: Path, expect: int = 0, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run a command; its exit code must be the expected one and no traceback may appear."""
    done = subprocess.run(
        [sys.executable, "-m", "ui.cli", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "RAGKIT_HOME": str(home), "COLUMNS": "200", **more.pop("env", {})},
        capture_output=True,
        text=True,
        timeout=240,
        **more,
    )
    assert done.returncode == expect, done.stdout + done.stderr
    assert not TRACEBACK.search(done.stderr), done.stderr
    return done


def rows(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """Standard output as JSON lines."""
    return [json.loads(line) for line in done.stdout.splitlines()]
