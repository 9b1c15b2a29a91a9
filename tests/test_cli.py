"""The command line: help, usage, and documents going in and out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ragkit.settings import IngestSettings, RetrieveSettings, sentences
from ragkit.types import Decoding, Variant
from tests.command import ROOT, TRACEBACK, ragkit, rows
from ui.cli import COMMANDS, app

WITHOUT_COLLECTION = {"distill", "list", "models", "adapters", "backup", "restore"}


def test_help_names_every_command_with_its_summary() -> None:
    shown = " ".join(CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output.split())
    for row in COMMANDS:
        assert f"{row.name} " in shown
        assert row.summary in shown


def test_help_of_ragkit_loads_nothing_that_a_command_needs() -> None:
    script = (
        "import sys; sys.argv = ['ragkit', '--help']\n"
        "from ui.cli import main\n"
        "try: main()\n"
        "except SystemExit: sys.stderr.write(' '.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert {"numpy", "ragkit.collection", "sqlite3", "torch"} & set(done.stderr.split()) == set()


@pytest.mark.parametrize("name", COMMANDS.names)
def test_every_command_takes_the_common_options(name: str) -> None:
    shown = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output
    homeless = {"--home"} if name in ("distill", "models") else set()
    wanted = {"--home", *({"--json"} if name != "ui" else ())} - homeless
    wanted |= {"--collection"} if name not in WITHOUT_COLLECTION else set()
    assert {option for option in wanted if option not in shown} == set()


@pytest.mark.parametrize(
    ("command", "settings", "hidden"),
    [
        ("ingest", IngestSettings, set()),
        ("search", RetrieveSettings, {"abstain_below", "reader", "reader_below", "reader_above"}),
        ("ask", RetrieveSettings, set()),
        ("ask", Variant, {"decoding"}),
        ("ask", Decoding, set()),
        ("compare", Variant, {"template", "adapter", "decoding"}),
    ],
)
def test_every_setting_is_an_option_with_its_sentence(command: str, settings: type, hidden: set[str]) -> None:
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "400"}).output
    for name, sentence in sentences(settings).items():
        assert (f"--{name.replace('_', '-')} " in shown) == (name not in hidden)
        assert (sentence in shown) == (name not in hidden)


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["documents", "--nonsense"],
        ["search"],
        ["search", "a", "--queries", "b"],
        ["ask"],
        ["compare", "q", "--variant", "cite"],
        ["search", "q", "-k", "five"],
    ],
)
def test_wrong_usage_exits_with_2(arguments: list[str], home: Path) -> None:
    assert "Usage: ragkit" in ragkit(*arguments, home=home, expect=2).stderr


def test_a_misspelt_command_is_guessed(home: Path) -> None:
    assert "'documents'" in ragkit("document", home=home, expect=2).stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["documents", "-c", "nowhere"], "There is no collection 'nowhere'"),
        (["search", "q", "-c", "../x"], "cannot name a collection"),
        (["ask", "q", "-c", "nowhere"], "There is no collection 'nowhere'"),
        (["list", "spoons"], "There is no kind of part called 'spoons'"),
        (["ingest", "README.md", "--home", "README.md/x"], "README.md/x/sample cannot be made"),
        (["ingest", "README.md", "--examples", "/no/such/file"], "/no/such/file cannot be read"),
    ],
)
def test_an_error_is_one_sentence_and_exits_with_1(arguments: list[str], sentence: str, home: Path) -> None:
    done = ragkit(*arguments, home=home, expect=1)
    assert done.stdout == ""
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_reader_that_stops_reading_causes_no_complaint(home: Path) -> None:
    command = f"set -o pipefail; '{sys.executable}' -m ui.cli list | head -n 1"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.stderr, done.stdout.strip()) == ("", "loaders")


def test_ingest_says_what_became_of_each_file(home: Path, papers: Path) -> None:
    first = rows(ragkit("ingest", papers, "--json", "--embedder", "hashing", home=home, expect=1))
    assert {frozenset(row) for row in first} == {frozenset({"file", "state", "reason", "pages", "chunks"})}
    assert {row["file"]: row["state"] for row in first} == {
        "lora.md": "added",
        "gates.txt": "added",
        "empty.pdf": "refused",
    }
    assert {row["file"]: bool(row["reason"]) for row in first}["empty.pdf"]
    assert {row["pages"] for row in first if row["state"] == "added"} == {1}

    (papers / "empty.pdf").unlink()
    (papers / "gates.txt").write_text("The gate is closed at first.")
    again = rows(ragkit("ingest", papers, "--json", home=home))
    assert {row["file"]: row["state"] for row in again} == {"lora.md": "unchanged", "gates.txt": "replaced"}

    listed = rows(ragkit("documents", "--json", home=home))
    assert [row["name"] for row in listed] == ["gates.txt", "lora.md"]
    assert ragkit("documents", home=home).stdout.count("\n") == 3


def test_ingest_without_json_prints_a_line_a_file(home: Path, papers: Path) -> None:
    printed = ragkit("ingest", papers, "--embedder", "hashing", home=home, expect=1).stdout.splitlines()
    assert sorted(line.split()[0] for line in printed) == ["added", "added", "refused"]


def test_an_empty_folder_is_said_to_be_empty(home: Path, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    done = ragkit("ingest", tmp_path / "nothing", "--embedder", "hashing", home=home)
    assert "There are no files" in done.stderr


def test_other_settings_than_the_collection_has_are_refused(filled: Path, papers: Path) -> None:
    done = ragkit("ingest", papers, "--chunk-tokens", "50", home=filled, expect=1)
    assert "was made with --chunk-tokens 200, not 50" in done.stderr
    assert "ragkit reembed -c sample --chunk-tokens 50" in done.stderr


def test_worked_examples_go_into_the_bank_once(home: Path, papers: Path, tmp_path: Path) -> None:
    examples = tmp_path / "examples.jsonl"
    examples.write_text('{"question": "What is r?", "answer": "The rank."}\n')
    first = ragkit("ingest", papers / "lora.md", "--examples", examples, "--embedder", "hashing", home=home)
    again = ragkit("ingest", papers / "lora.md", "--examples", examples, home=home)
    assert ("1 worked example added" in first.stderr, "0 worked examples added" in again.stderr) == (True, True)
    examples.write_text('{"question": "What is r?"}\n')
    wrong = ragkit("ingest", papers / "lora.md", "--examples", examples, home=home, expect=1)
    assert "Line 1" in wrong.stderr


def test_remove_takes_all_or_nothing(filled: Path) -> None:
    refused = ragkit("remove", "lora.md", "nothing.md", home=filled, expect=1)
    assert "nothing.md" in refused.stderr
    assert len(rows(ragkit("documents", "--json", home=filled))) == 2
    assert rows(ragkit("remove", "lora.md", "--json", home=filled)) == [{"document": "lora.md", "state": "removed"}]
    assert [row["name"] for row in rows(ragkit("documents", "--json", home=filled))] == ["gates.txt"]


def test_ctrl_c_cancels_the_job_and_keeps_what_is_in(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(300):
        (folder / f"{number:03}.txt").write_text(f"Paper {number}. " + "A sentence about matrices. " * 600)
    command = [sys.executable, "-m", "ui.cli", "ingest", str(folder), "--json", "--embedder", "hashing"]
    environment = {**os.environ, "RAGKIT_HOME": str(home)}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert json.loads(running.stdout.readline())["state"] == "added"
        running.send_signal(signal.SIGINT)
        out, errors = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "Cancelled after" in errors
    assert not TRACEBACK.search(errors)
    reported = 1 + len(out.splitlines())
    there = rows(ragkit("documents", "--json", home=home))
    assert reported <= len(there) < 300
    assert rows(ragkit("jobs", "--json", home=home))[0]["state"] == "cancelled"
