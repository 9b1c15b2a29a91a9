"""A local workbench for retrieval-augmented in-context learning.

    from ragkit import Workbench

    answer = Workbench.open("sample").ask("What does LoRA train?")

The names below are imported when they are used, so that `import ragkit` stays quick and silent.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ragkit import privacy  # noqa: F401 - whatever part is imported later finds reporting switched off

if TYPE_CHECKING:
    from ragkit.collection import Collection
    from ragkit.errors import RagkitError
    from ragkit.settings import IngestSettings, RetrieveSettings
    from ragkit.types import Answer, Decoding, Demonstration, Evidence, Variant
    from ragkit.workbench import Workbench

__version__ = "0.1.0"

_HOMES = {
    "Answer": "ragkit.types",
    "Collection": "ragkit.collection",
    "Decoding": "ragkit.types",
    "Demonstration": "ragkit.types",
    "Evidence": "ragkit.types",
    "IngestSettings": "ragkit.settings",
    "RagkitError": "ragkit.errors",
    "RetrieveSettings": "ragkit.settings",
    "Variant": "ragkit.types",
    "Workbench": "ragkit.workbench",
}

__all__ = [
    "Answer",
    "Collection",
    "Decoding",
    "Demonstration",
    "Evidence",
    "IngestSettings",
    "RagkitError",
    "RetrieveSettings",
    "Variant",
    "Workbench",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - one of the names above
    if name not in _HOMES:
        raise AttributeError(f"module 'ragkit' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
