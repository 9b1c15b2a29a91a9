"""Static embeddings: distilled from a model, written in a format that others read, looked up without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from ragkit.catalog import EMBEDDERS
from ragkit.embed.distill import distill
from ragkit.errors import ModelError, SettingsError
from tests import readers
from tests.command import ROOT, ragkit, rows

TEXTS = ["The vine grows on the wall.", "a vine", "Quite another matter, with numbers: 1887 and 42.", ""]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("static") / "minilm"
    made.mkdir()
    distill("minilm", made, 64)
    return made


def test_sentence_transformers_reads_what_was_distilled_and_gives_the_same_vectors(folder: Path) -> None:
    ours = EMBEDDERS.load("static")(str(folder))
    theirs = SentenceTransformer(str(folder), trust_remote_code=False).encode(TEXTS[:3], normalize_embeddings=True)
    assert ours.fingerprint.dimension == 64
    assert np.allclose(ours.embed(TEXTS)[:3], theirs, atol=1e-5)


def test_auto_takes_a_static_model_for_what_it_is_and_other_engines_say_so(folder: Path) -> None:
    auto = EMBEDDERS.load("auto")(str(folder))
    assert auto.fingerprint == EMBEDDERS.load("static")(str(folder)).fingerprint
    assert auto.fingerprint != EMBEDDERS.load("auto")("minilm").fingerprint
    with pytest.raises(ModelError, match="engine static"):
        EMBEDDERS.load("sentence-transformers")(str(folder))


def test_frequent_words_weigh_less(folder: Path) -> None:
    embedder = EMBEDDERS.load("static")(str(folder))
    rare, with_frequent, frequent = embedder.embed(["giraffe", "the giraffe of the", "the of the"])
    assert rare @ with_frequent > frequent @ with_frequent + 0.2


def test_a_table_opens_and_embeds_without_torch(folder: Path) -> None:
    script = (
        "import sys; from ragkit.embed.static import StaticEmbedder;"
        f"StaticEmbedder({str(folder)!r}).embed(['a text']); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_what_is_no_static_model_is_refused(folder: Path, tmp_path: Path) -> None:
    for name in ("modules.json", "model.safetensors"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(ModelError, match="tokenizer.json"):
        EMBEDDERS.load("static")(str(tmp_path))
    with pytest.raises(SettingsError, match="dimension is 9999"):
        distill("minilm", tmp_path / "more", 9999)


def test_from_the_command_line(tmp_path: Path) -> None:
    base = readers.save_encoder(tmp_path / "encoder")
    wanted = ("--to", str(tmp_path / "made"), "--dimension", "8", "--json")
    done = ragkit("distill", str(base), *wanted, home=tmp_path / "home")
    assert "--embedder-model" in done.stderr
    assert rows(done) == [{"folder": str(tmp_path / "made"), "dimension": 8}]
    assert EMBEDDERS.load("static")(str(tmp_path / "made")).fingerprint.dimension == 8
    done = ragkit("distill", str(base), "--to", str(tmp_path / "made"), home=tmp_path / "home", expect=1)
    assert "is there already" in done.stderr
    (tmp_path / "a.txt").write_text("A cat sleeps on the mat. A dog barks in the yard.")
    ragkit(
        "ingest", tmp_path / "a.txt", "-c", "fast", "--embedder-model", tmp_path / "made", "--chunk-tokens", "64",
        home=tmp_path / "home",
    )  # fmt: skip
    found = ragkit("search", "Which animal sleeps?", "-c", "fast", home=tmp_path / "home")
    assert "cat sleeps" in found.stdout
