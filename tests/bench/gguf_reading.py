"""How exactly openvino-genai reads a GGUF file: perplexity and agreement with transformers, before and after rewriting.

    python -m tests.bench.gguf_reading [MODEL]

Prints one JSON line a way of reading: perplexity of a fixed English text, the share of positions where the most
probable token is that of transformers (fp32, weights dequantised exactly), and the largest difference of a logit.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import openvino
import openvino_genai
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from ragkit import models
from ragkit.generate.requantise import rewrite

TEXT = (
    "The capital of France is Paris, and the capital of Germany is Berlin. A full moon rises at sunset and sets at "
    "sunrise. Water boils at one hundred degrees at sea level, and at less on a mountain. The tower was built in 1889 "
    "for the World's Fair; its three levels are reached by stairs or by lift. She asked whether the train to Vienna "
    "had left, and he answered that it would leave at nine from the second platform."
)
EXACT = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}


def perplexity(logits: np.ndarray, ids: np.ndarray) -> float:
    """Of each token given those before it; logits of shape (tokens, vocabulary)."""
    shifted = logits[:-1] - logits[:-1].max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return float(np.exp(-log_p[np.arange(len(ids) - 1), ids[1:]].mean()))


def read_by_openvino(file: Path, ids: np.ndarray, properties: dict[str, str]) -> np.ndarray:
    """Logits of the graph that openvino-genai builds from the file."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "model.gguf"
        shutil.copyfile(file, copy)
        openvino_genai.LLMPipeline(copy, "CPU", enable_save_ov_model=True)
        core = openvino.Core()
        compiled = core.compile_model(core.read_model(Path(scratch) / "openvino_model.xml"), "CPU", properties)
        count = len(ids)
        given = {
            "input_ids": ids[None],
            "attention_mask": np.ones((1, count), np.int64),
            "position_ids": np.arange(count)[None],
            "beam_idx": np.zeros(1, np.int32),
        }
        return np.array(compiled.create_infer_request().infer(given)[0][0])


def measure(name: str = "smollm2-135m", every: bool = True) -> list[dict[str, object]]:
    """One row a way of reading the model; without `every` the one between is left out."""
    found = models.resolve(name, "generator")
    folder = models.as_safetensors(found)
    ids = AutoTokenizer.from_pretrained(folder)(TEXT, return_tensors="np").input_ids[0].astype(np.int64)
    reference_model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        reference = reference_model(torch.from_numpy(ids)[None]).logits[0].numpy()
    rows: list[dict[str, object]] = [{"read by": "transformers, fp32", "perplexity": perplexity(reference, ids)}]
    with tempfile.TemporaryDirectory() as scratch:
        rewritten = Path(scratch) / "rewritten.gguf"
        rewrite(found.path, rewritten)
        ways = [
            ("openvino-genai, the file as it is, fp32", found.path, EXACT),
            ("openvino-genai, rewritten as Q8_0, its defaults", rewritten, {}),
            ("openvino-genai, rewritten as Q8_0, fp32", rewritten, EXACT),
        ]
        for what, file, properties in ways if every else ways[:2]:
            logits = read_by_openvino(file, ids, properties)
            rows.append(
                {
                    "read by": what,
                    "perplexity": perplexity(logits, ids),
                    "agreement": float((logits.argmax(axis=1) == reference.argmax(axis=1)).mean()),
                    "largest difference": float(np.abs(logits - reference).max()),
                }
            )
    return rows


if __name__ == "__main__":
    for row in measure(*sys.argv[1:]):
        sys.stdout.write(json.dumps(row) + "\n")
