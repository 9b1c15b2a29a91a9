"""The default configuration asks nothing of any network: it works where there is none, and nothing looks for one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import ROOT

RECORDER = """
import os, sys

def heard(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        where = arguments[1] if event in ("socket.connect", "socket.sendto") else arguments[0]
        host = where[0] if isinstance(where, tuple) else where
        if str(host) not in ("127.0.0.1", "::1", "localhost") and not str(host).startswith("/"):
            with open(os.environ["HEARD"], "a") as file:
                file.write(f"{event} {where}\\n")

sys.addaudithook(heard)
"""
"""Loaded by every Python process that is started; notes each look at a network."""


def without_network() -> list[str]:
    """A command in front of others under which they have no network, not even this machine's own addresses."""
    for command in (["unshare", "--net"], ["unshare", "--net", "--map-root-user"]):
        if shutil.which("unshare") and subprocess.run([*command, "true"], capture_output=True).returncode == 0:
            return command
    pytest.skip("this machine lets nobody make a network namespace (unshare --net)")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """No variable that tells the libraries to stay offline: what is measured is what a person has."""
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(RECORDER)
    told = {"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"}
    kept = {name: value for name, value in os.environ.items() if name not in told}
    return {
        **kept,
        "PYTHONPATH": str(tmp_path / "hook"),
        "HEARD": str(tmp_path / "heard"),
        "RAGKIT_HOME": str(tmp_path / "home"),
    }


def test_documents_come_in_and_questions_are_answered_where_there_is_no_network(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    alone = without_network()
    papers = tmp_path / "papers"
    papers.mkdir()
    (papers / "lora.md").write_text("LoRA learns two thin matrices beside each frozen weight matrix.\n")
    for arguments in (
        ["ingest", str(papers), "-c", "papers"],
        ["ask", "What does LoRA learn?", "-c", "papers", "--max-tokens", "8"],
        ["search", "thin matrices", "-c", "papers"],
        ["models"],
    ):
        done = subprocess.run(
            [*alone, sys.executable, "-m", "ui.cli", *arguments],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout
    heard = tmp_path / "heard"
    assert not heard.exists(), heard.read_text()


def test_the_recorder_hears_what_it_should(tmp_path: Path, environment: dict[str, str]) -> None:
    code = "import socket; socket.socket().connect_ex(('192.0.2.1', 9))"
    subprocess.run([*without_network(), sys.executable, "-c", code], env=environment, check=True, timeout=60)
    assert "192.0.2.1" in (tmp_path / "heard").read_text()
