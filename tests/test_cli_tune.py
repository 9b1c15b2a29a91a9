"""`ragkit tune`: from a file to an adapter, an estimate, and what can be wrong."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ragkit import adapters
from ragkit.settings import TuneSettings, sentences
from tests import quizzes
from tests.command import ROOT, ragkit, rows
from ui.cli import app

pytestmark = pytest.mark.timeout(900)
LIGHT = {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return quizzes.save_base(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture
def data(home: Path, tmp_path: Path) -> Path:
    quizzes.workbench(home)
    file = tmp_path / "questions.jsonl"
    told = [
        {"question": pair.question, "answers": list(pair.answers), "passage": pair.passage} for pair in quizzes.PAIRS
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in told))
    return file


def test_every_setting_is_an_option_with_its_sentence() -> None:
    shown = CliRunner().invoke(app, ["tune", "--help"], env={"COLUMNS": "400"}).output
    for name, sentence in sentences(TuneSettings).items():
        assert f"--{name.replace('_', '-')}" in shown
        assert sentence in shown
    assert "by method and size of the model" in shown


def test_rows_become_an_adapter_and_the_end_says_how_to_use_it(home: Path, data: Path, base: str) -> None:
    options = ["-c", "notes", "--base", base, "--rank", "2", "--epochs", "1", "--no-shared-evidence"]
    told = rows(ragkit("tune", data, "--estimate", *options, "--json", home=home, env=LIGHT))
    assert told[0]["train"] + told[0]["held"] + sum(told[0]["left_out"].values()) == len(quizzes.PAIRS)
    assert told[0]["estimate"]["seconds"] > 0
    done = ragkit("tune", data, "--name", "first", *options, home=home, env=LIGHT)
    adapter = adapters.find("first", home)
    assert adapter.card["settings"]["rank"] == 2
    assert adapter.card["settings"]["shared_evidence"] is False
    assert str(adapter.folder) in done.stdout
    assert "Held-out loss" in done.stderr
    assert f"ragkit ask QUESTION --template grounded --model {base} --adapter first -c notes" in done.stderr
    assert "ragkit promote first --set SET -c notes" in done.stderr
    again = ragkit("tune", data, "--name", "first", *options, home=home, expect=1)
    assert "There is an adapter 'first' already" in again.stderr


def test_a_stopped_training_says_how_to_go_on_and_goes_on(home: Path, data: Path, base: str) -> None:
    command = [sys.executable, "-m", "ui.cli", "tune", str(data), "--name", "slow", "-c", "notes", "--base", base,
               "--epochs", "400", "--rank", "2"]  # fmt: skip
    running = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)  # fmt: skip
    log = home / "notes" / "tuning" / "slow" / "log.jsonl"
    end = time.monotonic() + 600
    while not log.exists() and time.monotonic() < end:
        time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=120)
    assert running.returncode == 1
    assert "the same command goes on from there" in said
    assert log.exists()
    told = rows(ragkit("jobs", "-c", "notes", "--json", home=home))
    assert [(job["kind"], job["state"]) for job in told] == [("tune", "cancelled")]
    other = ragkit("tune", data, "--name", "slow", "-c", "notes", "--base", base, "--rank", "4", home=home, expect=1)
    assert "with another plan" in other.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["/no/such/file.jsonl", "--name", "a"], "/no/such/file.jsonl is not there"),
        (["--name", "../a"], "cannot name an adapter"),
        (["--name", "a", "--method", "sorcery"], "There is no tuning method called 'sorcery'"),
        (["--name", "a", "--rank", "9999"], "rank is 9999"),
        (["--name", "a", "--template", "nothing"], "nothing"),
        (["--name", "a", "--against", "nothing"], "nothing"),
    ],
)
def test_what_cannot_be_done_is_refused_before_any_work(
    arguments: list[str], sentence: str, home: Path, base: str
) -> None:
    quizzes.workbench(home)
    done = ragkit("tune", *arguments, "-c", "notes", "--base", base, home=home, expect=1)
    assert sentence in done.stderr


def test_an_adapter_needs_a_name(home: Path) -> None:
    assert "--name" in ragkit("tune", home=home, expect=2).stderr
