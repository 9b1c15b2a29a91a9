"""What CSV, JSON and JSON lines share: a record becomes a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ingest.loaders.base import make_page
from ragkit.types import Page

IDS = ("_id", "id")
MAX_DEPTH = 100
"""Levels of nesting that are written out; JSON deeper than this is refused."""


def record_page(number: int, record: Mapping[str, Any]) -> Page:
    """`_id` (or `id`) is the label, `title` the title, `text` the text; other columns follow as "column: value" lines.

    The layout of retrieval test sets (BEIR), whose `metadata` object is left out.
    """
    fields = {str(key).strip(): value for key, value in record.items() if value not in (None, "", [], {})}
    label = next((str(fields.pop(key)) for key in IDS if _plain(fields.get(key))), "")
    title = str(fields.pop("title")) if _plain(fields.get("title")) else ""
    parts = [str(fields.pop("text"))] if _plain(fields.get("text")) else []
    if isinstance(fields.get("metadata"), Mapping):
        del fields["metadata"]
    parts += lines(fields)
    return make_page(number, "\n".join(parts) or title, label, title)


def _plain(value: object) -> bool:
    return isinstance(value, (str, int, float)) and not isinstance(value, bool)


def lines(value: Any, name: str = "") -> list[str]:  # noqa: ANN401 - whatever JSON can hold
    """A value as "name: value" lines; nested names are joined by dots, lists of plain values by commas."""
    if isinstance(value, Mapping):
        return [line for key, item in value.items() for line in lines(item, f"{name}.{key}" if name else str(key))]
    if isinstance(value, list):
        if all(not isinstance(item, (Mapping, list)) for item in value):
            return lines(", ".join(_text(item) for item in value), name)
        return [line for item in value for line in lines(item, name)]
    text = _text(value)
    if not text.strip():
        return []
    return [f"{name}: {text}" if name else text]


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
