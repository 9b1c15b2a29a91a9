"""A queue between two threads that is full by the weight of what waits in it, not by its number."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable
from typing import TypeVar

Item = TypeVar("Item")


class WeighedQueue(queue.Queue[Item]):
    """Takes items until together they weigh `most` or more: one of any weight always fits into an empty queue.

    Pages are a line or four million characters long. A queue that counts them is too short for the ones or holds
    hundreds of megabytes of the others. Nothing weighs less than 1.
    """

    def __init__(self, most: int, weight: Callable[[Item], int]) -> None:
        self._weight, self._sum = weight, 0
        super().__init__(most)

    # The methods that the standard library's queue leaves to its kinds; called with its lock held.

    def _init(self, maxsize: int) -> None:  # noqa: ARG002 - the library's signature
        self.queue: deque[tuple[int, Item]] = deque()

    def _qsize(self) -> int:
        return self._sum

    def _put(self, item: Item) -> None:
        weight = max(self._weight(item), 1)
        self._sum += weight
        self.queue.append((weight, item))

    def _get(self) -> Item:
        weight, item = self.queue.popleft()
        self._sum -= weight
        return item
