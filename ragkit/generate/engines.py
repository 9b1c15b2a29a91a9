"""Which engine runs a model when nobody says which."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from ragkit import adapters, models
from ragkit.generate import merge
from ragkit.protocols import Batching, Generator
from ragkit.types import Asked, Generation

AUTO = "auto"
"""The name that stands for "choose for me"."""


def choose(engine: str, model: str, adapter: str = "") -> str:
    """The engine's catalog name: openvino for GGUF files and OpenVINO folders on a CPU, else transformers.

    An adapter that cannot be merged needs transformers; so does a GPU, where the model can be read there. A name other
    than "auto" is returned as it is. Raises ModelError if the model or the adapter cannot be found.

    Args:
        engine: a name of the catalog, or "auto".
        model: a built-in name, a folder, a GGUF file or a hub id.
        adapter: folder of an adapter, or nothing.
    """
    if engine != AUTO:
        return engine
    found = models.resolve(model, "generator")
    if found.format == "safetensors" or importlib.util.find_spec("openvino_genai") is None:
        return "transformers"
    if adapter and merge.why_not(found, adapters.read(Path(adapter))):
        return "transformers"
    return "transformers" if found.format == "gguf" and has_gpu() else "openvino"


def together(generator: Generator, asked: Sequence[Asked]) -> list[Generation]:
    """Answers to several prompts: at once where the engine can do that, else one after another."""
    if isinstance(generator, Batching):
        return generator.generate_together(asked)
    return [generator.generate(each.prompt, each.decoding, each.on_text) for each in asked]


def has_gpu() -> bool:
    """Whether PyTorch can use a GPU. PyTorch is imported only where there is a driver for one."""
    if shutil.which("nvidia-smi") is None and sys.platform != "darwin" and shutil.which("rocminfo") is None:
        return False
    import torch  # two seconds that a machine without a driver need not spend

    return bool(torch.cuda.is_available())
