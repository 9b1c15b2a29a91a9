"""Safetensors files without torch: names, shapes, and arrays in float32."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragkit.errors import ModelError

_TYPES: dict[str, Any] = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": np.uint16,  # widened below: numpy has no such type
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
_LONGEST_HEADER = 100_000_000
"""Bytes; the format's own limit."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """Where one tensor lies in its file."""

    file: Path
    type: str
    shape: tuple[int, ...]
    offset: int
    """Bytes from the start of the file."""

    def read(self) -> NDArray[np.float32]:
        """The values as float32. Raises ModelError for a type that is no plain number (float8, packed bits)."""
        if self.type not in _TYPES:
            raise ModelError(f"{self.file} holds numbers of the type {self.type}.", "Save it as float16 or float32.")
        if 0 in self.shape:
            return np.zeros(self.shape, np.float32)
        raw = np.memmap(self.file, _TYPES[self.type], "r", self.offset, self.shape or (1,)).reshape(self.shape)
        if self.type == "BF16":
            return (raw.astype(np.uint32) << 16).view(np.float32)
        return np.asarray(raw, np.float32)


def tensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name. Raises ModelError if the file is damaged or cut short."""
    return dict(_tensors(file))


def _tensors(file: Path) -> Iterator[tuple[str, Tensor]]:
    try:
        size = file.stat().st_size
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if not 2 <= length <= min(size - 8, _LONGEST_HEADER):
                raise ValueError("it has no header")
            header = json.loads(opened.read(length))
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            shape = tuple(int(side) for side in entry["shape"])
            begin, end = (8 + length + int(place) for place in entry["data_offsets"])
            if not 8 + length <= begin <= end <= size:
                raise ValueError("it is cut short")
            kind = str(entry["dtype"])
            if kind in _TYPES and end - begin != np.prod(shape, dtype=np.int64) * np.dtype(_TYPES[kind]).itemsize:
                raise ValueError(f"the size of {name} is wrong")
            yield name, Tensor(file, kind, shape, begin)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{file} is no sound safetensors file: {error}.", "Save or fetch it again.") from error
