"""Backups: what was put away comes back as it was, whatever goes on meanwhile; nothing there is overwritten."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from ragkit import adapters, verify
from ragkit.backup import MANIFEST, BackupError, back_up, look, restore
from ragkit.collection import Collection
from ragkit.jobs import Jobs
from ragkit.settings import RetrieveSettings
from ragkit.workbench import Workbench
from tests import library
from tests.command import ragkit, rows

PDF = b"%PDF-1.4 as it came"


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """A home with two collections, an original, a template and an adapter."""
    home = tmp_path / "home"
    notes = library.filled(home)
    library.filled(home, "other")
    sha256 = notes.documents()[0].sha256
    (notes.folder / "files").mkdir()
    (notes.folder / "files" / f"{sha256}.pdf").write_bytes(PDF)
    for name, text in (("templates/mine.toml", "x"), ("adapters/own/ragkit.json", "{}")):
        (home / name).parent.mkdir(parents=True)
        (home / name).write_text(text)
    return home


def found(home: Path, name: str = "notes") -> list[tuple[str, str]]:
    hits = Workbench.open(name, home).retrieve("What does LoRA learn?", RetrieveSettings(abstain_below=0)).hits
    return [(hit.document, hit.text) for hit in hits]


def repacked(file: Path, target: Path, change) -> Path:
    """A copy of an archive whose parts went through `change`: a dict of names and bytes."""
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    change(parts)
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return target


def renamed_part(parts: dict[str, bytes], old: str, new: str) -> None:
    manifest = json.loads(parts[MANIFEST])
    parts[new], manifest["parts"][new] = parts.pop(old), manifest["parts"].pop(old)
    parts[MANIFEST] = json.dumps(manifest).encode()


def test_everything_comes_back_as_it_was(full: Path, tmp_path: Path) -> None:
    made = back_up(full, tmp_path / "all.zip")
    assert (made.collections, made.adapters, made.templates) == (("notes", "other"), ("own",), ("mine",))
    assert look(tmp_path / "all.zip") == made
    again = tmp_path / "again"
    assert restore(tmp_path / "all.zip", again) == ["notes", "other", "adapters/own", "templates/mine.toml"]
    assert found(again) == found(full)
    back = Collection.open(again, "notes")
    assert back.documents() == Collection.open(full, "notes").documents()
    assert back.original(back.documents()[0]).read_bytes() == PDF
    assert list(verify.check(back)) == []
    assert (again / "templates" / "mine.toml").read_text() == "x"
    assert adapters.shelf(again).joinpath("own", "ragkit.json").read_text() == "{}"


def test_one_moment_is_kept_while_somebody_writes(tmp_path: Path) -> None:
    home = tmp_path / "home"
    collection = library.filled(home)
    over = threading.Event()

    def write() -> None:
        number = 0
        while not over.is_set():
            library.put(collection, f"{number % 5}.txt", [f"Version {number} says {word}." for word in "abcdefgh"])
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        files = [tmp_path / f"{number}.zip" for number in range(5)]
        for file in files:
            back_up(home, file)
    finally:
        over.set()
        writer.join()
    for number, file in enumerate(files):
        restore(file, tmp_path / str(number))
        back = Collection.open(tmp_path / str(number), "notes")
        assert {document.name for document in back.documents()} >= set(library.FIELD)
        assert found(tmp_path / str(number))  # which builds the index
        assert list(verify.check(back)) == []


def test_nothing_that_is_there_is_overwritten(full: Path, tmp_path: Path) -> None:
    back_up(full, tmp_path / "all.zip")
    with pytest.raises(BackupError, match="is there already"):
        back_up(full, tmp_path / "all.zip")
    library.put(Collection.open(full, "notes"), "new.txt", ["Something new."])
    with pytest.raises(BackupError, match="a collection 'notes' .* already"):
        restore(tmp_path / "all.zip", full)
    assert restore(tmp_path / "all.zip", full, ["notes"], {"notes": "before"}) == ["before"]
    assert "new.txt" not in {each.name for each in Collection.open(full, "before").documents()}
    assert "new.txt" in {each.name for each in Collection.open(full, "notes").documents()}
    other = tmp_path / "other"
    (other / "templates").mkdir(parents=True)
    (other / "templates" / "mine.toml").write_text("changed")
    assert "templates/mine.toml" not in restore(tmp_path / "all.zip", other)
    assert (other / "templates" / "mine.toml").read_text() == "changed"


def test_one_collection_alone(full: Path, tmp_path: Path) -> None:
    made = back_up(full, tmp_path / "one.zip", ["other"])
    assert (made.collections, made.adapters, made.templates) == (("other",), (), ())
    with pytest.raises(BackupError, match="holds no collection 'notes'. There are: other"):
        restore(tmp_path / "one.zip", tmp_path / "new", ["notes"])


def test_work_that_was_going_on_is_not_taken_up_from_a_backup(full: Path, tmp_path: Path) -> None:
    jobs = Jobs(Collection.open(full, "notes"))
    jobs.submit("ingest", {"paths": ["/nowhere"]})
    back_up(full, tmp_path / "all.zip")
    restore(tmp_path / "all.zip", tmp_path / "new")
    assert Jobs(Collection.open(tmp_path / "new", "notes")).pending() == 0
    assert jobs.pending() == 1


@pytest.mark.parametrize("place", ["../evil.txt", "collections/../../evil.txt", "/evil.txt", "adapters/.hidden/x",
                                   "collections/a\\b/x", "somewhere/x", "collections"])  # fmt: skip
def test_a_part_never_leads_out_of_the_home(full: Path, tmp_path: Path, place: str) -> None:
    back_up(full, tmp_path / "all.zip")
    bad = repacked(tmp_path / "all.zip", tmp_path / "bad.zip", lambda p: renamed_part(p, "templates/mine.toml", place))
    with pytest.raises(BackupError, match="is no backup of ragkit, or damaged"):
        restore(bad, tmp_path / "new")
    assert not list(tmp_path.rglob("evil*"))
    assert not [path for path in (tmp_path / "new").glob("*") if not path.name.startswith(".")]


def test_a_damaged_backup_changes_nothing(full: Path, tmp_path: Path) -> None:
    good = tmp_path / "all.zip"
    back_up(full, good)
    data = good.read_bytes()
    (tmp_path / "short.zip").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.zip").write_text("no archive")
    part = "collections/notes/library.sqlite"
    repacked(good, tmp_path / "altered.zip", lambda parts: parts.update({part: parts[part][:-1] + b"?"}))
    repacked(good, tmp_path / "missing.zip", lambda parts: parts.pop(part))
    repacked(good, tmp_path / "more.zip", lambda parts: parts.update({"templates/more.toml": b""}))
    for name in ("short", "text", "altered", "missing", "more"):
        with pytest.raises(BackupError, match="is no backup of ragkit, or damaged"):
            restore(tmp_path / f"{name}.zip", tmp_path / name)
        assert not [path for path in (tmp_path / name).glob("[!.]*")], name
    with pytest.raises(BackupError, match="There is no file"):
        look(tmp_path / "nowhere.zip")


def test_a_full_disk_leaves_nothing_behind(full: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk: the system refuses to write on."""
    code = (
        "import resource, sys; from pathlib import Path; from ragkit.backup import *;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000));"
        "{}"
    )
    target = tmp_path / "all.zip"
    writing = code.format(f"back_up(Path({str(full)!r}), Path({str(target)!r}))")
    done = subprocess.run([sys.executable, "-c", writing], capture_output=True, text=True)
    assert "BackupError" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    back_up(full, target)
    reading = code.format(f"restore(Path({str(target)!r}), Path({str(tmp_path / 'new')!r}))")
    done = subprocess.run([sys.executable, "-c", reading], capture_output=True, text=True)
    assert "cannot be put back" in done.stderr
    assert not list((tmp_path / "new").glob("[!.]*"))
    assert len(restore(target, tmp_path / "new")) == 4  # once there is room


def test_from_the_command_line(full: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.zip"
    done = ragkit("backup", file, home=full)
    assert "2 collections, 1 adapter, 1 template" in done.stderr
    (told,) = rows(ragkit("restore", file, "--only", "notes", "--as", "old", "--json", home=full))
    assert told["restored"] == ["old"]
    assert found(full, "old") == found(full)
    refused = ragkit("restore", file, home=full, expect=1)
    assert "There is a collection 'notes'" in refused.stderr
    ragkit("restore", file, "--as", "x", home=full, expect=2)
