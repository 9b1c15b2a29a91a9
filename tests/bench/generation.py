"""ragkit's openvino engine against openvino-genai called bare: time to first token and tokens a second, same prompts.

    python tests/bench/generation.py --rounds 9 --out generation.json

Five SQuAD paragraphs a prompt, another article each round, so that nothing is in the prefix cache; the two engines
take turns, and who goes first alternates. Bare means: the GGUF file as it is, `LLMPipeline` with prefix caching on and
otherwise openvino-genai's own settings, a streamer that only notes the time. Exit status 1 if a ratio is above
`--limit`. Then, on one engine: how soon the 2nd to 4th template begins on the evidence that the 1st has read.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import openvino_genai
from templates import items

from ragkit import models
from ragkit.generate.openvino import OpenVINOGenerator
from ragkit.prompt.store import TemplateStore
from ragkit.types import Decoding, Prompt

MODEL = "smollm2-135m"


class Clock(openvino_genai.StreamerBase):
    """Notes when the first token came, and how many there were."""

    def __init__(self) -> None:
        super().__init__()
        self.first = 0.0
        self.tokens = 0

    def write(self, token: int | list[int]) -> openvino_genai.StreamingStatus:
        """Called with each token."""
        self.first = self.first or time.perf_counter()
        self.tokens += 1 if isinstance(token, int) else len(token)
        return openvino_genai.StreamingStatus.RUNNING

    def end(self) -> None:
        """Called after the last."""


def bare_pipeline() -> openvino_genai.LLMPipeline:
    """openvino-genai as its documentation shows it, with the prefix cache on."""
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.enable_prefix_caching = True
    scheduler.cache_size = 1
    return openvino_genai.LLMPipeline(models.resolve(MODEL, "generator").path, "CPU", scheduler_config=scheduler)


def run_bare(pipeline: openvino_genai.LLMPipeline, text: str, tokens: int) -> tuple[float, float]:
    """Seconds to the first token, tokens a second after it."""
    config = pipeline.get_generation_config()
    config.max_new_tokens = tokens
    config.repetition_penalty = Decoding().repetition_penalty
    clock = Clock()
    began = time.perf_counter()
    pipeline.generate(pipeline.get_tokenizer().encode(text, add_special_tokens=False), config, clock)
    return clock.first - began, (clock.tokens - 1) / (time.perf_counter() - clock.first)


def run_ours(engine: OpenVINOGenerator, prompt: Prompt, tokens: int) -> tuple[float, float]:
    """The same, as the engine itself reports it."""
    made = engine.generate(prompt, Decoding(max_tokens=tokens), lambda text: True)
    return made.seconds_to_first, (made.tokens - 1) / (made.seconds - made.seconds_to_first)


def shared_prefix(engine: OpenVINOGenerator, rounds: int) -> dict[str, float]:
    """Median seconds to the first token of four templates, one after another, on the same fresh evidence."""
    store = TemplateStore(Path("templates"))
    names = ("cite", "concise", "quote", "strict")
    times: dict[str, list[float]] = {name: [] for name in names}
    for item in items(rounds, seed=99)[0]:
        for name in names:
            prompt = store.get(name).render(item.question, item.hits)
            times[name].append(engine.generate(prompt, Decoding(max_tokens=2), lambda text: True).seconds_to_first)
    return {name: round(statistics.median(times[name]), 4) for name in names}


def measure(rounds: int, tokens: int) -> dict:
    """All figures."""
    template = TemplateStore(Path("templates")).get("cite")
    engine, pipeline = OpenVINOGenerator(MODEL), bare_pipeline()
    figures: dict[str, list[float]] = {"bare_first": [], "bare_rate": [], "ours_first": [], "ours_rate": []}
    sizes = []
    for number, item in enumerate(items(rounds + 1, seed=7)[0]):
        prompt = template.render(item.question, item.hits)
        text = engine.render(prompt)
        sizes.append(engine.count_tokens(text))
        for who in ("ours", "bare") if number % 2 else ("bare", "ours"):
            ran = run_ours(engine, prompt, tokens) if who == "ours" else run_bare(pipeline, text, tokens)
            if number:  # the first round warms both up
                figures[f"{who}_first"].append(ran[0])
                figures[f"{who}_rate"].append(ran[1])
    medians = {name: round(statistics.median(values), 4) for name, values in figures.items()}
    return {
        "prompt_tokens": statistics.median(sizes),
        "rounds": rounds,
        **medians,
        "ratio_first": round(medians["ours_first"] / medians["bare_first"], 3),
        "ratio_rate": round(medians["bare_rate"] / medians["ours_rate"], 3),
        "first_token_of_templates_on_same_evidence": shared_prefix(engine, max(3, rounds // 3)),
    }


def main() -> int:
    """Print the figures as JSON, and write them to a file if one is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--limit", type=float, default=1.25)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    found = measure(args.rounds, args.tokens)
    text = json.dumps(found, indent=1)
    sys.stdout.write(text + "\n")
    if args.out:
        args.out.write_text(text + "\n", encoding="utf-8")
    return 0 if max(found["ratio_first"], found["ratio_rate"]) <= args.limit else 1


if __name__ == "__main__":
    sys.exit(main())
