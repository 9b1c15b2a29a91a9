"""The built-in model must answer the same through the fast engine as through the reference."""

import gguf
import numpy as np
import pytest

from ragkit import models
from ragkit.generate.requantise import inexact, rewrite
from tests.bench import gguf_reading


@pytest.fixture(scope="module")
def rewritten(tmp_path_factory):
    target = tmp_path_factory.mktemp("gguf") / "rewritten.gguf"
    rewrite(models.resolve("smollm2-135m", "generator").path, target)
    return target


def test_a_rewritten_file_has_the_same_weights_and_facts(rewritten):
    source = gguf.GGUFReader(models.resolve("smollm2-135m", "generator").path)
    target = gguf.GGUFReader(rewritten)
    assert [tensor.name for tensor in target.tensors] == [tensor.name for tensor in source.tensors]
    for before, after in list(zip(source.tensors, target.tensors, strict=True))[::40]:
        old = gguf.quants.dequantize(before.data, before.tensor_type)
        new = gguf.quants.dequantize(after.data, after.tensor_type)
        largest = np.abs(old).reshape(-1, 32).max(axis=1) if old.size % 32 == 0 else np.abs(old).max()
        assert (
            np.abs(old - new).reshape(-1, 32).max(axis=1) <= 1.13 * largest / 254 + 1e-6
        ).all()  # half a step, and the rounding of its 16-bit scale
    skipped = {"general.file_type"}
    for name, field in source.fields.items():
        if not name.startswith("GGUF.") and name not in skipped:
            assert target.fields[name].contents() == field.contents(), name


def test_only_formats_with_a_minimum_need_rewriting(rewritten):
    assert inexact(models.resolve("smollm2-135m", "generator").path)
    assert not inexact(rewritten)


def test_the_fast_engine_computes_what_the_reference_computes():
    rows = {row["read by"]: row for row in gguf_reading.measure(every=False)}
    reference = rows["transformers, fp32"]["perplexity"]
    ours = rows["openvino-genai, rewritten as Q8_0, its defaults"]
    assert ours["perplexity"] == pytest.approx(reference, rel=0.03)
    assert ours["agreement"] > 0.9
    as_it_is = rows["openvino-genai, the file as it is, fp32"]
    assert as_it_is["perplexity"] > 1.05 * reference, "openvino-genai reads Q4_1 exactly now: rewriting can go"
