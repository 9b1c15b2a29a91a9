"""Files and folders that are named: which of them are read, and under what name."""

from __future__ import annotations

import os

import pytest

from ingest.files import Source, find_sources


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    return folder


def names(*paths):
    return [source.name for source in find_sources(paths)]


def test_folders_are_walked_without_hidden_entries_and_links_that_lead_out(folder, tmp_path):
    outside = tmp_path / "secret.txt"
    outside.write_text("x")
    for name in ("b.txt", ".hidden", ".git/config", "sub/a.txt", "sub/.x/y.txt", "sub/deeper/c.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    (folder / "link.txt").symlink_to(outside)
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe.txt")
    assert names(folder) == ["b.txt", "sub/a.txt", "sub/deeper/c.txt"]


def test_names_that_clash_are_qualified(folder):
    for name in ("x/a.txt", "y/a.txt", "y/b.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("x")
    assert names(folder / "x" / "a.txt", folder / "y" / "a.txt") == ["x/a.txt", "y/a.txt"]
    assert names(folder / "x", folder / "y") == ["x/a.txt", "y/a.txt", "b.txt"]
    assert names(folder / "x" / "a.txt", folder / "x" / "a.txt") == ["a.txt"]
    assert names(Source(folder / "y" / "b.txt", "Shown name.txt")) == ["Shown name.txt"]


def test_a_name_that_is_no_utf8_is_shown_readably(folder):
    path = os.fsencode(folder) + b"/caf\xe9.txt"
    with open(path, "wb") as file:
        file.write(b"x")
    assert names(folder) == ["caf\ufffd.txt"]
