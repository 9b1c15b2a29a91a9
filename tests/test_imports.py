"""Importing the house is silent and cheap: heavy libraries load when a part needs them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {"torch", "transformers", "faiss", "sentence_transformers", "streamlit", "openvino", "openvino_genai", "pandas"}
GROUND = [
    "ragkit",
    "ragkit.types",
    "ragkit.catalog",
    "ragkit.settings",
    "ragkit.collection",
    "ragkit.models",
    "ragkit.home",
    "ragkit.jobs",
    "ragkit.history",
    "ingest",
    "ingest.catalog",
    "ui.cli",
]


@pytest.mark.parametrize("module", GROUND)
def test_import_is_silent_and_loads_nothing_heavy(module: str) -> None:
    script = f"import json, sys, {module}; sys.stderr.write(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout == ""
    assert HEAVY & set(json.loads(done.stderr)) == set()


def test_the_package_offers_what_the_readme_uses_and_nothing_unknown() -> None:
    import ragkit

    assert set(ragkit.__all__) <= set(dir(ragkit))
    assert ragkit.Variant().template
    with pytest.raises(AttributeError, match="no attribute 'Wrokbench'"):
        _ = ragkit.Wrokbench
