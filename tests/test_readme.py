"""The README keeps its word: its Python runs, its table is the catalogs', its commands exist."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.make_tables import PAGES, in_readme

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def test_the_tables_of_parts_are_those_of_the_catalogs() -> None:
    assert in_readme(README) == README, "run: python -m tests.make_tables"
    for name, page in PAGES.items():
        assert (ROOT / "docs" / name).read_text("utf-8") == page(), "run: python -m tests.make_tables"


def test_every_file_that_is_named_is_there() -> None:
    linked = re.findall(r"\]\(([^)#:]+)\)", README)
    named = re.findall(r"`((?:ragkit|ingest|ui|tests|docs)/[\w/.]+)`", README)
    assert len(linked) >= 3
    assert [name for name in linked + named if not (ROOT / name).exists()] == []


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    commands = set(re.findall(r"^    make (\w+)", README, re.MULTILINE))
    assert commands == {"app", "test"}
    assert commands <= targets


@pytest.mark.slow
def test_the_python_of_the_first_screen_runs(sample_home: Path) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    check = """
import json
said = [[citation.document, citation.page, citation.quote] for citation in answer.citations]
print(json.dumps({"text": answer.text, "said": said}))
"""
    done = subprocess.run(
        [sys.executable, "-c", block + check],
        env={**os.environ, "RAGKIT_HOME": str(sample_home)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["text"]
    assert done.stdout.startswith(result["text"])
    for document, page, quote in result["said"]:
        assert f"{document}, page {page}: {quote}" in done.stdout
