"""What a training says of itself: the card of its adapter, its log, and the questions that it has seen."""

from __future__ import annotations

import gzip
import importlib.metadata
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ragkit.settings import TuneSettings
from ragkit.tune.rows import Outcome, Point, Prepared

CARD = "ragkit.json"
LOG = "log.jsonl"
QUESTIONS = "questions.jsonl.gz"
FORMAT = 1
"""Of the card."""
_LIBRARIES = ("torch", "transformers", "peft", "safetensors")


def append(folder: Path, point: Point) -> None:
    """Add a point to the training log; if the process dies meanwhile, the last line is broken and skipped."""
    values = {key: _short(value) for key, value in asdict(point).items() if value is not None}
    with (folder / LOG).open("a", encoding="utf-8") as file:
        file.write(json.dumps(values) + "\n")


def _short(value: float | str) -> float | str:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def read_log(folder: Path) -> list[Point]:
    """The points of a training in order of their steps; where it was killed and repeated steps, the later ones."""
    try:
        lines = (folder / LOG).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    points: dict[tuple[int, bool], Point] = {}
    for line in lines:
        try:
            point = Point(**json.loads(line))
        except (ValueError, TypeError):
            continue  # the process died while it wrote this line
        points[point.step, point.held_out_loss is not None] = point
    return [points[key] for key in sorted(points)]


def write_questions(folder: Path, questions: Iterable[str]) -> None:
    """Keep what was trained on, for the leak check of an evaluation; the same questions give the same bytes."""
    lines = "".join(json.dumps({"question": question}, ensure_ascii=False) + "\n" for question in questions)
    (folder / QUESTIONS).write_bytes(gzip.compress(lines.encode(), mtime=0))


def add_questions(folder: Path, start: Path) -> None:
    """Count what an earlier adapter was trained on to what one was that went on from it.

    Where the earlier one does not say, neither does the later one any more.
    """
    earlier = read_questions(start)
    if earlier is None:
        (folder / QUESTIONS).unlink(missing_ok=True)
    else:
        write_questions(folder, dict.fromkeys([*earlier, *(read_questions(folder) or ())]))


def read_questions(folder: Path) -> list[str] | None:
    """The questions that an adapter was trained on; None if its folder does not say. Raises ValueError if damaged."""
    path = folder / QUESTIONS
    if not path.is_file():
        return None
    try:
        lines = gzip.decompress(path.read_bytes()).decode().splitlines()
        return [str(json.loads(line)["question"]) for line in lines if line.strip()]
    except (OSError, EOFError, zlib.error, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: {error}.") from error


def write_card(folder: Path, card: Mapping[str, Any]) -> None:
    """Write the card alone."""
    (folder / CARD).write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def card_of(
    settings: TuneSettings,
    prepared: Prepared,
    outcome: Outcome,
    *,
    base_sha256: str,
    template_sha256: str,
    trainable: int,
    **more: object,
) -> dict[str, Any]:
    """What `ragkit.json` says: where the adapter is from and how its training went."""
    return {
        "format": FORMAT,
        "task": settings.task,
        "method": settings.method,
        "base": settings.base,
        "base_sha256": base_sha256,
        "template": settings.template,
        "template_sha256": template_sha256,
        "data_sha256": prepared.data_sha256,
        "rows": {"train": len(prepared.train), "held": len(prepared.held), "left_out": prepared.left_out},
        "settings": asdict(settings),
        "metrics": {
            "held_out_loss": outcome.held_out_loss,
            "loss": outcome.loss,
            "best_step": outcome.best_step,
            "steps": outcome.step,
            "planned_steps": outcome.steps,
            "ended": outcome.ended,
            "tokens": outcome.tokens,
            "seconds": round(outcome.seconds, 1),
            "tokens_per_second": round(outcome.tokens / outcome.seconds, 1) if outcome.seconds else None,
            "trainable_parameters": trainable,
        },
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "ragkit": importlib.metadata.version("ragkit"),
        "libraries": {name: importlib.metadata.version(name) for name in _LIBRARIES},
        "source": "trained",
        **more,
    }
