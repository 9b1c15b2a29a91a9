"""The sides of a bench as processes: ragkit in this environment, each peer in one of its own."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ragkit import models
from tests.command import ROOT

SCRIPTS = Path(__file__).with_name("peers")
KEPT = ROOT / ".bench"
"""Virtual environments and drawn passages; git ignores it."""
_NO_TOOL: dict[str, Any] = {"bench": {"environment": {}}}
_HEADER = re.compile(r"(?m)^# /// script\n(?P<body>(?:#.*\n)+?)# ///$")


class Side:
    """A process that answers requests (`peers/serve.py`). Use as a context."""

    def __init__(self, name: str, scratch: Path) -> None:
        self.name = name
        self.peak_mb = 0.0
        script = SCRIPTS / f"{name}.py"
        model = models.resolve("minilm", "embedder").path
        self._process = subprocess.Popen(
            [str(python_of(script)), str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(scratch / f"{name}.log").open("w"),
            text=True,
            cwd=scratch,
            env={**os.environ, "BENCH_MODEL": str(model), "BENCH_SCRATCH": str(scratch), "HF_HUB_OFFLINE": "1",
                 "ANONYMIZED_TELEMETRY": "False", "TOKENIZERS_PARALLELISM": "true", "TMPDIR": str(scratch)},
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()

    def ask(self, do: str, **given: Any) -> Any:  # noqa: ANN401 - whatever the side answers
        """What it found; seconds in `seconds`, the process's peak so far in `peak_mb`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **given}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended while it was asked to {do}.")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{self.name} was asked to {do}:\n{answer['error']}")
        self.seconds, self.peak_mb = answer["seconds"], answer["peak_mb"]
        return answer["found"]


def header(script: Path) -> dict[str, Any]:
    """A script's inline metadata (PEP 723): `dependencies`, and what `tool.bench.environment` sets to build them.

    Empty for one of this environment.
    """
    found = _HEADER.search(script.read_text("utf-8"))
    if found is None:
        return {}
    return tomllib.loads("\n".join(line.removeprefix("#").removeprefix(" ") for line in found["body"].splitlines()))


def python_of(script: Path) -> Path:
    """The interpreter with what a script needs; its virtual environment is made when it is first asked for."""
    needed = header(script)
    if not needed:
        return Path(sys.executable)
    packages = sorted(needed["dependencies"])
    given = needed.get("tool", _NO_TOOL)["bench"]["environment"]
    environment = {name: " ".join(value.split()) for name, value in given.items()}
    key = "\n".join([*packages, *(f"{name}={value}" for name, value in environment.items())])
    folder = KEPT / hashlib.sha256(key.encode()).hexdigest()[:12]
    python, stamp = folder / "bin" / "python", folder / "needed.txt"
    if not stamp.is_file():
        sys.stderr.write(f"Installing what {script.stem} needs: {', '.join(packages)}\n")
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        # What was built before was built for another environment.
        install = [python, "-m", "pip", "install", "-q", *(["--no-cache-dir"] if environment else []), *packages]
        subprocess.run(install, check=True, env=os.environ | environment)
        stamp.write_text(key)
    return python


def versions(script: Path) -> dict[str, str]:
    """The installed version of each package that a script names."""
    names = [re.split(r"[=<>\[ ]", each)[0] for each in header(script).get("dependencies", ())]
    code = f"import json; from importlib.metadata import version; print(json.dumps({{n: version(n) for n in {names}}}))"
    if not names:
        return {}
    made = subprocess.run([python_of(script), "-c", code], capture_output=True, text=True, check=True)
    return json.loads(made.stdout)
