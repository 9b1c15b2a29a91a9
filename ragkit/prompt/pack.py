"""Packing: as many passages and demonstrations as the model's context holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ragkit.errors import PromptTooLong
from ragkit.prompt.template import Template
from ragkit.protocols import Generator
from ragkit.types import Demonstration, Hit, Prompt

SPECIAL_TOKENS = 2
"""Room for what a tokenizer puts around a text by itself (begin, end)."""


def pack(
    template: Template,
    question: str,
    hits: Sequence[Hit],
    demonstrations: Sequence[Demonstration],
    generator: Generator,
    max_tokens: int,
    arrange: Callable[[Sequence[Demonstration]], list[Demonstration]] = list,
) -> Prompt:
    """The largest prompt that leaves `max_tokens` free in the model's context.

    Passages go from the lowest rank up until one is left, then demonstrations from the first one (the selectors put
    the most useful last; `arrange` gives the order in which those that are left are shown), then the last passage.
    Each step makes the prompt shorter, so the first step that fits is found by bisection: one count when everything
    fits, else about log2 of the number of steps. Counts are of the text that the model will read.

    Raises PromptTooLong if the question does not fit even alone.
    """
    room = generator.context_tokens - max_tokens - SPECIAL_TOKENS
    steps = _steps(len(hits), len(demonstrations))

    def attempt(step: tuple[int, int]) -> tuple[Prompt, int]:
        passages, examples = step
        shown = arrange(demonstrations[len(demonstrations) - examples :])
        prompt = template.render(question, hits[:passages], shown, hits[passages:])
        return prompt, generator.count_tokens(generator.render(prompt))

    prompt, tokens = attempt(steps[0])
    if tokens <= room:
        return prompt
    low, high = 1, len(steps)  # steps[low - 1] is too long; steps[high] would fit, if there were one
    best: Prompt | None = None
    while low < high:
        middle = (low + high) // 2
        prompt, tokens = attempt(steps[middle])
        if tokens <= room:
            best, high = prompt, middle
        else:
            low = middle + 1
    if best is not None:
        return best
    _, tokens = attempt(steps[-1])
    raise PromptTooLong(
        f"The question with its template has {tokens:,} tokens; the model reads {generator.context_tokens:,}, "
        f"of which {max_tokens:,} are kept free for the answer.",
        "Ask a shorter question, allow fewer tokens for the answer, or choose a model with a longer context.",
    )


def _steps(passages: int, examples: int) -> list[tuple[int, int]]:
    """How many passages and demonstrations are shown, from everything to nothing."""
    first = min(passages, 1)
    return [
        *((count, examples) for count in range(passages, first, -1)),
        *((first, count) for count in range(examples, 0, -1)),
        *((count, 0) for count in range(first, -1, -1)),
    ]
