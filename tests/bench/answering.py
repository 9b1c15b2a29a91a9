"""Prompts to answers: ragkit's openvino engine beside llama.cpp, the same file, text, threads and greedy decoding; four
templates on one evidence beside one; and answers to many questions written together, as `ragkit evaluate --together`
has them, beside answers written one by one.

Every prompt has paragraphs that no prompt before it had, so that neither side finds its beginning in a cache.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ragkit import models
from ragkit.catalog import GENERATORS
from ragkit.evaluation import TOGETHER
from ragkit.generate.engines import together
from ragkit.generate.grounding import without_marks
from ragkit.prompt.store import TemplateStore
from ragkit.protocols import Generator
from ragkit.types import Asked, Decoding, Prompt
from tests.bench.sides import Side
from tests.bench.templates import Item, f1, items

MODEL = "smollm2-135m"
TEMPLATES = ("cite", "concise", "quote", "strict")
CONTEXT = 4096


def measure(
    scratch: Path, *, sides: Sequence[str], passages: Sequence[int], rounds: int, tokens: int, blocks: int
) -> dict[str, dict[str, Any]]:
    """`answers`: by number of passages and side, each round; `variants`: seconds of four and of one; `evaluation`:
    blocks of questions, seconds to an answer and F1."""
    engine: Generator = GENERATORS.load("openvino")(MODEL)
    store = TemplateStore(scratch)
    file = str(models.resolve(MODEL, "generator").path)
    drawn = iter(items(len(passages) * (rounds + 1) + rounds * (len(TEMPLATES) + 1), seed=11)[0])
    found: dict[str, dict[str, Any]] = {"answers": {}}
    peers = [Side(name, scratch) for name in sides]
    try:
        for peer in peers:
            peer.ask("load", model=file, context=CONTEXT)
        for count in passages:
            ran: dict[str, list[dict[str, float]]] = {"ragkit": [], **{peer.name: [] for peer in peers}}
            for number in range(rounds + 1):
                item = next(drawn)
                prompt = store.get("cite").render(item.question, _hits(item, count))
                turns = [("ragkit", None), *((peer.name, peer) for peer in peers)]
                for name, peer in turns if number % 2 else reversed(turns):
                    made = _theirs(peer, engine.render(prompt), tokens) if peer else _ours(engine, prompt, tokens)
                    if number:  # the first round warms all up
                        ran[name].append(made)
            found["answers"][str(count)] = ran
    finally:
        for peer in peers:
            peer.__exit__(None, None, None)
    found["variants"] = _variants(engine, store, drawn, rounds, tokens)
    found["evaluation"] = _evaluation(engine, store, blocks, Decoding(max_tokens=2 * tokens))
    return found


def _hits(item: Item, count: int) -> tuple[Any, ...]:
    return (item.hits * -(-count // len(item.hits)))[:count]


def _ours(engine: Generator, prompt: Prompt, tokens: int) -> dict[str, float]:
    begun = time.perf_counter()
    made = engine.generate(prompt, Decoding(max_tokens=tokens), lambda _: True)
    seconds = time.perf_counter() - begun
    return {"prompt": made.prompt_tokens, "first": made.seconds_to_first, "seconds": seconds, "tokens": made.tokens}


def _theirs(peer: Side, text: str, tokens: int) -> dict[str, float]:
    return peer.ask("answer", text=text, tokens=tokens, penalty=Decoding().repetition_penalty)


def _variants(engine: Generator, store: TemplateStore, drawn: Any, rounds: int, tokens: int) -> dict[str, list[float]]:  # noqa: ANN401
    """Seconds of one template on evidence of its own (mean over the four), and of all four on one evidence.

    `same`: of the answers written together, the share that is word for word what the prompt gives alone.
    """
    one, four, same = [], [], []
    for _ in range(rounds):
        alone = 0.0
        for name in TEMPLATES:
            item = next(drawn)
            alone += _ours(engine, store.get(name).render(item.question, item.hits), tokens)["seconds"]
        one.append(alone / len(TEMPLATES))
        item = next(drawn)
        prompts = [store.get(name).render(item.question, item.hits) for name in TEMPLATES]
        asked = [Asked(prompt, Decoding(max_tokens=tokens), lambda _: True) for prompt in prompts]
        begun = time.perf_counter()
        made = together(engine, asked)
        four.append(time.perf_counter() - begun)
        alone = together(engine, asked[:1]) + together(engine, asked[1:2])
        same += [float(each.text == other.text) for each, other in zip(made, alone, strict=False)]
    return {"one": one, "four": four, "same": same}


def _evaluation(engine: Generator, store: TemplateStore, blocks: int, decoding: Decoding) -> dict[str, list[float]]:
    """Blocks of as many questions as an evaluation has written together, and the same ones by one, in turns.

    Each way has questions of its own for its seconds: what the other read would be in the cache. F1 is of the same.
    """
    found: dict[str, list[float]] = {"alone": [], "together": [], "f1 alone": [], "f1 together": []}
    drawn = items(2 * blocks * TOGETHER, seed=12)[0]
    template = store.get("concise")

    def asked(some: Sequence[Item]) -> list[Asked]:
        prompts = [template.render(item.question, item.hits) for item in some]
        return [Asked(prompt, decoding, lambda _: True) for prompt in prompts]

    def noted(way: str, some: Sequence[Item], batches: Sequence[Sequence[Asked]], *, fresh: bool) -> None:
        begun = time.perf_counter()
        made = [answer for batch in batches for answer in together(engine, batch)]
        if fresh:
            found[way].append((time.perf_counter() - begun) / len(made))
        texts = [without_marks(answer.text) for answer in made]
        found[f"f1 {way}"] += [f1(text, item.answers) for text, item in zip(texts, some, strict=True)]

    for start in range(0, len(drawn), TOGETHER):
        some = drawn[start : start + TOGETHER]
        ways = {"alone": [[each] for each in asked(some)], "together": [asked(some)]}
        for place, way in enumerate(sorted(ways, reverse=bool(start // TOGETHER % 2))):
            noted(way, some, ways[way], fresh=place == 0)
    return found
