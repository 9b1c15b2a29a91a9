"""`ragkit adapters`, and adapters by name where questions are asked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ragkit import models
from tests.command import ragkit, rows
from tests.tiny_speakers import save_adapter, save_speaker


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that says cat, and an adapter through which it says dog."""
    folder = tmp_path_factory.mktemp("made")
    save_adapter(folder / "dogs", save_speaker(folder / "base", "cat"), "dog", "cite")
    (folder / "dogs" / "ragkit.json").unlink()  # as peft leaves it
    return folder


def listed(home: Path) -> list[str]:
    return [row["name"] for row in rows(ragkit("adapters", "--json", home=home)) if not row["bundled"]]


def test_an_adapter_comes_in_is_renamed_goes_out_and_is_removed(home: Path, made: Path, tmp_path: Path) -> None:
    base = made / "base"
    (taken,) = rows(ragkit("adapters", "import", made / "dogs", "--base", base, "--json", home=home))
    assert (taken["name"], taken["source"], taken["method"]) == ("dogs", "imported", "lora")
    assert taken["base_sha256"] == models.resolve(str(base), "generator").sha256
    again = ragkit("adapters", "import", made / "dogs", "--base", base, home=home, expect=1)
    assert "There is an adapter 'dogs' already" in again.stderr
    ragkit("adapters", "rename", "dogs", "barks", home=home)
    assert listed(home) == ["barks"]
    assert "barks" in ragkit("adapters", home=home).stdout
    (shown,) = rows(ragkit("adapters", "show", "barks", "--json", home=home))
    assert (shown["card"]["name"], shown["sha256"]) == ("barks", taken["sha256"])
    archive = tmp_path / "out.zip"
    ragkit("adapters", "export", "barks", archive, home=home)
    ragkit("adapters", "import", archive, "copy", home=home)
    assert listed(home) == ["barks", "copy"]
    ragkit("adapters", "remove", "barks", home=home)
    assert listed(home) == ["copy"]
    gone = ragkit("adapters", "show", "barks", home=home, expect=1)
    assert "There is no adapter 'barks'" in gone.stderr


def test_a_damaged_adapter_is_named_with_its_reason(home: Path, made: Path) -> None:
    shutil.copytree(made / "dogs", home / "adapters" / "broken")
    (home / "adapters" / "broken" / "ragkit.json").write_text("{")
    done = ragkit("adapters", "--json", home=home)
    assert "broken is not listed" in done.stderr
    assert "broken" not in [row["name"] for row in rows(done)]


def test_a_wrong_number_of_names_is_refused(home: Path) -> None:
    assert "OLD NEW" in ragkit("adapters", "rename", "one", home=home, expect=2).stderr
    assert "NAME" in ragkit("adapters", "remove", home=home, expect=2).stderr


def test_an_adapter_answers_by_its_name_and_one_of_another_base_is_refused(filled: Path, made: Path) -> None:
    base = made / "base"
    ragkit("adapters", "import", made / "dogs", "--base", base, home=filled)
    plainly = ("--max-tokens", "4", "--abstain-below", "0", "--reader", "", "--json")
    question = ("ask", "What sleeps?", "--model", base, *plainly)
    (plain,) = rows(ragkit(*question, "--adapter", "", home=filled))
    (tuned,) = rows(ragkit(*question, "--adapter", "dogs", home=filled))
    assert "cat" in plain["text"]
    assert "dog" in tuned["text"]
    card = filled / "adapters" / "dogs" / "ragkit.json"
    card.write_text(json.dumps({**json.loads(card.read_text()), "base_sha256": "0" * 64}))
    assert "was trained on" in ragkit(*question, "--adapter", "dogs", home=filled, expect=1).stderr
    assert "Did you mean 'dogs'" in ragkit(*question, "--adapter", "dogz", home=filled, expect=1).stderr
