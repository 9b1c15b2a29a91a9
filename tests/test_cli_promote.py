"""`ragkit promote`: the gate's table, what it lets through and what not, and the way back."""

from __future__ import annotations

import pytest

from ragkit import adapters
from ragkit.sets import Sets
from ragkit.types import Question
from tests.command import ragkit, rows
from tests.library import filled
from tests.tiny_speakers import save_adapter, save_speaker

SEARCH = ("--abstain-below", "0", "--reader", "")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A collection with a model that says "dog", and an adapter through which it says "mat"."""
    folder = tmp_path_factory.mktemp("promote")
    collection = filled(folder / "home")
    base = save_speaker(folder / "base", "dog")
    save_adapter(adapters.shelf(collection.home) / "mat", base, "mat", "concise")
    for word in ("mat", "dog"):
        asked = [Question(f"q{n}", f"Where does animal number {n} like to sleep?", (word,)) for n in range(12)]
        Sets(collection).put(f"right-is-{word}", asked)
    return folder / "home"


def promote(home, *arguments, expect=0):
    return ragkit("promote", *arguments, "-c", "notes", home=home, expect=expect)


def test_what_is_worse_ends_with_one_and_changes_nothing(home):
    shown = promote(home, "mat", "--set", "right-is-dog", "--yes", *SEARCH, expect=1)
    assert "f1" in shown.stdout
    assert "worse by 100.0 points" in shown.stdout
    assert "is not to replace" in shown.stdout
    assert "Nothing was promoted yet" in promote(home).stderr


def test_what_is_better_is_promoted_when_somebody_says_so_and_rolled_back(home):
    asked = promote(home, "mat", "--set", "right-is-mat", *SEARCH)
    assert "Nothing was changed. Add --yes" in asked.stderr
    assert rows(promote(home, "--json")) == []
    (told,) = rows(promote(home, "mat", "--set", "right-is-mat", "--yes", "--json", *SEARCH))
    assert (told["outcome"], told["promoted"]) == ("passed", True)
    assert {"metric", "candidate", "default", "low", "high", "words"} <= set(told["rows"][0])
    (listed,) = rows(promote(home, "--json"))
    assert (listed["adapter"], listed["state"], listed["run"]) == ("mat", "promoted", told["run"])
    assert "concise" in promote(home).stdout
    assert "the default already" in promote(home, "mat", "--set", "right-is-mat", *SEARCH, expect=1).stderr
    assert "no longer the default" in promote(home, "--roll-back").stderr
    assert [each["state"] for each in rows(promote(home, "--json"))] == ["rolled back"]
    assert "nothing to roll back" in promote(home, "--roll-back", expect=1).stderr


def test_what_cannot_be_meant_is_refused(home):
    promote(home, "mat", expect=2)
    promote(home, "--set", "right-is-mat", expect=2)
    promote(home, "mat", "--roll-back", expect=2)
    assert "no adapter 'nat'" in promote(home, "nat", "--set", "right-is-mat", expect=1).stderr
