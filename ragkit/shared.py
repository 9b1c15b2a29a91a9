"""Loaded models, one of each in the whole process: whoever asks second waits and shares."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Part = TypeVar("Part")


class Shared(Generic[Part]):
    """The `most` parts used last, by key. Loading happens under the lock, so nothing is loaded twice at once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._parts: OrderedDict[Hashable, Part] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, load: Callable[[], Part]) -> Part:
        """The part of this key, loaded if need be; the one unused for longest goes when there are too many."""
        with self._lock:
            if key not in self._parts:
                while len(self._parts) >= self._most:
                    self._parts.popitem(last=False)
                self._parts[key] = load()
            self._parts.move_to_end(key)
            return self._parts[key]

    def peek(self, key: Hashable) -> bool:
        """Whether a part of this key is loaded."""
        return key in self._parts
