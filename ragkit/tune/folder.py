"""The folder that a training leaves: its weights, the proof that they load again as they were, the calibration."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ragkit.span import Calibration
from ragkit.tune.card import write_card, write_questions
from ragkit.tune.loop import Task, TrainingFailed
from ragkit.tune.rows import Row

TOLERANCE = 1e-4
"""Largest difference of a logit, in float32, that a reloaded adapter may show: sums in another order, nothing else."""
_PROBED = 4


def save(method: Any, model: Any, folder: Path, card: Mapping[str, Any], rows: Sequence[Row]) -> None:  # noqa: ANN401
    """Write weights, card and the questions that were trained on (for the leak check of an evaluation)."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        method.save(model, folder)
        _name_base(folder, str(card["base"]))
        write_questions(folder, [row.question for row in rows])
        write_card(folder, card)
    except OSError as error:
        raise TrainingFailed(f"The adapter cannot be written to {folder}: {error}.", "Make room and go on.") from error


def _name_base(folder: Path, base: str) -> None:
    """Let the adapter's configuration name its base as it was asked for, not where it lies on this machine."""
    file = folder / "adapter_config.json"
    if file.is_file():
        config = json.loads(file.read_text(encoding="utf-8"))
        config["base_model_name_or_path"] = base
        file.write_text(json.dumps(config, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def probe(task: Any, rows: Sequence[Row]) -> list[torch.Tensor]:  # noqa: ANN401 - a Task with `probe`
    """Logits of the first rows, in float32 and without dropout, to hold against a reloaded adapter's."""
    task.model.eval()
    with torch.no_grad():
        return [task.probe(row).float().cpu() for row in rows[:_PROBED]]


def check_reload(before: Sequence[torch.Tensor], task: Task, rows: Sequence[Row], folder: Path) -> float:
    """Largest difference between the logits before saving and those of the adapter as read from its folder.

    Raises TrainingFailed beyond TOLERANCE, relative to the largest logit: such an adapter would answer otherwise than
    what was measured.
    """
    after = probe(task, rows)
    largest = max(float(each.abs().max()) for each in before)
    difference = max(float((one - two).abs().max()) for one, two in zip(before, after, strict=True))
    if not difference <= TOLERANCE * max(1.0, largest):
        raise TrainingFailed(
            f"The adapter in {folder} gives other logits than the model it was saved from (by {difference:.2g}).",
            "It is not registered. Report this with the method and the model; the training's log is kept.",
        )
    return difference


FALSE_ANSWERS = 0.3
"""Share of the unanswerable held-out questions that a reader may answer at its threshold. A wrong quotation costs more
than none: the language model is asked next. Questions written to mislead, as SQuAD 2.0's unanswerable ones are, allow
three in ten before right answers get lost in numbers; of questions about other matters nearly none pass."""


def calibrate(margins: Sequence[float], right: Sequence[bool], hard: Sequence[bool]) -> Calibration:
    """Fit confidence and threshold of a reader on held-out questions.

    Args:
        margins: of the best span over "not here", in logits.
        right: whether that span is a right answer; False for every question without one.
        hard: the unanswerable questions by which the threshold is set.

    Confidence is Platt's sigmoid (1999) with his smoothed targets. The threshold is the lowest at which at most
    FALSE_ANSWERS of the hard questions are answered.
    """
    values, labels = np.array(margins, dtype=float), np.array(right, dtype=bool)
    fits = np.isfinite(values)
    values, labels, kinds = values[fits], labels[fits], np.array(hard, dtype=bool)[fits]
    if not len(values):
        return Calibration()
    positive, negative = int(labels.sum()), int((~labels).sum())
    high, low = (positive + 1) / (positive + 2), 1 / (negative + 2)
    slope, offset = _logistic(values, np.where(labels, high, low))
    fitted = Calibration(slope, offset)
    if not kinds.any():
        return fitted
    wrong = np.sort([fitted.confidence(value) for value in values[kinds]])
    allowed = int(FALSE_ANSWERS * len(wrong))
    threshold = float(wrong[len(wrong) - allowed - 1]) if allowed < len(wrong) else 0.0
    return Calibration(slope, offset, min(1.0, round(threshold + 5e-4, 3)))


def _logistic(values: np.ndarray, targets: np.ndarray) -> tuple[float, float]:
    """Slope and offset of a logistic curve, by Newton's method with a slight pull to zero; the slope stays positive."""
    weights = np.zeros(2)
    inputs = np.stack([values, np.ones_like(values)], axis=1)
    for _ in range(50):
        curve = 1 / (1 + np.exp(-np.clip(inputs @ weights, -30, 30)))
        gradient = inputs.T @ (curve - targets) + 1e-3 * weights
        hessian = (inputs * (curve * (1 - curve))[:, None]).T @ inputs + 1e-3 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        weights -= step
        if float(np.abs(step).max()) < 1e-8:
            break
    return max(1e-3, float(weights[0])), float(weights[1])
