"""Methods: which weights learn, how many, and with which defaults. Rows of TUNERS in `ragkit/catalog.py`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import peft
import torch
from safetensors.torch import load_file, save_file

from ragkit.settings import TuneSettings
from ragkit.tune.dropout import share
from ragkit.tune.loop import TrainingFailed

_HALF_MOST = 6e4
"""Weights beyond this do not fit float16."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """What the settings leave open."""

    rank: int
    learning_rate: float
    epochs: float


_LORA = {
    "extract": ((10**9, Defaults(32, 7e-4, 2)), (10**12, Defaults(32, 2e-4, 2))),
    "generate": ((5 * 10**8, Defaults(8, 5e-4, 3)), (10**12, Defaults(16, 2e-4, 3))),
}
"""By task: (up to so many parameters, defaults). LoRA wants about ten times the rate of full tuning (Schulman et al.
2025, "LoRA without regret"), small models more than large ones; 2e-4 with rank 16 is what Hu et al. (2022) and QLoRA
use from a billion parameters on. The rates for the built-in models were compared with `--sweep`."""
_FULL = {
    "extract": ((10**9, Defaults(0, 1e-4, 3)), (10**12, Defaults(0, 3e-5, 2))),
    "generate": ((5 * 10**8, Defaults(0, 5e-5, 2)), (10**12, Defaults(0, 1e-5, 2))),
}
"""Devlin et al. (2019) take 3e-5 for span heads on 110M parameters; a sixth of that size takes three times as much."""


def _of_size(table: tuple[tuple[int, Defaults], ...], parameters: int) -> Defaults:
    return next((row for limit, row in table if parameters <= limit), table[-1][1])


def _completed(settings: TuneSettings, defaults: Defaults) -> TuneSettings:
    rank = settings.rank or defaults.rank
    return replace(
        settings,
        rank=rank,
        alpha=settings.alpha or 2 * rank,
        learning_rate=float(settings.learning_rate or defaults.learning_rate),
        epochs=float(settings.epochs or defaults.epochs),
    )


class Lora:
    """Low-rank adaptation (Hu et al. 2022) of every linear layer; the weights of the base stay as they are.

    With `rslora` the update is scaled by alpha / sqrt(rank) (Kalajdzievski 2023), with `dora` its length is learnt
    apart from its direction (Liu et al. 2024).
    """

    keeps_base: ClassVar[bool] = True

    @staticmethod
    def complete(settings: TuneSettings, parameters: int) -> TuneSettings:
        """The settings with this method's defaults for a model of so many parameters."""
        return _completed(settings, _of_size(_LORA[settings.task], parameters))

    @staticmethod
    def wrap(model: Any, settings: TuneSettings, kind: str) -> Any:  # noqa: ANN401 - a transformers model
        """The model with trainable adapter weights, in its own type. `kind` is peft's name of the task."""
        config = peft.LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            lora_dropout=settings.dropout,
            use_rslora=settings.rslora,
            use_dora=settings.dora,
            target_modules="all-linear",
            exclude_modules=["qa_outputs"] if kind == "QUESTION_ANS" else None,  # a span head learns whole
            task_type=kind,
        )
        wrapped = peft.get_peft_model(model, config, autocast_adapter_dtype=False)
        share(wrapped)
        return wrapped

    @staticmethod
    def start(model: Any, folder: Path) -> None:  # noqa: ANN401
        """Let a wrapped model begin with the weights of an adapter. Raises TrainingFailed if they do not fit."""
        try:
            found = peft.set_peft_model_state_dict(model, load_file(folder / "adapter_model.safetensors"))
            strange = list(found.unexpected_keys)
        except RuntimeError as error:  # of another shape
            strange = [str(error).splitlines()[-1].strip()]
        if strange:
            raise TrainingFailed(
                f"The adapter {folder.name} has weights for other places than these: {strange[0]}.",
                "Go on from an adapter that was trained here, or begin anew.",
            )

    @staticmethod
    def round(model: Any) -> None:  # noqa: ANN401
        """Round what was learnt to float16, as it will be saved, so that what is measured is what is kept."""
        for parameter in model.parameters():
            if parameter.requires_grad and float(parameter.detach().abs().max()) < _HALF_MOST:
                parameter.data = parameter.data.to(torch.float16).to(torch.float32)

    @staticmethod
    def save(model: Any, folder: Path) -> None:  # noqa: ANN401
        """Write the adapter in PEFT's format: float16 where that is exact, else float32."""
        model.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)
        file = folder / "adapter_model.safetensors"
        state = load_file(file)
        halved = {name: value.to(torch.float16) for name, value in state.items()}
        if all(torch.equal(halved[name].float(), value.float()) for name, value in state.items()):
            save_file(halved, file, metadata={"format": "pt"})

    @staticmethod
    def load(model: Any, folder: Path, trainable: bool = False) -> Any:  # noqa: ANN401
        """The base with the adapter of a folder."""
        return peft.PeftModel.from_pretrained(model, folder, is_trainable=trainable, use_safetensors=True)


class Full:
    """Every weight learns. The result is a model of its own, as large as the base."""

    keeps_base: ClassVar[bool] = False

    @staticmethod
    def complete(settings: TuneSettings, parameters: int) -> TuneSettings:
        """The settings with this method's defaults for a model of so many parameters."""
        return _completed(settings, _of_size(_FULL[settings.task], parameters))

    @staticmethod
    def wrap(model: Any, settings: TuneSettings, kind: str) -> Any:  # noqa: ANN401, ARG004
        """The model itself in float32: small steps vanish when they are added to bfloat16 weights."""
        return model.float()

    @staticmethod
    def round(model: Any) -> None:  # noqa: ANN401
        """Nothing to round: all weights are kept in float32."""

    @staticmethod
    def save(model: Any, folder: Path) -> None:  # noqa: ANN401
        """Write the model in transformers' format."""
        model.save_pretrained(folder)

    @staticmethod
    def load(model: Any, folder: Path, trainable: bool = False) -> Any:  # noqa: ANN401, ARG004
        """The tuned model; the base only says of which class it is."""
        return type(model).from_pretrained(folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False)
