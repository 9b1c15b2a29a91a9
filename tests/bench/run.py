"""Runs the experiments of `experiments/`: what has a result with the same settings is left alone.

    python -m tests.bench.run [NAME...] [--again] [--small]        `make bench` runs all and writes the page

An experiment is a TOML file: `bench` names the module whose `measure` it is, the other keys are what `measure` takes.
With --small the values of its table [small] stand in for the others, and nothing is kept: that proves that a bench
works, and says nothing about speed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.bench import results, sides

FOLDER = Path(__file__).with_name("experiments")


def names() -> list[str]:
    """All experiments."""
    return sorted(file.stem for file in FOLDER.glob("*.toml"))


def read(name: str, *, small: bool = False) -> dict[str, Any]:
    """An experiment's bench and settings."""
    settings = tomllib.loads((FOLDER / f"{name}.toml").read_text("utf-8"))
    little = settings.pop("small", {})
    return settings | (little if small else {})


def run(name: str, *, again: bool = False, small: bool = False) -> Any:  # noqa: ANN401 - as the bench found it
    """Measure and keep; what is kept already is returned as it is."""
    settings = read(name, small=small)
    kept = results.load(name)
    if kept and kept["settings"] == settings and not again and not small:
        return kept["found"]
    given = {key: value for key, value in settings.items() if key != "bench"}
    with tempfile.TemporaryDirectory(dir=_scratch()) as scratch:
        found = import_module(f"tests.bench.{settings['bench']}").measure(Path(scratch), **given)
    if not small:
        names = {each.partition(":")[0] for each in settings.get("sides", ())}
        peers = {each: sides.versions(sides.SCRIPTS / f"{each}.py") for each in sorted(names)}
        results.keep(name, found, peers, **settings)
    return found


def _scratch() -> Path:
    folder = sides.KEPT / "scratch"  # on a disk: /tmp may be memory
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def main() -> None:
    """Run what is named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"One of {', '.join(names())}; all if none is named.")
    parser.add_argument("--again", action="store_true", help="Also where a result with the same settings is kept.")
    parser.add_argument("--small", action="store_true", help="At a small size; nothing is kept.")
    given = parser.parse_args()
    for name in given.names or names():
        sys.stderr.write(f"{name}\n")
        sys.stdout.write(json.dumps({name: run(name, again=given.again, small=given.small)}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
