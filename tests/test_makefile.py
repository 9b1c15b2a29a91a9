"""The two commands of the Makefile: what they would do, without doing it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The files that the Makefile looks at, in a folder of their own."""
    folder = tmp_path / "clone"
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "index_data/sample_examples.jsonl"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / "index_data" / "sample_documents", folder / "index_data" / "sample_documents")
    return folder


def make(folder: Path, *arguments: str, **variables: str) -> str:
    """What `make` says; its own variables do not leak in from a make that runs these tests."""
    foreign = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "RAGKIT_HOME", "PORT", "ARGS")
    inherited = {name: value for name, value in os.environ.items() if name not in foreign}
    done = subprocess.run(
        ["make", *arguments], cwd=folder, env={**inherited, **variables}, capture_output=True, text=True, timeout=60
    )
    return done.stdout + done.stderr


def finish(folder: Path) -> None:
    """Pretend that everything was installed and ingested."""
    (stamp,) = set(re.findall(r"touch (\.venv/\.installed-\d+)", make(folder, "-n", "app")))
    for name in (".venv/bin/python", stamp, "index_data/sample/.bundled"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_a_first_run_installs_checks_the_models_and_ingests_before_it_serves(clone: Path) -> None:
    plan = make(clone, "-n", "app")
    samples = "index_data/sample_documents"
    steps = ["-m venv", "pip --disable", "ragkit models", f"ragkit ingest {samples}", "ragkit ask", "ragkit ui"]
    places = [plan.find(step) for step in steps]
    assert -1 not in places
    assert places == sorted(places)


def test_a_second_run_serves_at_once(clone: Path) -> None:
    finish(clone)
    assert make(clone, "-n", "app", "PORT=8502").split() == ["exec", ".venv/bin/ragkit", "ui", "--port", "8502"]


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_changed_dependencies_are_installed_again(clone: Path, name: str) -> None:
    finish(clone)
    with (clone / name).open("a") as file:
        file.write("# changed\n")
    assert "install" in make(clone, "-n", "app")


def test_samples_that_are_in_are_not_put_in_again(clone: Path) -> None:
    finish(clone)
    (clone / "index_data" / "sample" / ".bundled").unlink()
    assert "ragkit ingest" in make(clone, "-n", "app")


def test_no_suitable_python_is_one_sentence(clone: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("make", "bash", "sh", "grep", "cat", "cksum", "cut", "awk", "uname"):
        found = shutil.which(tool)
        assert found, tool
        (tools / tool).symlink_to(found)
    said = make(clone, "app", PATH=str(tools))
    assert "ragkit needs Python 3.11 or newer" in said
    assert "Traceback" not in said


def test_no_committed_file_names_a_package_index() -> None:
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    hosts = re.compile(r"py" + r"pi\.org|download\.py" + r"torch\.org|files\.python" + r"hosted", re.IGNORECASE)
    naming = []
    for name in files:
        path = ROOT / name
        if path.suffix in (".py", ".toml", ".txt", ".md", "") and path.is_file():
            naming += [name] if hosts.search(path.read_text("utf-8", "replace")) else []
    assert naming == []
