"""The training loop: one for every task and method.

Tasks give batches and losses, methods say which weights learn; this module steps, looks at held-out rows, keeps the
best weights, writes checkpoints and can be stopped, killed and continued. Everything random follows from the seed and
the step's number, so a run that was killed and continued takes the same steps as one that was not.
"""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load_file, save_file

from ragkit.errors import Cancelled, RagkitError
from ragkit.settings import TuneSettings
from ragkit.tune.rows import Listen, Outcome, Point, Row, Stop

WARM_UP = 0.06
"""Share of the steps over which the learning rate rises; then it falls to 0 along a cosine."""
CLIP = 1.0
"""Largest norm of the gradient (Pascanu et al. 2013)."""
CHECKPOINT_SECONDS = 60
HELD_MOST = 300
"""Held-out rows that a look reads, drawn once: their mean loss has a standard error of a few per cent, and more rows
would take longer than the steps between two looks."""
_STATE = "state.json"
_TENSORS = "state.safetensors"


class TrainingFailed(RagkitError):
    """A training that went wrong: no finite loss, no room on the disk."""


class Task(Protocol):
    """What is learnt: how rows become batches, and a batch a loss."""

    model: Any

    def plan(self, rows: Sequence[Row], batch: int, draw: random.Random | None) -> list[list[Any]]:
        """Steps, each a list of batches that fit into memory; shuffled by `draw`, in order without one."""
        ...

    def loss(self, batch: Any, draw: random.Random | None) -> tuple[torch.Tensor, int]:  # noqa: ANN401
        """Sum of the losses of a batch, and over how many targets."""
        ...

    def tokens(self, batch: Any) -> int:  # noqa: ANN401
        """Tokens of a batch, padding not counted."""
        ...


@dataclass
class _State:
    """What a checkpoint keeps besides tensors."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    best: float = math.inf
    best_step: int = 0
    looks_since: int = 0
    over: str = ""
    """Why the training is finished; empty while it is not."""


class Trainer:
    """Trains the parameters of a task's model that require a gradient.

    Args:
        task: gives batches and losses; its model is in place, wrapped by a method.
        settings: complete, without zeros.
        train, held: rows; without held-out rows the last weights are kept.
        folder: for checkpoints; a checkpoint of the same training is continued.
    """

    def __init__(
        self, task: Task, settings: TuneSettings, train: Sequence[Row], held: Sequence[Row], folder: Path | None = None
    ) -> None:
        self._task, self._settings = task, settings
        self._train = train
        self._held = held if len(held) <= HELD_MOST else drawn(settings.seed, "held", 0).sample(list(held), HELD_MOST)
        self._folder = folder
        self._weights = {name: value for name, value in task.model.named_parameters() if value.requires_grad}
        # Steps are too small for bfloat16: weights of that type are copies of these, made anew after each step.
        self._masters = {name: value.detach().float().clone() for name, value in self._weights.items()}
        per_epoch = len(self._steps_of(0))
        self.steps = max(1, math.ceil(per_epoch * settings.epochs))
        self._per_epoch = per_epoch
        self._optimiser = torch.optim.AdamW(
            self._masters.values(), lr=settings.learning_rate, betas=(0.9, 0.999), weight_decay=0.0
        )
        self._state = _State()
        self._best: dict[str, torch.Tensor] = {}
        self._losses: list[float] = []
        self._since = 0.0
        self._recent: list[tuple[float, int]] = []
        self._restore()

    def run(self, listen: Listen, should_stop: Stop) -> Outcome:
        """Train to the end. Raises Cancelled after writing a checkpoint when asked to stop."""
        state, settings = self._state, self._settings
        every = max(1, round(self.steps / max(1, settings.looks)))
        self._since = time.monotonic() - state.seconds
        saved = time.monotonic()
        if state.step == 0 and self._held:
            self._look(listen)
        while not state.over and state.step < self.steps:
            if should_stop():
                self._checkpoint()
                raise Cancelled("The training was stopped.", "Start it again to go on where it ended.")
            if not self._step():
                state.over = "the loss was not finite"
                break
            state.seconds = time.monotonic() - self._since
            looked = bool(self._held) and (state.step % every == 0 or state.step == self.steps)
            if looked:
                self._look(listen)
            else:
                listen(self._point())
            if looked or time.monotonic() - saved > CHECKPOINT_SECONDS:
                self._checkpoint()
                saved = time.monotonic()
        state.over = state.over or "all steps"
        if self._best:
            self._set(self._best)
        elif state.over == "the loss was not finite":
            raise TrainingFailed(
                f"The loss was not finite in step {state.step}, before anything was learnt.",
                "Take a lower learning rate, or look for rows with odd characters.",
            )
        self._checkpoint()
        last = sum(self._losses[-20:]) / len(self._losses[-20:]) if self._losses else None
        return Outcome(
            state.step,
            self.steps,
            state.best_step if self._held else state.step,
            state.best if math.isfinite(state.best) else None,
            last,
            state.tokens,
            state.seconds,
            state.over,
        )

    def _steps_of(self, epoch: int) -> list[list[Any]]:
        return self._task.plan(self._train, self._settings.batch, drawn(self._settings.seed, "epoch", epoch))

    def _step(self) -> bool:
        """One step of the optimiser; False, and nothing changed, if the loss or the gradient is not finite."""
        state, settings = self._state, self._settings
        epoch, place = divmod(state.step, self._per_epoch)
        if place == 0 or not hasattr(self, "_planned") or self._planned[0] != epoch:
            self._planned = (epoch, self._steps_of(epoch))
        batches = self._planned[1][place]
        torch.manual_seed(drawn(settings.seed, "dropout", state.step).getrandbits(62))
        draw = drawn(settings.seed, "step", state.step)
        rate = settings.learning_rate * schedule(state.step, self.steps)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        begun = time.monotonic()
        self._task.model.train()
        self._optimiser.zero_grad(set_to_none=True)
        total, count, tokens = 0.0, 0, 0
        for batch in batches:  # gradients of sums: the mean over the step is right however rows fell into batches
            loss, targets = self._task.loss(batch, draw)
            value = float(loss.detach())
            if not math.isfinite(value):
                return False
            loss.backward()
            self._collect()
            total, count, tokens = total + value, count + targets, tokens + self._task.tokens(batch)
        for master in self._masters.values():
            if master.grad is not None:
                master.grad /= max(1, count)
        norm = torch.nn.utils.clip_grad_norm_(list(self._masters.values()), CLIP)
        if not bool(torch.isfinite(norm)):
            return False
        self._optimiser.step()
        self._set(self._masters)
        state.step += 1
        state.tokens += tokens
        self._losses.append(total / max(1, count))
        self._recent = [*self._recent[-19:], (time.monotonic() - begun, tokens)]
        return True

    def _collect(self) -> None:
        """Add the gradients of the weights to those of their masters, in float32."""
        for name, weight in self._weights.items():
            if weight.grad is None:
                continue
            master = self._masters[name]
            gradient = weight.grad.float()
            master.grad = gradient if master.grad is None else master.grad + gradient
            weight.grad = None

    def learnt(self) -> dict[str, torch.Tensor]:
        """The weights as they are in float32, by name."""
        return {name: value.detach() for name, value in self._masters.items()}

    def held_out_loss(self) -> float:
        """Mean loss over the targets of the held-out rows."""
        self._task.model.eval()
        total, count = 0.0, 0
        with torch.no_grad():
            for step in self._task.plan(self._held, self._settings.batch, None):
                for batch in step:
                    loss, targets = self._task.loss(batch, None)
                    total, count = total + float(loss), count + targets
        return total / max(1, count)

    def _look(self, listen: Listen) -> None:
        """Measure the held-out loss; keep the weights if it is the best, end if it has not been for long."""
        state, settings = self._state, self._settings
        loss = self.held_out_loss()
        if loss < state.best:
            state.best, state.best_step, state.looks_since = loss, state.step, 0
            self._best = {name: value.detach().clone() for name, value in self._masters.items()}
        elif math.isfinite(loss):
            state.looks_since += 1
        else:
            state.over = "the loss was not finite"
        if settings.patience and state.looks_since >= settings.patience:
            state.over = "no better on held-out rows"
        state.seconds = time.monotonic() - self._since
        listen(replace(self._point(), held_out_loss=loss))

    def _point(self) -> Point:
        state = self._state
        seconds = sum(each for each, _ in self._recent)
        rate = sum(tokens for _, tokens in self._recent) / seconds if seconds else 0.0
        left = (self.steps - state.step) * seconds / len(self._recent) if self._recent else None
        recent = self._losses[-20:]
        return Point(
            step=state.step,
            steps=self.steps,
            tokens=state.tokens,
            seconds=state.seconds,
            loss=sum(recent) / len(recent) if recent else None,
            learning_rate=self._settings.learning_rate * schedule(max(0, state.step - 1), self.steps),
            tokens_per_second=rate,
            left=left,
        )

    # Checkpoints: safetensors and JSON in a folder that is renamed into place

    def _checkpoint(self) -> None:
        if self._folder is None:
            return
        tensors = {f"weight.{name}": value.detach() for name, value in self._masters.items()}
        tensors |= {f"best.{name}": value for name, value in self._best.items()}
        for name, value in self._masters.items():
            kept = self._optimiser.state.get(value, {})
            tensors |= {f"{key}.{name}": kept[key] for key in ("exp_avg", "exp_avg_sq") if key in kept}
        fresh, place = self._folder / "checkpoint.new", self._folder / "checkpoint"
        try:
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(parents=True)
            save_file({name: value.contiguous() for name, value in tensors.items()}, fresh / _TENSORS)
            state = {**asdict(self._state), "identity": self._identity(), "losses": self._losses[-20:]}
            with (fresh / _STATE).open("w", encoding="utf-8") as file:
                json.dump(state, file)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            shutil.rmtree(fresh, ignore_errors=True)
            raise TrainingFailed(
                f"A checkpoint cannot be written to {self._folder}: {error}.",
                "Make room on the disk and start it again; it goes on from the last checkpoint.",
            ) from error
        shutil.rmtree(place, ignore_errors=True)
        fresh.rename(place)

    def _identity(self) -> str:
        """What a checkpoint must agree with to be continued."""
        shapes = {name: list(value.shape) for name, value in self._weights.items()}
        rows = [row.id for row in self._train]
        return json.dumps([asdict(self._settings), shapes, len(rows), rows[:1], rows[-1:]], sort_keys=True)

    def _restore(self) -> None:
        """Take up a checkpoint; one that was being renamed when the process died is found under its new name."""
        if self._folder is None:
            return
        for place in (self._folder / "checkpoint", self._folder / "checkpoint.new"):
            try:
                kept = json.loads((place / _STATE).read_text(encoding="utf-8"))
                tensors = load_file(place / _TENSORS)
            except (OSError, ValueError):
                continue
            if kept.pop("identity", None) != self._identity():
                continue
            self._losses = kept.pop("losses", [])
            self._state = _State(**kept)
            self._take(tensors)
            return

    def _take(self, tensors: dict[str, torch.Tensor]) -> None:
        self._set({name: tensors[f"weight.{name}"] for name in self._weights})
        self._best = {name: tensors[f"best.{name}"] for name in self._weights if f"best.{name}" in tensors}
        for name, value in self._masters.items():
            if f"exp_avg.{name}" in tensors:
                self._optimiser.state[value] = {
                    "step": torch.tensor(float(self._state.step)),
                    "exp_avg": tensors[f"exp_avg.{name}"].to(value.device),
                    "exp_avg_sq": tensors[f"exp_avg_sq.{name}"].to(value.device),
                }

    def _set(self, values: dict[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for name, value in self._weights.items():
                value.copy_(values[name])
                self._masters[name].copy_(values[name])


def schedule(step: int, steps: int) -> float:
    """Part of the learning rate in a step, 0 to 1: a linear rise, then half a cosine (Loshchilov and Hutter 2017)."""
    warm = max(1, round(WARM_UP * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def drawn(seed: int, what: str, number: int) -> random.Random:
    """The random numbers for one purpose in one step or epoch: the same in a run that was killed and continued."""
    return random.Random(f"{seed} {what} {number}")
