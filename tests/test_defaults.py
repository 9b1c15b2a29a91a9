"""What "auto" means: which adapter answers when nobody chose one, and through which template."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from ragkit import adapters
from ragkit.promotions import Promotions
from ragkit.types import Variant
from ragkit.workbench import Workbench
from tests.library import filled

BASE, OTHER = Variant().model, "/models/another"


def put_adapter(folder: Path, seed=0, **card):
    """A folder that holds an adapter's files; nobody loads its weights here."""
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "task_type": "CAUSAL_LM"}))
    save_file({"weight": np.full((2, 2), seed, np.float32)}, folder / "adapter_model.safetensors")
    card = {"name": folder.name, "task": "generate", "base": BASE, "template": "concise", **card}
    (folder / "ragkit.json").write_text(json.dumps(card))
    return adapters.read(folder)


@pytest.fixture
def workbench(tmp_path, monkeypatch):
    monkeypatch.setattr(adapters, "BUNDLED", tmp_path / "bundled")  # whatever ships with ragkit
    return Workbench(filled(tmp_path / "home"))


def own(workbench, name, seed=0, **card):
    return put_adapter(adapters.shelf(workbench.collection.home) / name, seed, **card)


def bundled(name, seed=9, **card):
    return put_adapter(adapters.BUNDLED / name, seed, **card)


def promote(workbench, adapter):
    return Promotions(workbench.collection).add(
        adapter.task, adapter.name, adapter.sha256, adapter.base, adapter.template, None, {}
    )


def meant(workbench, **parts):
    return workbench.defaults.settled(Variant(**parts)).adapter


def test_without_any_adapter_everything_is_as_it_was(workbench):
    assert Variant().adapter == "auto"
    assert workbench.defaults.variant() == Variant()
    assert workbench.defaults.settled(Variant()) == Variant(adapter="")
    assert workbench.defaults.adapter("extract") is None
    own(workbench, "trained")  # is there, and nobody has measured it
    assert meant(workbench, template="concise") == ""


def test_what_ships_with_ragkit_is_the_default_of_its_model_through_its_template(workbench):
    bundled("grounded", template="grounded"), bundled("reader", task="extract", base="minilm", template="")
    assert workbench.defaults.variant().template == "grounded"
    assert meant(workbench, template="grounded") == "grounded"
    assert meant(workbench, template="cite") == ""
    assert meant(workbench, template="grounded", model=OTHER) == ""
    assert workbench.defaults.variant(OTHER) == Variant(model=OTHER)
    assert workbench.defaults.adapter("extract").name == "reader"
    assert meant(workbench, engine="reader", model="minilm") == "reader"


def test_an_adapter_that_auto_chose_is_chosen_anew_for_another_template(workbench):
    bundled("grounded", template="grounded")
    own(workbench, "mine", template="cite")
    settle, free = workbench.defaults.settled, workbench.defaults.unsettled
    answered = settle(workbench.defaults.variant())
    assert settle(replace(free(answered), template="cite")).adapter == ""
    assert free(settle(Variant("cite"))).adapter == "auto"
    named = Variant("cite", adapter="mine")
    assert free(named) == named


def test_what_was_promoted_comes_first_and_brings_its_template(workbench):
    bundled("grounded", template="grounded")
    promote(workbench, own(workbench, "mine", template="concise"))
    assert workbench.defaults.variant().template == "concise"
    assert meant(workbench, template="concise") == "mine"
    assert meant(workbench, template="grounded") == ""
    Promotions(workbench.collection).roll_back("generate")
    assert workbench.defaults.variant().template == "grounded"
    assert meant(workbench, template="grounded") == "grounded"


def test_each_collection_has_its_own(workbench, tmp_path):
    promote(workbench, own(workbench, "mine"))
    other = Workbench(filled(tmp_path / "home", "second"))
    assert meant(workbench, template="concise") == "mine"
    assert meant(other, template="concise") == ""


def test_who_says_which_adapter_or_none_gets_that(workbench):
    promote(workbench, own(workbench, "mine"))
    assert meant(workbench, template="concise", adapter="") == ""
    assert meant(workbench, template="cite", adapter="mine") == "mine"
    assert meant(workbench, template="concise", engine="echo") == ""


def test_an_adapter_that_is_gone_or_is_not_what_was_measured_is_passed_over(workbench):
    promote(workbench, own(workbench, "first", 1)), promote(workbench, own(workbench, "second", 2))
    home = workbench.collection.home
    assert meant(workbench, template="concise") == "second"
    adapters.remove(home, "second")
    assert meant(workbench, template="concise") == "first"
    own(workbench, "second", 3)
    assert meant(workbench, template="concise") == "first"
    adapters.remove(home, "first"), own(workbench, "first", 4)
    assert meant(workbench, template="concise") == ""


def test_an_adapter_whose_template_is_gone_is_passed_over(workbench):
    text = workbench.templates.text("concise").replace('name = "concise"', 'name = "short"')
    workbench.templates.save(text)
    promote(workbench, own(workbench, "mine", template="short"))
    assert workbench.defaults.variant().template == "short"
    workbench.templates.delete("short")
    assert workbench.defaults.variant() == Variant()


def test_an_own_adapter_under_the_name_of_a_bundled_one_does_not_take_its_place(workbench):
    ours = bundled("grounded", template="grounded")
    own(workbench, "grounded", 1, template="grounded")
    assert meant(workbench, template="grounded") == str(ours.folder)
    chosen = workbench.defaults.settled(Variant(template="grounded"))
    assert workbench.adapter_folder(chosen) == str(ours.folder)
    assert workbench.adapter_folder(replace(chosen, adapter="grounded")) != str(ours.folder)


def test_an_answer_says_which_adapter_was_meant(workbench):
    answer = workbench.ask("Where does the cat sleep?", Variant(engine="echo"))
    assert answer.variant.adapter == ""
    assert answer.variant.name == "cite + echo"


def test_names_stay_short():
    assert Variant().name == "cite"
    assert Variant(template="concise", adapter="").name == "concise"
    assert Variant(template="grounded", adapter="grounded").name == "grounded + grounded"
    assert Variant(adapter="/some/where/mine").name == "cite + mine"
