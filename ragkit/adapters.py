"""The library of adapters: folders below a home, and those that come with ragkit. Nothing here loads a model.

An adapter is a folder in PEFT's format (adapter_config.json, adapter_model.safetensors), or for the method `full` a
whole model (config.json, model.safetensors). `ragkit.json` beside it is its card: what it is for, which base it was
trained on (by hash), from which data and with which settings, and how it did. The name is the folder's.
"""

from __future__ import annotations

import difflib
import importlib.metadata
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from ragkit import adapter_fit, models
from ragkit.adapter_files import CARD, CONFIG, WEIGHTS, AdapterError, pack, take
from ragkit.cache import file_sha256
from ragkit.errors import ModelError
from ragkit.home import check_name
from ragkit.tensors import tensors
from ragkit.types import digest

FORMAT = 1
"""Of the card."""
AUTO = "auto"
"""Stands for "choose for me" where an adapter is named, and so can name none."""
BUNDLED = Path(__file__).resolve().parent / "bundled"
_MOST_TEXT = 10_000_000
"""Bytes of a card or configuration."""
_TASKS = {"CAUSAL_LM": "generate", "SEQ_2_SEQ_LM": "generate", "QUESTION_ANS": "extract", "": "generate"}
"""PEFT's names of what an adapter is for, and ours."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """One adapter of the library, or in a folder that was named."""

    name: str
    folder: Path
    task: Literal["generate", "extract"]
    method: str
    """"lora", "full", or PEFT's name for another kind in small letters."""
    base: str
    """The model it belongs to, as it was called when the adapter was made."""
    base_sha256: str
    """Hash of that model's weights; empty if unknown."""
    template: str
    """The prompt template that it was trained with; empty if unknown."""
    created: str
    """UTC, ISO 8601; empty if unknown."""
    bytes: int
    """Of all its files."""
    bundled: bool
    """Whether it came with ragkit; then it cannot be renamed or removed."""
    source: str
    """"trained", "imported", "bundled", or "folder" for one without a card."""
    sha256: str
    """Hash of the weights."""
    card: Mapping[str, Any]
    """All that `ragkit.json` says; empty without one."""


def shelf(home: Path) -> Path:
    """The folder that holds a home's own adapters."""
    return home / "adapters"


def listing(home: Path) -> list[Adapter]:
    """All sound adapters: the home's own, then the bundled ones, each in alphabetical order."""
    return [found for _, found in _read_all(home) if isinstance(found, Adapter)]


def damaged(home: Path) -> dict[str, str]:
    """Why an adapter is not listed, by its name."""
    return {folder.name: str(found) for folder, found in _read_all(home) if not isinstance(found, Adapter)}


def _read_all(home: Path) -> Iterator[tuple[Path, Adapter | AdapterError]]:
    for place in (shelf(home), BUNDLED):
        for folder in sorted(place.iterdir()) if place.is_dir() else ():
            if folder.is_dir() and not folder.name.startswith((".", "_")):
                try:
                    yield folder, read(folder)
                except AdapterError as error:
                    yield folder, error


def find(name: str, home: Path) -> Adapter:
    """An adapter by its name (the home's own before a bundled one) or by its folder.

    Raises AdapterError with the nearest names if there is none, or with the reason if it is damaged.
    """
    for place in (shelf(home), BUNDLED):
        if Path(name).name == name and not name.startswith((".", "_")) and (place / name).is_dir():
            return read(place / name)
    folder = Path(name).expanduser()
    if name and folder.is_dir():
        return read(folder)
    names = [adapter.name for adapter in listing(home)]
    near = difflib.get_close_matches(name, names, n=1)
    guess = f"Did you mean {near[0]!r}? " if near else ""
    known = f"There are: {', '.join(dict.fromkeys(names))}." if names else "There is none yet."
    raise AdapterError(f"There is no adapter {name!r}.", f"{guess}{known} A folder of PEFT's format works, too.")


def read(folder: Path) -> Adapter:
    """The adapter in a folder. Raises AdapterError if it is none, is damaged, or its weights are pickles."""
    folder = folder.expanduser().resolve()
    config = read_json(folder / CONFIG) if (folder / CONFIG).is_file() else None
    card = read_json(folder / CARD) if (folder / CARD).is_file() else {}
    if config is None and not (folder / "config.json").is_file():
        raise AdapterError(f"{folder} is no adapter: it holds no {CONFIG}.", "Give the folder of a PEFT adapter.")
    weights = [folder / WEIGHTS] if config is not None else sorted(folder.glob("model*.safetensors"))
    if not weights or not weights[0].is_file():
        raise AdapterError(
            f"The adapter {folder} holds no {WEIGHTS if config is not None else 'model.safetensors'}.",
            "Adapters saved as pickles (.bin) are not loaded.",
        )
    try:
        for file in weights:
            tensors(file)
    except ModelError as error:
        raise AdapterError(f"The adapter {folder} is damaged: {error.message}", error.hint) from error
    hashes = [[file.name, file_sha256(file)] for file in weights]
    bundled = folder.parent == BUNDLED
    method = "full" if config is None else str(config.get("peft_type") or "lora").lower()
    return Adapter(
        name=folder.name,
        folder=folder,
        task="extract" if (card.get("task") or _task(config or {}, folder)) == "extract" else "generate",
        method=method,
        base=str(card.get("base") or (config or {}).get("base_model_name_or_path") or ""),
        base_sha256=str(card.get("base_sha256") or ""),
        template=str(card.get("template") or ""),
        created=str(card.get("created") or ""),
        bytes=sum(file.stat().st_size for file in folder.iterdir() if file.is_file()),
        bundled=bundled,
        source="bundled" if bundled else str(card.get("source") or "folder"),
        sha256=hashes[0][1] if len(hashes) == 1 else digest(hashes),
        card=card,
    )


def _task(config: Mapping[str, Any], folder: Path) -> str:
    named = str(config.get("task_type") or "")
    if named not in _TASKS:
        raise AdapterError(
            f"The adapter {folder} is for {named}.",
            "There are adapters that answer (CAUSAL_LM, SEQ_2_SEQ_LM, QUESTION_ANS); others have no place here.",
        )
    return _TASKS[named]


def read_json(path: Path) -> dict[str, Any]:
    """The card or configuration of an adapter. Raises AdapterError if it is damaged."""
    try:
        if path.stat().st_size > _MOST_TEXT:
            raise ValueError("it is too large")
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("it is no JSON object")
    except (OSError, ValueError) as error:
        raise AdapterError(f"{path} is damaged: {error}.", "Train or import the adapter again.") from error
    return found


def check_base(adapter: Adapter, base: models.ResolvedModel) -> None:
    """Raise ModelError if the adapter was made for another base: compared by hash, where its card has one."""
    if adapter.base_sha256 and adapter.base_sha256 != base.sha256:
        raise ModelError(
            f"The adapter {adapter.name} was trained on {adapter.base or 'another model'} "
            f"({adapter.base_sha256[:12]}), not on {base.name} ({base.sha256[:12]}).",
            "Use the base it was trained on.",
        )


# Changing the library


def check_free(home: Path, name: str) -> str:
    """The name, if a new adapter of the home can have it. Raises SettingsError or AdapterError."""
    check_name(name, "adapter")
    if name == AUTO or name.startswith("_"):
        raise AdapterError(f"{name!r} cannot name an adapter: it is kept for ragkit itself.", "Take another name.")
    if (shelf(home) / name).exists():
        raise AdapterError(f"There is an adapter {name!r} already.", "Take another name, or remove that one first.")
    return name


def work_folder(home: Path, name: str) -> Path:
    """A new empty folder beside the library's, to put a finished adapter together in before it is registered."""
    folder = shelf(home) / f".making-{check_free(home, name)}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def register(home: Path, name: str, folder: Path) -> Adapter:
    """Put a finished adapter into the library under a name: complete or not at all. The folder is moved.

    Raises AdapterError if the name is taken or the folder holds no sound adapter; then it stays where it is.
    """
    check_free(home, name)
    read(folder)
    if folder.resolve().parent != shelf(home).resolve():  # perhaps on another disk, where nothing moves at once
        beside = work_folder(home, name)
        shutil.copytree(folder, beside, dirs_exist_ok=True)
        shutil.rmtree(folder)
        folder = beside
    _name_card(folder, name)
    return _move(folder, shelf(home) / name)


def rename(home: Path, old: str, new: str) -> Adapter:
    """Give one of the home's own adapters another name."""
    folder = _own(home, old)
    check_free(home, new)
    moved = _move(folder, shelf(home) / new)
    _name_card(moved.folder, new)
    return read(moved.folder)


def remove(home: Path, name: str) -> None:
    """Delete one of the home's own adapters; it disappears at once, and then its files do."""
    folder = _own(home, name)
    gone = folder.with_name(f".removing-{name}")
    shutil.rmtree(gone, ignore_errors=True)
    folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def export(home: Path, name: str, target: Path) -> Path:
    """Write an adapter as a .zip, which `import_adapter` reads, and return its path.

    Args:
        home: folder of the collections.
        name: of the adapter, or its folder.
        target: the file; or a folder, where the file gets the adapter's name.
    """
    adapter = find(name, home)
    target = target.expanduser()
    if target.is_dir():
        target = target / f"{adapter.name}.zip"
    pack(adapter.folder, adapter.name, target)
    return target


def import_adapter(home: Path, source: Path, name: str, base: str = "") -> Adapter:
    """Take an adapter made elsewhere by peft, or exported by ragkit, into the library.

    Args:
        home: folder of the collections.
        source: a folder, or a .zip of one. Only safetensors and tables are taken.
        name: what it shall be called.
        base: the model it was trained on; if empty, the one that the adapter names.

    Raises AdapterError if it does not fit the base, ModelError if the base is not there.
    """
    folder = work_folder(home, name)
    try:
        take(source.expanduser(), folder)
        found = read(folder)
        if not found.card and not (folder / CONFIG).is_file():
            raise AdapterError(f"{source} is a model and no adapter.", "Give its folder as the model.")
        base = base or found.base
        if not base:
            raise AdapterError(f"{source} does not say which model it belongs to.", "Name its base.")
        resolved = models.resolve(base, "embedder" if found.task == "extract" else "generator")
        check_base(found, resolved)
        if (folder / CONFIG).is_file():
            adapter_fit.check(folder, resolved, found.task)
        own = {
            "format": FORMAT,
            "task": found.task,
            "method": found.method,
            "template": "",
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "ragkit": importlib.metadata.version("ragkit"),
        }
        fixed = {"name": name, "base": base, "base_sha256": resolved.sha256, "source": "imported"}
        _write_card(folder, {**own, **found.card, **fixed})
        return register(home, name, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _own(home: Path, name: str) -> Path:
    folder = shelf(home) / name
    if Path(name).name == name and not name.startswith((".", "_")) and folder.is_dir():
        return folder
    if find(name, home).bundled:
        raise AdapterError(f"The adapter {name!r} comes with ragkit and stays as it is.", "Export it to get a copy.")
    raise AdapterError(
        f"{name!r} is no adapter of {shelf(home)}.", "Give the name of one that `ragkit adapters` lists."
    )


def _move(folder: Path, target: Path) -> Adapter:
    try:
        folder.rename(target)
    except OSError as error:  # somebody else was faster, or the disk refuses
        raise AdapterError(f"{target} cannot be written: {error}.", "Take another name.") from error
    return read(target)


def _name_card(folder: Path, name: str) -> None:
    if (folder / CARD).is_file():
        _write_card(folder, {**read_json(folder / CARD), "name": name})


def _write_card(folder: Path, card: Mapping[str, Any]) -> None:
    unfinished = folder / f".{CARD}"
    with unfinished.open("w", encoding="utf-8") as file:
        file.write(json.dumps(card, indent=1, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(folder / CARD)
