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


def dependencies(script: Path) -> list[str]:
    """What a script's header asks for (inline script metadata, PEP 723); none for one of this environment."""
    found = _HEADER.search(script.read_text("utf-8"))
    if found is None:
        return []
    text = "\n".join(line.removeprefix("#").removeprefix(" ") for line in found["body"].splitlines())
    return list(tomllib.loads(text)["dependencies"])


def python_of(script: Path) -> Path:
    """The interpreter with what a script needs; its virtual environment is made when it is first asked for."""
    needed = sorted(dependencies(script))
    if not needed:
        return Path(sys.executable)
    folder = KEPT / hashlib.sha256("\n".join(needed).encode()).hexdigest()[:12]
    python, stamp = folder / "bin" / "python", folder / "needed.txt"
    if not stamp.is_file():
        sys.stderr.write(f"Installing what {script.stem} needs: {', '.join(needed)}\n")
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *needed], check=True)
        stamp.write_text("\n".join(needed))
    return python


def versions(script: Path) -> dict[str, str]:
    """The installed version of each package that a script names."""
    names = [re.split(r"[=<>\[ ]", each)[0] for each in dependencies(script)]
    code = f"import json; from importlib.metadata import version; print(json.dumps({{n: version(n) for n in {names}}}))"
    made = subprocess.run([python_of(script), "-c", code], capture_output=True, text=True, check=True)
    return json.loads(made.stdout)
