"""The door to tuning: from a plan to an adapter in the library.

prepare (rows, as they will be asked) -> train (checkpoints in the plan's folder) -> calibrate (readers) -> save, load
again and compare -> register. Each stage leaves its result in the folder; a run that died goes on behind the last one.
"""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ragkit import adapters, models
from ragkit.adapter_files import CONFIG, AdapterError
from ragkit.adapters import Adapter
from ragkit.cache import file_sha256
from ragkit.catalog import TASKS, TUNERS
from ragkit.errors import SettingsError
from ragkit.evaluate.answers import f1
from ragkit.generate.chat import ChatTokenizer
from ragkit.sets import Sets
from ragkit.settings import RetrieveSettings, TuneSettings
from ragkit.tune.card import LOG, add_questions, card_of, read_log
from ragkit.tune.rows import Estimate, Listen, Point, Prepared, Reply, Stop
from ragkit.tuning_data import Sources, gather, prepare
from ragkit.types import digest, from_json, to_json
from ragkit.workbench import Workbench

__all__ = ["Estimate", "Point", "TunePlan", "check", "discard", "estimate", "prepare_plan", "read_log", "tune"]

_ROWS = "rows.json.z"


@dataclass(frozen=True, slots=True)
class TunePlan:
    """Everything that decides what a training makes."""

    name: str
    """What the adapter will be called."""
    sources: Sources
    settings: TuneSettings = field(default_factory=TuneSettings)
    retrieve: RetrieveSettings = field(default_factory=RetrieveSettings)
    against: tuple[str, ...] = ()
    """Evaluation sets whose questions, and near-duplicates of them, are not trained on."""


def check(workbench: Workbench, plan: TunePlan) -> None:
    """Refuse a plan that cannot be carried out, before any work. Raises the RagkitError that says why."""
    settings = plan.settings
    adapters.check_free(workbench.collection.home, plan.name)
    TUNERS.row(settings.method)
    workbench.templates.get(settings.template)
    models.resolve(settings.base, _kind(settings))
    going_on(workbench, settings)
    for name in plan.against:
        Sets(workbench.collection).questions(name)
    for name, low, high in (
        ("batch", 1, 4096), ("batch_tokens", 64, 2**20), ("max_tokens", 16, 2**20), ("passages", 1, 50),
        ("absent", 0, 0.9), ("holdout", 0, 0.9), ("dropout", 0, 0.9), ("epochs", 0, 1000), ("rank", 0, 1024),
        ("learning_rate", 0, 1), ("looks", 1, 1000), ("patience", 0, 1000), ("alpha", 0, 4096),
    ):  # fmt: skip
        value = getattr(settings, name)
        if not low <= value <= high:
            raise SettingsError(f"{name} is {value}.", f"It lies from {low} to {high}.")


def going_on(workbench: Workbench, settings: TuneSettings) -> tuple[TuneSettings, Adapter | None]:
    """The adapter that a training begins with, and the settings with its rank and scale; None and as they are without.

    Raises AdapterError or ModelError for one that does not fit, SettingsError for another rank or scale than its own.
    """
    if not settings.start:
        return settings, None
    found = adapters.find(settings.start, workbench.collection.home)
    adapters.check_base(found, models.resolve(settings.base, _kind(settings)))
    if (found.task, found.method, settings.method) != (settings.task, "lora", "lora"):
        raise AdapterError(
            f"The adapter {found.name} ({found.task}, {found.method}) cannot begin a training of {settings.method} for"
            f" {settings.task}.",
            "Go on from a LoRA adapter of the same task, with the method lora.",
        )
    config = json.loads((found.folder / CONFIG).read_text(encoding="utf-8"))
    own = {
        "rank": int(config["r"]), "alpha": int(config["lora_alpha"]),
        "rslora": bool(config.get("use_rslora")), "dora": bool(config.get("use_dora")),
    }  # fmt: skip
    for name in ("rank", "alpha"):
        if getattr(settings, name) not in (0, own[name]):
            raise SettingsError(
                f"{name} is {getattr(settings, name)}, but {found.name} has {own[name]}.",
                f"Leave {name} at 0 to go on from it.",
            )
    return replace(settings, **own), found


def prepare_plan(
    workbench: Workbench,
    plan: TunePlan,
    folder: Path,
    listen: Callable[[int, int], None] | None = None,
    should_stop: Stop = lambda: False,
) -> Prepared:
    """The rows of a plan, made once and kept in its folder."""
    key = digest([plan.sources, plan.settings, plan.retrieve, plan.against, _files_sha256(plan.sources)])
    file = folder / _ROWS
    try:
        kept = json.loads(zlib.decompress(file.read_bytes()))
        if kept["key"] == key:
            return from_json(Prepared, kept["rows"])
    except (OSError, ValueError, KeyError, zlib.error):
        pass
    sets = Sets(workbench.collection)
    against = [question for name in plan.against for question in sets.questions(name)]
    pairs = gather(workbench, plan.sources)
    made = prepare(
        workbench, pairs, plan.settings, plan.retrieve, against=against, listen=listen, should_stop=should_stop
    )
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".new")
    unfinished.write_bytes(zlib.compress(json.dumps({"key": key, "rows": to_json(made)}).encode(), 1))
    unfinished.replace(file)
    return made


def _files_sha256(sources: Sources) -> list[str]:
    return [file_sha256(Path(name).expanduser()) for name in sources.files if Path(name).expanduser().is_file()]


def estimate(workbench: Workbench, settings: TuneSettings, prepared: Prepared) -> Estimate:
    """What a training will take, from some of its own steps. Takes some seconds.

    Raises ModelError if the base cannot be loaded.
    """
    found: Estimate = _run(*going_on(workbench, settings), prepared).estimate()
    return found


def tune(
    workbench: Workbench,
    plan: TunePlan,
    folder: Path,
    listen: Listen = lambda _: None,
    should_stop: Stop = lambda: False,
) -> Adapter:
    """Train an adapter and put it into the library under the plan's name.

    Args:
        workbench: the collection whose retrieval the rows are made with.
        plan: what to train.
        folder: the run's own; holds rows, checkpoints and the log. The same folder again goes on where it ended.
        listen: gets a Point at every step.
        should_stop: True ends the run with Cancelled, after a checkpoint.

    Raises TuningError, TrainingFailed or another RagkitError; nothing is registered then.
    """
    check(workbench, plan)
    folder.mkdir(parents=True, exist_ok=True)
    prepared = prepare_plan(
        workbench, plan, folder, lambda done, total: listen(Point(done, total, phase="preparing")), should_stop
    )
    settings, start = going_on(workbench, plan.settings)
    run = _run(settings, start, prepared)
    sweep = run.sweep(folder, listen, should_stop) if plan.settings.sweep else {}
    outcome = run.train(folder, listen, should_stop)
    listen(Point(outcome.step, outcome.steps, outcome.tokens, outcome.seconds, phase="checking"))
    calibration = run.calibrate(_best_f1, should_stop)
    card = card_of(
        run.settings,
        prepared,
        outcome,
        base_sha256=models.resolve(plan.settings.base, _kind(plan.settings)).sha256,
        template_sha256=workbench.templates.get(plan.settings.template).sha256,
        trainable=run.trainable,
        retrieve=to_json(plan.retrieve),
        sources=to_json(replace(plan.sources, files=tuple(Path(file).name for file in plan.sources.files))),
        **({"sweep": {f"{rate:g}": loss for rate, loss in sweep.items()}} if sweep else {}),
        **({"calibration": to_json(calibration)} if calibration else {}),
        **({"start": {"name": start.name, "sha256": start.sha256}} if start else {}),
    )
    home = workbench.collection.home
    finished = adapters.work_folder(home, plan.name)
    try:
        run.save(finished, card)
        if start is not None:
            add_questions(finished, start.folder)
        shutil.copyfile(folder / LOG, finished / LOG)
        adapter = adapters.register(home, plan.name, finished)
    finally:
        shutil.rmtree(finished, ignore_errors=True)
    discard(folder)
    return adapter


def discard(folder: Path) -> None:
    """Throw a run's folder away: its rows, checkpoints and log."""
    shutil.rmtree(folder, ignore_errors=True)


def _kind(settings: TuneSettings) -> models.Kind:
    return "embedder" if settings.task == "extract" else "generator"


def _run(settings: TuneSettings, start: Adapter | None, prepared: Prepared) -> Any:  # noqa: ANN401 - a Run of run.py
    source = models.as_safetensors(models.resolve(settings.base, _kind(settings)))
    replies = {}
    if settings.task == "generate":
        chat = ChatTokenizer(settings.base)
        replies = {
            row.id: Reply(tuple(chat.encode(row.prompt)), tuple(chat.reply(row.prompt, row.target)))
            for row in (*prepared.train, *prepared.held)
            if row.prompt is not None
        }
    begin = start.folder if start else None
    return TASKS.load(settings.task)(settings, TUNERS.load(settings.method), source, prepared, replies, begin)


def _best_f1(text: str, answers: Sequence[str]) -> float:
    return max(f1(text, answer) for answer in answers)
