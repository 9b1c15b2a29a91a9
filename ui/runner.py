"""Answers are made here, not in a page: one background thread of the server works through the questions in turn.

A page that is reloaded or closed stops nothing. It finds its questions again by collection and thread, follows the
text as it comes, and reads finished answers from the collection's history, where this thread has put them.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ragkit.errors import RagkitError, of_storage
from ragkit.history import History, Kind
from ragkit.settings import RetrieveSettings
from ragkit.types import Answer, Evidence, Hit, Reading, Variant
from ragkit.workbench import Workbench

State = Literal["waiting", "running", "done", "failed"]
_log = logging.getLogger(__name__)
_KEPT = 200
"""Finished tasks remembered for pages that have not yet seen them end."""


@dataclass(slots=True)
class Task:
    """One question on its way: written by the background thread, read by pages."""

    kind: Kind
    collection: str
    thread: str
    """The conversation or comparison that its answers are kept in."""
    question: str
    variants: tuple[Variant, ...]
    retrieve: RetrieveSettings
    documents: tuple[str, ...] | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    state: State = "waiting"
    texts: list[str] = field(default_factory=list)
    """What each variant has said so far."""
    read: tuple[Reading, Hit] | None = None
    """What a reader has quoted, and from which passage."""
    first_use: bool = False
    """Whether a model has to be loaded for it."""
    begun: float = 0.0
    """`time.monotonic()` when its turn came."""
    error: RagkitError | None = None
    fault: bool = False
    """It ended by a fault of ours; the log has it."""
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def open(self) -> bool:
        """Whether it still has to be waited for."""
        return self.state in ("waiting", "running")


class Runner:
    """The queue and its thread. One a server process."""

    def __init__(self, workbench: Callable[[str], Workbench]) -> None:
        self._workbench = workbench
        self._tasks: dict[str, Task] = {}
        self._queue: queue.Queue[Task] = queue.Queue()
        self._loaded: set[tuple[str, str, str]] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._work, name="ragkit-answers", daemon=True).start()

    def submit(self, task: Task) -> Task:
        """Put a question at the end of the queue."""
        task.texts = [""] * len(task.variants)
        with self._lock:
            ended = [key for key, old in self._tasks.items() if not old.open]
            for key in ended[: max(0, len(ended) - _KEPT)]:
                del self._tasks[key]
            self._tasks[task.id] = task
        self._queue.put(task)
        return task

    def tasks(self, collection: str, kind: Kind, thread: str | None = None) -> list[Task]:
        """Tasks of a collection (and thread) in the order in which they were asked."""
        with self._lock:
            found = list(self._tasks.values())
        return [
            task
            for task in found
            if task.collection == collection and task.kind == kind and thread in (None, task.thread)
        ]

    def ahead(self, task: Task) -> int:
        """How many questions are answered before this one."""
        with self._lock:
            before = list(self._tasks)[: list(self._tasks).index(task.id)]
            return sum(self._tasks[key].open for key in before)

    def stop(self, task_id: str) -> None:
        """Stop an answer; what it has said so far is kept. A waiting question is taken out of the queue."""
        with self._lock:
            task = self._tasks.get(task_id)
        if task is not None:
            task.stop.set()

    def dismiss(self, task_id: str) -> None:
        """Forget a task that has ended, with its error."""
        with self._lock:
            if task_id in self._tasks and not self._tasks[task_id].open:
                del self._tasks[task_id]

    def _work(self) -> None:
        while True:
            task = self._queue.get()
            try:
                if task.stop.is_set():
                    self.dismiss_unanswered(task)
                else:
                    self._answer(task)
            except RagkitError as error:
                task.error, task.state = error, "failed"
            except Exception as error:  # the thread must outlive a fault of ours, which the log and the page both show
                _log.exception("The question could not be answered.")
                task.error = of_storage(error)
                task.fault, task.state = task.error is None, "failed"

    def dismiss_unanswered(self, task: Task) -> None:
        """Take a question out that was stopped before its turn."""
        task.state = "done"
        self.dismiss(task.id)

    def _answer(self, task: Task) -> None:
        task.first_use = any(_model(variant) not in self._loaded for variant in task.variants)
        task.begun = time.monotonic()
        task.state = "running"
        workbench = self._workbench(task.collection)

        def on_text(variant: int, text: str) -> bool:
            task.texts[variant] += text
            return not task.stop.is_set()

        def on_reading(reading: Reading, evidence: Evidence) -> None:
            task.read = (reading, evidence.hits[reading.passage])

        answers: Sequence[Answer]
        if task.kind == "ask":
            answers = [
                workbench.ask(
                    task.question,
                    task.variants[0],
                    retrieve=task.retrieve,
                    documents=task.documents,
                    on_text=lambda text: on_text(0, text),
                    on_reading=on_reading,
                )
            ]
        else:
            answers = workbench.compare(
                task.question, task.variants, retrieve=task.retrieve, documents=task.documents, on_text=on_text
            )
        self._loaded.update(_model(variant) for variant in task.variants)
        history = History(workbench.collection)
        for answer in answers:
            history.keep(answer, task.thread, task.kind)
        task.state = "done"


def _model(variant: Variant) -> tuple[str, str, str]:
    return (variant.engine, variant.model, variant.adapter)
