"""An engine without a model: it quotes. For tests, demonstrations and machines that are too small for anything else."""

from __future__ import annotations

import re
import threading

from ragkit.errors import ModelError
from ragkit.generate.stream import OnText, Stream, check_room
from ragkit.types import Decoding, Generation, Hit, Prompt
from ragkit.words import content_words

_WORD = re.compile(r"\S+\s*")
_FIRST_SENTENCE = re.compile(r"\s*(.+?[.!?](?=\s|$)|.+)", re.DOTALL)
_NOTHING = "The documents do not say."


class EchoGenerator:
    """Answers with the first sentence of the passage that shares most words with the question, and its mark.

    A token is a word. The same prompt always gives the same answer; nothing of the decoding but `max_tokens` counts.
    """

    context_tokens = 8192

    def __init__(self, model: str = "", adapter: str = "") -> None:
        if adapter:
            raise ModelError(f"The engine echo has no model to add {adapter!r} to.", "Use the engine transformers.")
        self._lock = threading.Lock()

    def count_tokens(self, text: str) -> int:
        """Words of the text."""
        return len(text.split())

    def render(self, prompt: Prompt) -> str:
        """The prompt's text as it is."""
        return prompt.text

    def generate(self, prompt: Prompt, decoding: Decoding, on_text: OnText) -> Generation:
        """Quote the nearest passage, word by word."""
        with self._lock:
            stream = Stream(on_text, prompt.stop)
            prompt_tokens = self.count_tokens(self.render(prompt))
            check_room(prompt_tokens, decoding, self.context_tokens)
            words = _WORD.findall(_answer(prompt))
            tokens = 0
            for word in words[: decoding.max_tokens]:
                tokens += 1
                stream.token()
                if not stream.feed(word):
                    break
            return stream.generation(prompt_tokens, tokens, at_limit=len(words) > decoding.max_tokens)


def _answer(prompt: Prompt) -> str:
    question = "".join(part.text for message in prompt.messages for part in message.segments if part.kind == "question")
    if not prompt.hits:
        return _NOTHING
    wanted = set(content_words(question))

    def overlap(hit: Hit) -> int:
        return len(wanted & set(content_words(hit.text)))

    number, best = max(enumerate(prompt.hits, start=1), key=lambda item: (overlap(item[1]), -item[0]))
    sentence = _FIRST_SENTENCE.match(best.text)
    return f"{' '.join(sentence[1].split()) if sentence else ''} [{number}]".strip()
