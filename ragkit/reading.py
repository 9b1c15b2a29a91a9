"""Readers of a collection: which one quotes from the passages that retrieval found."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from ragkit import adapters
from ragkit.adapters import Adapter
from ragkit.catalog import GENERATORS
from ragkit.defaults import AUTO, Defaults
from ragkit.errors import RagkitError
from ragkit.protocols import Reader
from ragkit.shared import Shared
from ragkit.types import Variant, digest

READS = "reader"
"""The generation engine that reads by itself, so that no other reader is asked beside it."""

NO_MODEL = "echo"
"""The engine for tests and machines without a model, beside which no reader is asked that nobody named."""

_log = logging.getLogger(__name__)
_readers: Shared[Reader] = Shared(most=2)


class Readers:
    """The readers that settings can name, each loaded once a process."""

    def __init__(self, home: Path, defaults: Defaults) -> None:
        self._home = home
        self._defaults = defaults
        self._failed: set[str] = set()

    def get(self, name: str) -> Reader | None:
        """The reader of a name; "auto" is the collection's default, and none where there is none.

        Raises AdapterError or ModelError for a name that is none or cannot be loaded. A default one that cannot be
        loaded is done without, and the log says why: nobody asked for it.
        """
        if name != AUTO:
            return _load(adapters.find(name, self._home)) if name else None
        found = self._defaults.adapter("extract")
        if found is None or found.sha256 in self._failed:
            return None
        try:
            return _load(found)
        except RagkitError as error:
            self._failed.add(found.sha256)
            _log.warning("The reader %s is done without. %s", found.name, error)
            return None

    def beside(self, variant: Variant, name: str) -> Reader | None:
        """The reader that quotes before a variant answers; None beside an engine that reads or has no model."""
        if variant.engine == READS or (variant.engine == NO_MODEL and name == AUTO):
            return None
        return self.get(name)

    def settled(self, name: str, variants: Sequence[Variant] | None = None) -> str:
        """The name with "auto" settled: what it stands for now, or nothing.

        For a run of variants it is nothing where it would be asked beside none of them.
        """
        if name != AUTO:
            return name
        asked = [self.get(AUTO)] if variants is None else [self.beside(variant, AUTO) for variant in variants]
        found = self._defaults.adapter("extract") if any(asked) else None
        return self._defaults.reference(found) if found else ""


def _load(adapter: Adapter) -> Reader:
    return _readers.get(
        (str(adapter.folder), adapter.sha256, digest(adapter.card.get("calibration", {}))),
        lambda: GENERATORS.load(READS)(adapter.base, str(adapter.folder)),
    )
