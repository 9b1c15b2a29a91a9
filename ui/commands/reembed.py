"""`ragkit reembed`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ingest.launch import submit_reembed
from ragkit.collection import Collection
from ragkit.settings import IngestSettings
from ui.console import COLLECTION, CollectionOption, HomeOption, JsonOption, home_of, settings_options
from ui.follow import follow


@settings_options(IngestSettings, "settings", "What changes; everything else stays as the collection has it")
def reembed(
    settings: dict[str, Any],
    collection: CollectionOption = COLLECTION,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Cut and embed everything again from the stored pages, and swap it in at the end."""
    opened = Collection.open(home_of(home), collection)
    follow(opened, submit_reembed(opened, replace(opened.settings, **settings)), as_json=as_json)
