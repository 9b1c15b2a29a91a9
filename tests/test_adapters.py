"""The library of adapters: what it lists, takes in and gives out, and what it refuses."""

from __future__ import annotations

import json
import shutil
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.numpy import save_file
from safetensors.torch import load_file
from safetensors.torch import save_file as save_torch
from transformers import LlamaConfig, LlamaForCausalLM

from ragkit import adapter_files, adapters, models
from ragkit.errors import ModelError, SettingsError
from ragkit.tensors import tensors

SIZES = {"vocab_size": 64, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}


def save_base(folder, seed=0, **sizes):
    torch.manual_seed(seed)
    config = LlamaConfig(**{**SIZES, **sizes}, num_attention_heads=4, num_key_value_heads=2)
    LlamaForCausalLM(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def lora(base, tmp_path_factory):
    """A LoRA that peft saved, as it comes from elsewhere: without a card."""
    folder = tmp_path_factory.mktemp("elsewhere")
    model = LlamaForCausalLM.from_pretrained(base)
    config = LoraConfig(r=2, target_modules=["q_proj", "down_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(model, config).save_pretrained(folder)
    return folder


def put(home, name, lora, **card):
    """An adapter as training leaves it."""
    folder = adapters.work_folder(home, name)
    shutil.copytree(lora, folder, dirs_exist_ok=True)
    said = {"format": 1, "name": name, "task": "generate", "method": "lora", "base": "b", "source": "trained", **card}
    (folder / "ragkit.json").write_text(json.dumps(said))
    return adapters.register(home, name, folder)


def zipped(target, lora, names=None, prefix="x/"):
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(lora.iterdir()):
            archive.write(file, prefix + file.name)
        for name, content in (names or {}).items():
            archive.writestr(name, content)
    return target


def test_the_library_lists_its_own_adapters_then_the_bundled_ones(home, lora, tmp_path, monkeypatch):
    assert [each for each in adapters.listing(home) if not each.bundled] == []
    bundled = tmp_path / "bundled"
    shutil.copytree(lora, bundled / "grounded")
    monkeypatch.setattr(adapters, "BUNDLED", bundled.resolve())
    put(home, "zebra", lora, base_sha256="ab", template="cite", created="2026-01-01T00:00:00+00:00")
    put(home, "grounded", lora)
    listed = adapters.listing(home)
    assert [(each.name, each.source) for each in listed] == [
        ("grounded", "trained"),
        ("zebra", "trained"),
        ("grounded", "bundled"),
    ]
    zebra = listed[1]
    assert (zebra.task, zebra.method, zebra.base, zebra.base_sha256) == ("generate", "lora", "b", "ab")
    assert (zebra.template, zebra.bundled, zebra.created[:4]) == ("cite", False, "2026")
    assert zebra.sha256 == models.file_sha256(zebra.folder / "adapter_model.safetensors")
    assert zebra.bytes == sum(file.stat().st_size for file in zebra.folder.iterdir())
    assert adapters.find("grounded", home).source == "trained"  # the home's own before the bundled one
    adapters.remove(home, "grounded")
    assert adapters.find("grounded", home).source == "bundled"
    for change in (adapters.remove, lambda home, name: adapters.rename(home, name, "mine")):
        with pytest.raises(adapters.AdapterError, match="comes with ragkit"):
            change(home, "grounded")


def test_an_adapter_is_found_by_name_or_folder_and_a_near_name_is_offered(home, lora):
    put(home, "squad-short", lora)
    assert adapters.find("squad-short", home).name == "squad-short"
    elsewhere = adapters.find(str(lora), home)
    assert (elsewhere.source, elsewhere.method, elsewhere.task) == ("folder", "lora", "generate")
    with pytest.raises(adapters.AdapterError, match="Did you mean 'squad-short'"):
        adapters.find("squad-shrot", home)
    for name in ("../adapters/squad-short", ".", "", ".."):
        with pytest.raises(adapters.AdapterError):
            adapters.find(name, home)


def test_a_damaged_adapter_is_named_with_its_reason_and_hides_no_other(home, lora):
    put(home, "sound", lora)
    put(home, "short", lora)
    put(home, "card", lora)
    weights = home / "adapters" / "short" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    (home / "adapters" / "card" / "ragkit.json").write_text("{")
    (home / "adapters" / "pickled").mkdir()
    (home / "adapters" / "pickled" / "adapter_config.json").write_text("{}")
    (home / "adapters" / "pickled" / "adapter_model.bin").write_bytes(b"\x80\x04")
    assert [each.name for each in adapters.listing(home) if not each.bundled] == ["sound"]
    reasons = adapters.damaged(home)
    assert set(reasons) == {"short", "card", "pickled"}
    assert "cut short" in reasons["short"]
    assert "ragkit.json is damaged" in reasons["card"]
    assert "pickles" in reasons["pickled"]


def test_registering_moves_the_folder_and_never_replaces(home, lora, tmp_path):
    first = put(home, "one", lora)
    assert sorted(path.name for path in (home / "adapters").iterdir()) == ["one"]
    with pytest.raises(adapters.AdapterError, match="already"):
        put(home, "one", lora)
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(lora, elsewhere)
    with pytest.raises(adapters.AdapterError, match="already"):
        adapters.register(home, "one", elsewhere)
    assert adapters.register(home, "two", elsewhere).name == "two"
    assert not elsewhere.exists()
    assert adapters.find("one", home) == first
    for name in ("auto", "_x"):
        with pytest.raises(adapters.AdapterError, match="kept for ragkit"):
            adapters.work_folder(home, name)
    with pytest.raises(SettingsError, match="cannot name"):
        adapters.work_folder(home, "../x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(adapters.AdapterError, match="is no adapter"):
        adapters.register(home, "three", tmp_path / "empty")


def test_renaming_keeps_the_weights_and_renames_the_card(home, lora):
    before = put(home, "old", lora)
    put(home, "other", lora)
    with pytest.raises(adapters.AdapterError, match="already"):
        adapters.rename(home, "old", "other")
    after = adapters.rename(home, "old", "new")
    assert (after.name, after.card["name"], after.sha256) == ("new", "new", before.sha256)
    assert [each.name for each in adapters.listing(home) if not each.bundled] == ["new", "other"]
    with pytest.raises(adapters.AdapterError, match="There is no adapter"):
        adapters.remove(home, "old")


def test_what_is_exported_is_imported_as_it_was(home, base, lora, tmp_path):
    sha256 = models.resolve(base, "generator").sha256
    made = put(home, "mine", lora, base=base, base_sha256=sha256, template="cite", metrics={"steps": 3})
    (made.folder / "notes.bin").write_bytes(b"\x80")
    archive = adapters.export(home, "mine", tmp_path)
    assert archive == tmp_path / "mine.zip"
    assert not any(name.endswith(".bin") for name in zipfile.ZipFile(archive).namelist())
    again = adapters.export(home, "mine", tmp_path / "again.zip")
    assert again.read_bytes() == archive.read_bytes()
    back = adapters.import_adapter(home, archive, "back")
    assert (back.sha256, back.base, back.base_sha256, back.template) == (made.sha256, base, sha256, "cite")
    assert (back.source, back.card["name"], back.card["metrics"]) == ("imported", "back", {"steps": 3})


@pytest.mark.parametrize("form", ["folder", "zip", "flat zip"])
def test_an_adapter_made_by_peft_elsewhere_gets_a_card(home, base, lora, tmp_path, form):
    source = lora
    if form != "folder":
        prefix = "x/" if form == "zip" else ""
        extra = {f"{prefix}training_args.bin": b"\x80", f"{prefix}run.py": "boom", f"{prefix}deep/er/a.json": "{}"}
        source = zipped(tmp_path / "a.zip", lora, extra, prefix)
    made = adapters.import_adapter(home, source, "taken", base)
    assert (made.source, made.method, made.task, made.base) == ("imported", "lora", "generate", base)
    assert made.base_sha256 == models.resolve(base, "generator").sha256
    assert made.created
    assert {file.name for file in made.folder.iterdir()} <= {
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "ragkit.json",
    }
    assert lora.is_dir()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../evil.json", "leads out"),
        ("/etc/evil.json", "leads out"),
        ("x/..\\evil.json", "leads out"),
        ("C:/evil.json", "leads out"),
        ("y/adapter_config.json", "more than one adapter"),
        ("x/ADAPTER_config.json", "twice"),
    ],
)
def test_an_archive_cannot_write_elsewhere_or_mislead(home, base, lora, tmp_path, name, reason):
    source = zipped(tmp_path / "a.zip", lora, {name: "{}"})
    with pytest.raises(adapters.AdapterError, match=reason):
        adapters.import_adapter(home, source, "taken", base)
    assert list((home / "adapters").iterdir()) == []
    assert not list(tmp_path.rglob("evil.json"))


def test_links_bombs_and_liars_are_refused(home, base, lora, tmp_path, monkeypatch):
    link = zipfile.ZipInfo("x/link.json")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(adapters.AdapterError, match="the link"):
        adapters.import_adapter(home, zipped(tmp_path / "l.zip", lora, {link: "/etc/passwd"}), "taken", base)
    monkeypatch.setattr(adapter_files, "MOST_BYTES", 1 << 20)
    bomb = zipped(tmp_path / "b.zip", lora, {"x/zeros.txt": b"\0" * (2 << 20)})
    with pytest.raises(adapters.AdapterError, match="bytes"):
        adapters.import_adapter(home, bomb, "taken", base)
    many = zipped(tmp_path / "m.zip", lora, {f"x/{number}.txt": b"" for number in range(1001)})
    with pytest.raises(adapters.AdapterError, match="at most 1,000 files"):
        adapters.import_adapter(home, many, "taken", base)
    torn = tmp_path / "torn.zip"
    torn.write_bytes(zipped(tmp_path / "t.zip", lora).read_bytes()[:-30])
    with pytest.raises(adapters.AdapterError, match="no zip archive"):
        adapters.import_adapter(home, torn, "taken", base)
    with pytest.raises(adapters.AdapterError, match="There is no folder"):
        adapters.import_adapter(home, tmp_path / "nowhere", "taken", base)
    assert list((home / "adapters").iterdir()) == []


def test_an_adapter_that_does_not_fit_its_base_is_refused(home, base, lora, tmp_path):
    wider = save_base(tmp_path / "wider", hidden_size=32)
    with pytest.raises(adapters.AdapterError, match="does not fit"):
        adapters.import_adapter(home, lora, "taken", wider)
    deeper = save_base(tmp_path / "deeper", num_hidden_layers=2)
    with pytest.raises(adapters.AdapterError, match=r"it lacks .*layers\.1"):
        adapters.import_adapter(home, lora, "taken", deeper)
    more = tmp_path / "more"
    shutil.copytree(lora, more)
    weights = load_file(more / "adapter_model.safetensors")
    save_torch(
        {**weights, "base_model.model.strange.lora_A.weight": torch.zeros(2, 2)}, more / "adapter_model.safetensors"
    )
    with pytest.raises(adapters.AdapterError, match="no place: .*strange"):
        adapters.import_adapter(home, more, "taken", base)
    for task, reason in (("TOKEN_CLS", "is for TOKEN_CLS"), ("QUESTION_ANS", "There is no model|not fit|no model")):
        config = json.loads((lora / "adapter_config.json").read_text())
        (more / "adapter_config.json").write_text(json.dumps({**config, "task_type": task}))
        with pytest.raises((adapters.AdapterError, ModelError), match=reason):
            adapters.import_adapter(home, more, "taken", base)


def test_the_hash_in_the_card_decides_which_base_it_is_for(home, base, lora, tmp_path):
    twin = save_base(tmp_path / "twin", seed=1)
    sha256 = models.resolve(base, "generator").sha256
    made = put(home, "mine", lora, base="my-base", base_sha256=sha256)
    adapters.check_base(made, models.resolve(base, "generator"))
    with pytest.raises(ModelError, match="was trained on my-base"):
        adapters.check_base(made, models.resolve(twin, "generator"))
    with pytest.raises(ModelError, match="was trained on my-base"):
        adapters.import_adapter(home, made.folder, "again", twin)


def test_a_whole_tuned_model_is_an_adapter_and_a_model_without_a_card_is_not(home, base):
    whole = adapters.work_folder(home, "whole")
    shutil.copytree(base, whole, dirs_exist_ok=True)
    (whole / "ragkit.json").write_text(json.dumps({"method": "full", "base": base}))
    assert adapters.register(home, "whole", whole).method == "full"
    with pytest.raises(adapters.AdapterError, match="is a model and no adapter"):
        adapters.import_adapter(home, Path(base), "taken", base)


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "I64"])
def test_safetensors_are_read_without_torch(tmp_path, kind):
    torch.manual_seed(0)
    types = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64}
    value = (torch.randn(3, 5) * 9).to(types[kind])
    save_torch({"a": value, "none": torch.zeros(0, 2)}, tmp_path / "a.safetensors")
    read = tensors(tmp_path / "a.safetensors")
    assert (read["a"].type, read["a"].shape) == (kind, (3, 5))
    assert np.array_equal(read["a"].read(), value.float().numpy())
    assert read["none"].read().shape == (0, 2)


def test_damaged_safetensors_are_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"a": np.zeros((4, 4), np.float32)}, path)
    sound = path.read_bytes()
    for wrong in (b"", sound[:-1], b"\xff" * 16, sound[:9], sound.replace(b"[4,4]", b"[4,9]")):
        path.write_bytes(wrong)
        with pytest.raises(ModelError, match="no sound safetensors"):
            tensors(path)
