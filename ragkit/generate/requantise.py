"""GGUF files as openvino-genai reads them exactly.

openvino-genai 2026.4 rounds the minima of block formats that have one (Q4_1, Q4_K and their kin) to whole steps of
the block's scale. On the built-in model that raises perplexity of a plain English text from 26.5 to 34.9, and at four
of ten positions another token becomes the most probable; rewritten as Q8_0 it is 26.6, or 26.9 with the engine's own
defaults (`tests/bench/gguf_reading.py`). Formats without a minimum are read exactly, so the weights are rewritten once,
when a file is converted for the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType, GGUFValueType
from numpy.typing import NDArray

from ragkit.errors import ModelError

Change = Callable[[NDArray[np.float32]], NDArray[np.float32]]
_EXACT = {
    GGMLQuantizationType.F32,
    GGMLQuantizationType.F16,
    GGMLQuantizationType.BF16,
    GGMLQuantizationType.Q8_0,
    GGMLQuantizationType.Q4_0,
}
"""Formats with a scale and no minimum, or no blocks at all."""
_HEADER = "GGUF."
"""Prefix of the reader's names for what the writer writes by itself."""


def opened(source: Path | gguf.GGUFReader) -> gguf.GGUFReader:
    """A GGUF file, opened unless it is: that takes seconds. Raises ModelError if it is damaged."""
    if isinstance(source, gguf.GGUFReader):
        return source
    try:
        reader = gguf.GGUFReader(source)
        reader.fields["general.architecture"].contents()
        return reader
    except (ValueError, KeyError, IndexError) as error:
        raise ModelError(f"The GGUF file {source} is damaged: {error}.", "Fetch it again.") from error


def inexact(source: Path | gguf.GGUFReader) -> bool:
    """Whether the file holds tensors that openvino-genai would not read exactly."""
    return any(tensor.tensor_type not in _EXACT for tensor in opened(source).tensors)


def rewrite(
    source: Path | gguf.GGUFReader,
    target: Path,
    kind: GGMLQuantizationType = GGMLQuantizationType.Q8_0,
    changes: Mapping[str, Change] | None = None,
) -> None:
    """Write the same model with every inexactly read tensor as Q8_0: blocks of 32 weights, one scale, 8 bits each.

    A weight changes by at most 1/225 of the largest in its block: half a step, and the scale's own rounding. One
    tensor is in memory at a time.

    Args:
        source: a GGUF file, or one that is opened.
        target: the file to write.
        kind: what inexactly read and changed tensors are written as, F16 or Q8_0; what is no matrix stays F32.
        changes: by the tensor's name, what makes the new weights of the old, both float32 in the same shape.
    """
    changes = changes or {}
    reader = opened(source)
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents(), use_temp_file=True)
    for field in reader.fields.values():
        if field.name.startswith(_HEADER) or field.name in ("general.architecture", "general.file_type"):
            continue
        value = field.types[0]
        part = field.types[-1] if value == GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), value, sub_type=part)
    half = kind == GGMLQuantizationType.F16
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16 if half else gguf.LlamaFileType.MOSTLY_Q8_0)
    for tensor in reader.tensors:
        change = changes.get(tensor.name)
        kept = tensor.tensor_type in _EXACT or not _fits(kind, tensor.shape)
        if kept and change is None:
            writer.add_tensor(tensor.name, np.array(tensor.data), raw_dtype=tensor.tensor_type)
            continue
        weights = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        if change is not None:
            weights = np.ascontiguousarray(change(weights), np.float32)
        form = kind if _fits(kind, tensor.shape) else GGMLQuantizationType.F16
        form = form if len(tensor.shape) > 1 else GGMLQuantizationType.F32
        writer.add_tensor(tensor.name, gguf.quants.quantize(weights, form), raw_dtype=form)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _fits(kind: GGMLQuantizationType, shape: NDArray[np.integer[Any]]) -> bool:
    return kind != GGMLQuantizationType.Q8_0 or shape[0] % 32 == 0
