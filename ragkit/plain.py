"""Frozen values as plain JSON, back again, and by their hash."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np


def to_json(value: Any) -> Any:  # noqa: ANN401 - any frozen value of the house, or a container of them
    """The value as plain dicts, lists, strings and numbers."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {part.name: to_json(getattr(value, part.name)) for part in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    return value


_hints = functools.cache(get_type_hints)
"""Working out the types of a class takes longer than making one of it."""


def from_json(kind: Any, value: Any) -> Any:  # noqa: ANN401 - the inverse of to_json for any frozen type of the house
    """The value of type `kind` that `to_json` turned into `value`; fields an older version lacked keep defaults."""
    if dataclasses.is_dataclass(kind):
        hints = _hints(kind)
        return kind(**{name: from_json(hints[name], item) for name, item in value.items() if name in hints})
    origin, arguments = get_origin(kind), get_args(kind)
    if value is not None and origin in (Union, UnionType):
        return from_json(next(part for part in arguments if part is not NoneType), value)
    if origin is tuple:
        return tuple(from_json(arguments[0], item) for item in value)
    return value


def digest(value: Any) -> str:  # noqa: ANN401
    """SHA-256 of a value's canonical JSON."""
    text = json.dumps(to_json(value), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
