"""What is the default of a collection: which adapter, and with it which template, when nobody chose one.

What was promoted in the collection comes first, then what ships with ragkit. An adapter belongs to the template that
it was tuned through: "auto" in a variant means it where the variant asks through that template, and no adapter with
any other.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Protocol

from ragkit import adapters
from ragkit.adapter_files import AdapterError
from ragkit.adapters import AUTO, Adapter
from ragkit.promotions import HoldsPromotions, Promotions, Task
from ragkit.types import Variant

BUNDLED: dict[Task, str] = {"generate": "grounded", "extract": "reader"}
"""Adapters that ship with ragkit: the default where they fit the model and nothing was promoted."""


class HasHome(HoldsPromotions, Protocol):
    """What this module needs of a collection."""

    home: Path


class HasNames(Protocol):
    """What this module needs of a store of templates."""

    @property
    def names(self) -> list[str]:
        """The templates there are."""
        ...


class Defaults:
    """The defaults of one collection, read anew at every call: a promotion holds from the next answer on."""

    def __init__(self, collection: HasHome, templates: HasNames) -> None:
        self._home = collection.home
        self._promotions = Promotions(collection)
        self._templates = templates

    def adapter(self, task: Task, base: str | None = None) -> Adapter | None:
        """The adapter that is the default for a model (for a reader: whatever its base); None if there is none.

        A promoted adapter that was deleted, or whose weights are not those that were measured, is passed over.
        """
        for promotion in self._promotions.standing(task, base):
            found = self._found(promotion.adapter)
            if found is not None and found.sha256 == promotion.sha256 and self._can_ask(found):
                return found
        bundled = adapters.BUNDLED / BUNDLED[task]
        ours = adapters.read(bundled) if bundled.is_dir() else None
        return ours if ours is not None and base in (None, ours.base) and self._can_ask(ours) else None

    def variant(self, model: str = "") -> Variant:
        """The variant that answers when nobody chose one: of this model, or of the built-in one."""
        plain = Variant(model=model) if model else Variant()
        adapter = self.adapter("generate", plain.model)
        return replace(plain, template=adapter.template) if adapter else plain

    def settled(self, variant: Variant) -> Variant:
        """The variant with the adapter that "auto" stands for, or with none; any other one is returned as it is."""
        if variant.adapter != AUTO:
            return variant
        return replace(variant, adapter=self._meant(variant))

    def unsettled(self, variant: Variant) -> Variant:
        """The opposite of `settled`: with "auto" where that stands for its adapter, so that it follows the template."""
        free = replace(variant, adapter=AUTO)
        return free if self.settled(free) == variant else variant

    def reference(self, adapter: Adapter) -> str:
        """What a variant calls an adapter: its name, or its folder where the name means another one."""
        found = self._found(adapter.name)
        return adapter.name if found is not None and found.folder == adapter.folder else str(adapter.folder)

    def _meant(self, variant: Variant) -> str:
        if variant.engine == "echo":  # has no model that could be adapted
            return ""
        if variant.engine == "reader":
            reader = self.adapter("extract", variant.model)
            return self.reference(reader) if reader else ""
        adapter = self.adapter("generate", variant.model)
        fits = adapter is not None and adapter.template == variant.template
        return self.reference(adapter) if adapter and fits else ""

    def _found(self, name: str) -> Adapter | None:
        try:
            return adapters.find(name, self._home)
        except AdapterError:
            return None

    def _can_ask(self, adapter: Adapter) -> bool:
        return adapter.task == "extract" or adapter.template in self._templates.names
