"""The engine for the machine at hand."""

from __future__ import annotations

import shutil
from importlib import import_module

from ragkit import models
from ragkit.protocols import Embedder


def embedder(model: str = "minilm") -> Embedder:
    """OpenVINO where there is no NVIDIA GPU and it can be exact for this model, else sentence-transformers.

    Both give the same vectors (cosine above 0.9999) and have the same fingerprint, so a collection may change engines.
    A folder with a static model is read as one.
    """
    # The built-in ones are none, and looking them up twice would cost every start.
    if model not in models.BUILT_INS and models.is_static(models.resolve(model, "embedder").path):
        return import_module("ragkit.embed.static").StaticEmbedder(model)
    sentence = import_module("ragkit.embed.sentence") if shutil.which("nvidia-smi") else None
    if sentence is not None:
        return sentence.SentenceEmbedder(model)
    openvino = import_module("ragkit.embed.openvino")
    try:
        return openvino.OpenVINOEmbedder(model)
    except openvino.NotExact:
        return import_module("ragkit.embed.sentence").SentenceEmbedder(model)
