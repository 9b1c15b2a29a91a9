"""The first access to an OpenVINO tensor's numbers, made once and alone."""

from __future__ import annotations

import threading
from importlib import import_module

import numpy as np

_lock = threading.Lock()
_done = False


def prepare() -> None:
    """To be called before any inference through OpenVINO's Python interface.

    `Tensor.data` fills a table when it is first read: who comes second waits for that table while it holds the
    interpreter's lock, and who fills it waits for that lock (2026.4). Two threads whose first inferences meet would
    stand still for ever. Here nobody meets: who comes second waits for a lock of Python's, which lets the first go on.
    """
    global _done  # noqa: PLW0603 - once a process
    with _lock:
        if not _done:
            _ = import_module("openvino").Tensor(np.zeros(1, dtype=np.int64)).data
            _done = True
