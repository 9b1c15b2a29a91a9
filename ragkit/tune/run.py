"""One training: a model, a method and rows put together, trained, calibrated, saved and read back."""

from __future__ import annotations

import gc
import json
import math
import random
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import psutil
import torch

from ragkit.errors import Cancelled
from ragkit.settings import TuneSettings
from ragkit.span import Calibration
from ragkit.tune import extract, folder, generate
from ragkit.tune.card import append, write_card
from ragkit.tune.loop import Trainer, TrainingFailed
from ragkit.tune.precision import device, half
from ragkit.tune.rows import Estimate, Listen, Outcome, Point, Prepared, Reply, Stop

SWEPT = (1 / 3, 1.0, 3.0)
"""Learning rates of a sweep, as multiples of the one that was asked for."""
_SWEEP_LEAST = 200
"""Rows that a sweep trains on at least, if there are so many; else a tenth of them."""
_CALIBRATED = 400
"""Held-out rows that calibrate a reader."""
_RIGHT = 0.5
"""F1 from which a quoted span counts as right when the confidence is fitted."""
_SPARE_BYTES = 64 * 2**20
_SWEEP = "sweep.json"


class Run:
    """A training in the making. The subclasses say what is learnt.

    Args:
        settings: zeros are filled with the defaults of the method for the model's size.
        method: a class of `ragkit/tune/methods.py`.
        source: folder of the base, as transformers reads it.
        prepared: the rows.
        replies: for each row's id what is read and what is to be written, in tokens (task generate only).
        start: folder of the adapter to go on from, of this method and rank.
    """

    task: ClassVar[Any]

    def __init__(
        self,
        settings: TuneSettings,
        method: Any,  # noqa: ANN401
        source: Path,
        prepared: Prepared,
        replies: Mapping[str, Reply] | None = None,
        start: Path | None = None,
    ) -> None:
        self._asked, self._method, self._source, self._start = settings, method, source, start
        self._prepared, self._replies = prepared, replies or {}
        self._build(settings)

    def _build(self, settings: TuneSettings) -> None:
        plain = self._load(half())
        self.parameters = sum(each.numel() for each in plain.parameters())
        self.settings: TuneSettings = self._method.complete(settings, self.parameters)
        self.model = self._wrapped(plain)
        if settings.checkpointing:
            plain.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
            plain.enable_input_require_grads()
        self.trainable = sum(each.numel() for each in self.model.parameters() if each.requires_grad)
        self.learner = self._learner(self.model)

    def _wrapped(self, plain: Any) -> Any:  # noqa: ANN401
        torch.manual_seed(self.settings.seed)  # of the new weights
        model = self._method.wrap(plain, self.settings, self._peft_name(plain))
        if self._start is not None:
            self._method.start(model, self._start)
        return model

    def _load(self, dtype: torch.dtype) -> Any:  # noqa: ANN401
        raise NotImplementedError

    def _peft_name(self, model: Any) -> str:  # noqa: ANN401
        raise NotImplementedError

    def _learner(self, model: Any) -> Any:  # noqa: ANN401
        raise NotImplementedError

    def estimate(self) -> Estimate:
        """What the training will take: its longest batch for the memory, some of its steps for the time."""
        process, prepared = psutil.Process(), self._prepared
        steps = Trainer(self.learner, self.settings, prepared.train, ()).steps
        planned = [batch for step in self.learner.plan(prepared.train, self.settings.batch, None) for batch in step]
        tokens = sum(self.learner.tokens(batch) for batch in planned) * self.settings.epochs
        peak, spent, read = process.memory_info().rss, 0.0, 0
        middle = len(planned) // 2
        for number, batch in enumerate([planned[-1], *planned[middle : middle + 3]]):
            begun = time.perf_counter()
            loss, _ = self.learner.loss(batch, None)
            peak = max(peak, process.memory_info().rss)
            loss.backward()
            peak = max(peak, process.memory_info().rss)
            self.model.zero_grad(set_to_none=True)
            if number:  # the first pass pays for kernels that later ones find
                spent += time.perf_counter() - begun
                read += self.learner.tokens(batch)
        rate = read / spent if spent else 0.0
        return Estimate(
            steps=steps,
            tokens=round(tokens),
            tokens_per_second=rate,
            seconds=tokens / rate if rate else 0.0,
            bytes=peak + 4 * 4 * self.trainable,  # masters, the optimiser's two moments and the best weights
            trainable=self.trainable,
            parameters=self.parameters,
        )

    def sweep(self, place: Path, listen: Listen, should_stop: Stop) -> dict[float, float]:
        """Take the best of three learning rates, by the held-out loss after one pass over a tenth of the rows.

        Returns the losses by rate, infinite where the training failed. Kept in the folder, so that it is done once.
        """
        file, rows = place / _SWEEP, self._prepared
        try:
            losses = {float(rate): float(loss) for rate, loss in json.loads(file.read_text(encoding="utf-8")).items()}
        except (OSError, ValueError):
            losses = {}
        count = min(len(rows.train), max(_SWEEP_LEAST, len(rows.train) // 10))
        part = rows.train[:: max(1, len(rows.train) // count)][:count]
        middle = self.settings.learning_rate
        for rate in [] if losses or not rows.held else [middle * factor for factor in SWEPT]:
            trial = replace(self.settings, learning_rate=rate, epochs=1, looks=1, patience=0)
            try:
                trainer = Trainer(self.learner, trial, part, rows.held)
                found = trainer.run(lambda point: listen(replace(point, phase="sweep")), should_stop).held_out_loss
            except TrainingFailed:
                found = None
            losses[rate] = math.inf if found is None else found
            del self.model, self.learner
            gc.collect()
            self._build(self._asked)
        if losses:
            file.write_text(json.dumps(losses), encoding="utf-8")
            self.settings = replace(self.settings, learning_rate=min(losses, key=lambda rate: losses[rate]))
        return losses

    def train(self, place: Path, listen: Listen, should_stop: Stop) -> Outcome:
        """Train with checkpoints and a log in a folder; afterwards the model is in float32, rounded as it is saved."""
        wanted = 2 * 4 * 4 * self.trainable + _SPARE_BYTES  # two checkpoints of weights, two moments, best weights
        free = shutil.disk_usage(place).free
        if free < wanted:
            raise TrainingFailed(
                f"{place} has {free >> 20:,} MiB free; the training needs {wanted >> 20:,} MiB for its checkpoints.",
                "Make room, or tune fewer weights: another method, or a lower rank.",
            )
        trainer = Trainer(self.learner, self.settings, self._prepared.train, self._prepared.held, place)

        def tell(point: Point) -> None:
            append(place, point)
            listen(point)

        outcome = trainer.run(tell, should_stop)
        learnt = trainer.learnt()
        del trainer, self.learner, self.model
        # From here on the base is as its file has it, not as bfloat16 has it: so will it be when it is asked.
        self.model = self._wrapped(self._load(torch.float32))
        settle(self.model, learnt)
        self._method.round(self.model)
        self.learner = self._learner(self.model)
        return outcome

    def calibrate(self, score: Callable[[str, Sequence[str]], float], should_stop: Stop) -> Calibration | None:
        """Confidence and threshold of a reader from held-out rows; None for what has none.

        `score` says how good a text is against the right ones, 0 to 1.
        """
        del score, should_stop

    def save(self, place: Path, card: dict[str, Any]) -> None:
        """Write the adapter with its card, load it again and compare; the card says by how much the logits differ.

        Raises TrainingFailed where they differ.
        """
        rows = self._prepared.held or self._prepared.train
        before = folder.probe(self.learner, rows)
        folder.save(self._method, self.model, place, card, (*self._prepared.train, *self._prepared.held))
        again = self._learner(self._method.load(self._load(torch.float32), place))
        difference = folder.check_reload(before, again, rows, place)
        write_card(place, {**card, "reload": {"max_logit_difference": difference}})


def settle(model: Any, learnt: Mapping[str, torch.Tensor]) -> None:  # noqa: ANN401
    """Put learnt weights into a model that was wrapped in the same way."""
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name in learnt:
                value.copy_(learnt[name])


class ExtractRun(Run):
    """An encoder learns to quote."""

    def _load(self, dtype: torch.dtype) -> Any:  # noqa: ANN401
        return extract.load(self._source, dtype, self._asked.dropout).to(device())

    def _peft_name(self, model: Any) -> str:  # noqa: ANN401, ARG002
        return extract.KIND

    def _learner(self, model: Any) -> Any:  # noqa: ANN401
        return extract.Extract(model, self._source, self._asked.batch_tokens)

    def calibrate(self, score: Callable[[str, Sequence[str]], float], should_stop: Stop) -> Calibration:
        """Confidence and threshold from what the reader makes of held-out rows."""
        margins, right, hard = [], [], []
        kinds = {row.kind for row in self._prepared.held or self._prepared.train}
        # A passage that was taken away is missed more easily than an answer that the passage nearly gives.
        hardest = "unanswerable" if "unanswerable" in kinds else "absent"
        rows = list(self._prepared.held or self._prepared.train)
        random.Random(self.settings.seed).shuffle(rows)  # rows lie in the order of their files
        for row in rows[:_CALIBRATED]:
            if should_stop():
                raise Cancelled("The training was stopped.", "Start it again to go on where it ended.")
            ((passage, start, end, margin),) = self.learner.read([row])
            wanted = [row.passages[span.passage][span.start : span.end] for span in row.spans]
            text = row.passages[passage][start:end] if passage >= 0 else ""
            margins.append(margin)
            right.append(bool(wanted) and score(text, wanted) >= _RIGHT)
            hard.append(row.kind == hardest)
        return folder.calibrate(margins, right, hard)


class GenerateRun(Run):
    """A language model learns to reply."""

    def _load(self, dtype: torch.dtype) -> Any:  # noqa: ANN401
        return generate.load(self._source, dtype).to(device())

    def _peft_name(self, model: Any) -> str:  # noqa: ANN401
        return generate.kind(model)

    def _learner(self, model: Any) -> Any:  # noqa: ANN401
        return generate.Generate(model, self._replies, self._asked.batch_tokens, self._asked.shared_evidence)
