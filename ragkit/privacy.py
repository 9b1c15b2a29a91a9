"""Switches off what third-party libraries would send home. Imported before any of them, wherever one is imported."""

from __future__ import annotations

import os
import sys

# `import openvino` reports itself through this module unless it cannot be imported.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

for _name, _value in (("HF_HUB_DISABLE_TELEMETRY", "1"), ("DO_NOT_TRACK", "1"), ("LANGSMITH_TRACING", "false")):
    os.environ.setdefault(_name, _value)
