"""Where benches keep what they found, and on what: `tests/bench/results/<name>.json`."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

FOLDER = Path(__file__).with_name("results")
_PACKAGES = ("torch", "transformers", "peft", "trl", "sentence-transformers", "openvino", "openvino-genai", "faiss-cpu",
             "numpy")  # fmt: skip


def keep(name: str, found: Any, peers: dict[str, dict[str, str]] | None = None, **settings: Any) -> None:  # noqa: ANN401 - anything that JSON can hold
    """Write a result beside the machine, the versions (the peers' too), the load and the settings it was found with."""
    FOLDER.mkdir(exist_ok=True)
    made = _made() | ({"peers": peers} if peers else {})
    text = json.dumps({"settings": settings, "made": made, "found": found}, indent=1)
    (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def load(name: str) -> dict[str, Any] | None:
    """What was kept: `settings`, `made` and `found`; None if nothing was."""
    path = FOLDER / f"{name}.json"
    return json.loads(path.read_text("utf-8")) if path.is_file() else None


def _made() -> dict[str, Any]:
    return {
        "on": datetime.now(UTC).date().isoformat(),
        "processor": _processor(),
        "cores": psutil.cpu_count(),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "load": [round(each, 2) for each in os.getloadavg()],
        "versions": {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version, **_versions()},
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
