"""How equal an adapter merged for the fast engine is to peft: greedy answers that are the same, and logits.

    python -m tests.bench.merging -n 200 [--adapter FOLDER] [--kind F16 --kind Q8_0]

The reference is peft on transformers in float32. Questions are SQuAD's over three passages of their article where the
shared data is, else those of the sample examples. Without an adapter a random one is made: rank 8 on every linear
layer, B normal, so that the update is a few per cent of the weights, as after training. Prints one JSON line a kind of
file: the share of answers that are the same to the last character, the mean number of tokens in common before the
first difference, the largest difference of a logit over one prompt, and seconds an answer, each with the engine's own
precision and in float32.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import openvino_genai
import peft
import torch
from gguf import GGMLQuantizationType
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from ragkit import adapters, models
from ragkit.generate import merge
from ragkit.generate.chat import ChatTokenizer
from ragkit.prompt.pack import pack
from ragkit.prompt.store import TemplateStore
from ragkit.types import Hit, Prompt
from tests.bench.gguf_reading import EXACT, read_by_openvino
from tests.bench.templates import items

ROOT = Path(__file__).resolve().parents[2]
PASSAGES = 3


def prompts(n: int, chat: ChatTokenizer, template: str) -> list[str]:
    """n rendered prompts, the same every time."""
    chosen = TemplateStore(Path("nowhere")).get(template)
    made: list[Prompt] = []
    try:
        asked = [(item.question, item.hits[max(0, item.gold - PASSAGES) :][:PASSAGES]) for item in items(n, seed=7)[0]]
    except FileNotFoundError:
        lines = (ROOT / "index_data" / "sample_examples.jsonl").read_text("utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        passages = [Hit(1, 1.0, place, "sample", 1, "1", 0, 0, row["passage"]) for place, row in enumerate(rows)]
        asked = [(row["question"], tuple(passages[place:][:PASSAGES])) for place, row in enumerate(rows)][:n]
    made = [pack(chosen, question, hits, (), chat, 32) for question, hits in asked]
    return [chat.render(prompt) for prompt in made]


def random_adapter(folder: Path, base: Path, std: float) -> None:
    """A LoRA as training could have left it, in PEFT's format."""
    torch.manual_seed(0)
    config = peft.LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=std)
    model.save_pretrained(folder)


class Reference:
    """Peft on transformers in float32."""

    def __init__(self, base: Path, adapter: Path, tokens: int) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(base)
        plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        self.model = peft.PeftModel.from_pretrained(plain, adapter).eval()
        self.tokens = tokens

    def ids(self, text: str) -> torch.Tensor:
        """Tokens of a rendered prompt."""
        return self.tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids

    def answer(self, text: str) -> list[int]:
        """The greedy answer."""
        with torch.inference_mode():
            ids = self.ids(text)
            end = self.tokenizer.eos_token_id
            made = self.model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=self.tokens,
                do_sample=False,
                eos_token_id=end,
                pad_token_id=end,
            )
        return [token for token in made[0, ids.shape[1] :].tolist() if token != end]

    def logits(self, text: str) -> np.ndarray:
        """Shape (tokens, vocabulary)."""
        with torch.inference_mode():
            return self.model(self.ids(text)).logits[0].numpy()


def measure(reference: Reference, expected: list[list[int]], texts: list[str], file: Path) -> dict[str, Any]:
    """How equal a merged file is."""
    reached = reference.logits(texts[0])
    first = reference.ids(texts[0])[0].numpy().astype(np.int64)
    row: dict[str, Any] = {}
    for what, properties in (("own precision", {}), ("float32", EXACT)):
        read = read_by_openvino(file, first, properties)
        row[f"largest difference, {what}"] = float(np.abs(read - reached).max())
        row[f"same most probable token, {what}"] = float((read.argmax(axis=1) == reached.argmax(axis=1)).mean())
        found = answers(reference, expected, texts, file, properties)
        row |= {f"{name}, {what}": value for name, value in found.items()}
    return row


def answers(
    reference: Reference, expected: list[list[int]], texts: list[str], file: Path, properties: dict[str, str]
) -> dict[str, float]:
    """How equal the greedy answers are, and seconds an answer."""
    scheduler = openvino_genai.SchedulerConfig()
    pipeline = openvino_genai.LLMPipeline(file, "CPU", scheduler_config=scheduler, **properties)
    config = pipeline.get_generation_config()
    config.max_new_tokens, config.do_sample = reference.tokens, False
    same, shared, seconds = 0, 0, 0.0
    end = reference.tokenizer.eos_token_id
    for text, wanted in zip(texts, expected, strict=True):
        begun = time.perf_counter()
        ids = reference.ids(text).numpy()
        given = openvino_genai.TokenizedInputs(openvino.Tensor(ids), openvino.Tensor(np.ones_like(ids)))
        made = [token for token in pipeline.generate(given, config).tokens[0] if token != end]
        seconds += time.perf_counter() - begun
        same += made == wanted
        pairs = zip(made, wanted, strict=False)
        shared += next((place for place, (one, other) in enumerate(pairs) if one != other), min(len(made), len(wanted)))
    count = len(texts)
    return {"same answers": same / count, "tokens in common": shared / count, "seconds": seconds / count}


def main() -> None:
    """One line a kind of file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=200)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--adapter", default="")
    parser.add_argument("--std", type=float, default=0.02, help="of B, for a random adapter")
    parser.add_argument("--template", default="concise")
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--kind", action="append", choices=["F16", "Q8_0"])
    given = parser.parse_args()
    logging.disable_progress_bar()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    found = models.resolve(given.model, "generator")
    base = models.as_safetensors(found)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(given.adapter or f"{scratch}/adapter")
        if not given.adapter:
            random_adapter(folder, base, given.std)
        texts = prompts(given.n, ChatTokenizer(given.model), given.template)
        reference = Reference(base, folder, given.tokens)
        begun = time.perf_counter()
        expected = [reference.answer(text) for text in texts]
        each = (time.perf_counter() - begun) / len(texts)
        with reference.model.disable_adapter():
            plain = reference.logits(texts[0])
        moved = float(np.abs(plain - reference.logits(texts[0])).max())
        head = {"prompts": len(texts), "reference seconds": each, "largest change by the adapter": moved}
        sys.stdout.write(json.dumps(head) + "\n")
        for kind in given.kind or ["F16", "Q8_0"]:
            file = Path(scratch) / f"{kind}.gguf"
            begun = time.perf_counter()
            merge.write(found, adapters.read(folder), file, GGMLQuantizationType[kind])
            took = time.perf_counter() - begun
            row = {"kind": kind, "merging": took, **measure(reference, expected, texts, file)}
            sys.stdout.write(json.dumps(row) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
