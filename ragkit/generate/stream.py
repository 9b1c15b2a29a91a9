"""What every engine does with the text it produces and the text it is given."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Literal

from ragkit.errors import PromptTooLong
from ragkit.types import Decoding, Generation, Message, Prompt, Segment

OnText = Callable[[str], bool]

_LOOP_LENGTHS = range(4, 161)
_LOOP_COPIES = 3
_LOOP_CHARACTERS = 60
_LOOP_WINDOW = _LOOP_COPIES * _LOOP_LENGTHS.stop
"""A small model that has begun to repeat itself never ends. Three copies of the same text in a row, 60 characters at
least, end the answer. (A repetition penalty would prevent loops too, but it counts what the passages say as said:
answers of the built-in model that hold the right words fell from 22 to 5 in 100 at a penalty of 1.1.)"""


def _loops(text: str) -> bool:
    """Whether the text ends in one piece of text said over and over."""
    for length in _LOOP_LENGTHS:
        piece = text[-length:]
        copies = max(_LOOP_COPIES, -(-_LOOP_CHARACTERS // length))
        if text.endswith(piece * copies) and len(text) >= length * copies and any(map(str.isalpha, piece)):
            return True
    return False


class Stream:
    """Hands text on as it comes, and knows when to stop: a stop text was reached, or the listener said no.

    Text that may be the beginning of a stop text is held back until it is known not to be one.
    """

    def __init__(self, on_text: OnText, stop: Iterable[str] = ()) -> None:
        self._on_text = on_text
        self._stop = tuple(text for text in stop if text)
        self._pending = ""
        self._parts: list[str] = []
        self._started = time.perf_counter()
        self.finish: Literal["stop", "cancelled"] | None = None
        """Set once nothing more is wanted."""
        self.seconds_to_first = 0.0

    @property
    def text(self) -> str:
        """Everything handed on so far."""
        return "".join(self._parts)

    @property
    def seconds(self) -> float:
        """Seconds since the stream was made."""
        return time.perf_counter() - self._started

    def token(self) -> None:
        """Note that a token has arrived, whether or not it made text."""
        self.seconds_to_first = self.seconds_to_first or self.seconds

    def feed(self, text: str) -> bool:
        """Take the next piece of text; False when no more is wanted."""
        if self.finish is None and text:
            self._pending += text
            found = [place for place in map(self._pending.find, self._stop) if place >= 0]
            if found:
                self._hand_on(self._pending[: min(found)])
                self.finish = self.finish or "stop"
            else:
                self._hand_on(self._pending[: len(self._pending) - self._held()])
        return self.finish is None

    def close(self) -> None:
        """No more text comes: what was held back is handed on."""
        if self.finish is None:
            self._hand_on(self._pending)

    def _held(self) -> int:
        """Length of the longest end of the pending text that begins a stop text."""
        most = max((len(stop) - 1 for stop in self._stop), default=0)
        for length in range(min(most, len(self._pending)), 0, -1):
            if any(stop.startswith(self._pending[-length:]) for stop in self._stop):
                return length
        return 0

    def _hand_on(self, text: str) -> None:
        self._pending = self._pending[len(text) :]
        if text:
            self._parts.append(text)
            if not self._on_text(text):
                self.finish = "cancelled"
            elif _loops("".join(self._parts[-_LOOP_WINDOW:])):
                self.finish = "stop"

    def generation(self, prompt_tokens: int, tokens: int, at_limit: bool) -> Generation:
        """The record of a finished generation; `at_limit` says that only the number of tokens ended it."""
        self.close()
        length = at_limit and self.finish is None
        return Generation(
            text=self.text.strip(),
            prompt_tokens=prompt_tokens,
            tokens=tokens,
            seconds_to_first=self.seconds_to_first or self.seconds,
            seconds=self.seconds,
            finish="length" if length else self.finish or "stop",
        )


def as_plain_text(prompt: Prompt) -> str:
    """A chat for a model that has no chat template of its own: one text that ends where the answer begins."""
    text = prompt.text.rstrip()
    return text if text.endswith(":") else f"{text}\n\nAnswer:"


def check_room(prompt_tokens: int, decoding: Decoding, context_tokens: int) -> None:
    """Raise PromptTooLong if prompt and answer cannot both fit the model's context."""
    if prompt_tokens + decoding.max_tokens > context_tokens:
        raise PromptTooLong(
            f"The prompt has {prompt_tokens:,} tokens and the answer may have {decoding.max_tokens:,}; "
            f"the model reads {context_tokens:,} in all.",
            "Use fewer or shorter passages, allow fewer tokens for the answer, or choose a model that reads more.",
        )


class ControlTokens:
    """The tokens with which a model marks turns, made harmless in text that people and documents bring.

    Without this a document that contains `<|im_end|>` could end the user's turn and speak as the system. A space goes
    in after the first character: people still read the same, the tokenizer no longer sees one token.
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        names = sorted({token for token in tokens if len(token) > 1 and token.strip()}, key=len, reverse=True)
        self._found = re.compile("|".join(map(re.escape, names))) if names else None

    def neutralise(self, text: str) -> str:
        """The text without any control token."""
        while self._found and self._found.search(text):
            text = self._found.sub(lambda match: f"{match[0][0]} {match[0][1:]}", text)
        return text

    def safe(self, prompt: Prompt) -> Prompt:
        """The prompt with its data neutralised.

        In a chat every character is data to the model's chat template, so whole messages are treated. A completion may
        use control tokens in its own instructions (fill-in-the-middle models need them), so only what was inserted is,
        neighbouring insertions together, since a token could be spread over two of them.
        """
        if self._found is None:
            return prompt
        messages = tuple(Message(message.role, self._segments(message, prompt.chat)) for message in prompt.messages)
        return replace(prompt, messages=messages)

    def _segments(self, message: Message, chat: bool) -> tuple[Segment, ...]:
        runs: list[list[Segment]] = []
        for segment in message.segments:
            joined = chat or segment.kind != "instruction"
            if runs and joined and (chat or runs[-1][-1].kind != "instruction"):
                runs[-1].append(segment)
            else:
                runs.append([segment])
        safe: list[Segment] = []
        for run in runs:
            text = "".join(segment.text for segment in run)
            if not chat and run[0].kind == "instruction" or not self._found or not self._found.search(text):
                safe += run
                continue
            safe += [Segment(one.kind, self.neutralise(one.text), one.number) for one in run]
            if self._found.search("".join(segment.text for segment in safe[-len(run) :])):
                safe[-len(run) :] = [Segment(run[-1].kind, self.neutralise(text), run[-1].number)]
        return tuple(safe)
