"""The tokenizer side of a language model: what it reads for a prompt, and how long that is. No weights are loaded."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from ragkit import models
from ragkit.errors import ModelError
from ragkit.generate.stream import ControlTokens, as_plain_text
from ragkit.types import Prompt

MAX_CONTEXT = 32_768
"""Longer contexts are cut to this: a prompt of that size already takes minutes on a CPU."""
_FALLBACK_CONTEXT = 2048
"""For models that set no limit of their own (T5 has relative positions and was trained on 512 to 2,048 tokens)."""
_BATCH = 256
"""Texts that are counted together."""


class ChatTokenizer:
    """Renders and counts as the model's engines do: a built-in name, a folder, a GGUF file or a hub id.

    A GGUF file is converted once, which takes seconds. Raises ModelError if the model cannot be found, or transformers
    does not know its tokenizer.
    """

    def __init__(self, model: str) -> None:
        from transformers import AutoConfig, AutoTokenizer  # takes two seconds, and most commands need no tokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
        self._folder = models.as_safetensors(models.resolve(model, "generator"))
        try:
            self.config: Any = AutoConfig.from_pretrained(self._folder, trust_remote_code=False)
            self.tokenizer: Any = AutoTokenizer.from_pretrained(self._folder, trust_remote_code=False)
        except (OSError, ValueError, KeyError) as error:
            raise cannot_load(model, error) from error
        self.context_tokens = _context(self.config, self.tokenizer)
        added = [token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special]
        self._control = ControlTokens([*self.tokenizer.all_special_tokens, *added])

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, without special tokens."""
        return len(self.tokenizer.encode(text, add_special_tokens=False, verbose=False))

    def count_many(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, without special tokens; much faster than one by one."""
        counts: list[int] = []
        for start in range(0, len(texts), _BATCH):
            batch = self.tokenizer(list(texts[start : start + _BATCH]), add_special_tokens=False, verbose=False)
            counts += [len(ids) for ids in batch["input_ids"]]
        return counts

    def render(self, prompt: Prompt) -> str:
        """The exact text that the model reads; control tokens in people's and documents' text are broken up."""
        safe = self._control.safe(prompt)
        if not prompt.chat:
            return safe.text
        if not self.tokenizer.chat_template:
            return as_plain_text(safe)
        messages = [{"role": message.role, "content": message.text} for message in safe.messages]
        return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

    def marked(self, prompt: Prompt) -> bool:
        """Whether the rendered prompt brings its special tokens itself; else the tokenizer puts its own around it."""
        return prompt.chat and bool(self.tokenizer.chat_template)

    def encode(self, prompt: Prompt) -> list[int]:
        """The tokens that the model reads for a prompt."""
        text, plain = self.render(prompt), not self.marked(prompt)
        return list(self.tokenizer.encode(text, add_special_tokens=plain, verbose=False))

    def reply(self, prompt: Prompt, text: str) -> list[int]:
        """The tokens that the model would write for an answer to this prompt, the one that ends it included."""
        text = self.neutralise(text)
        written = text
        if self.marked(prompt):
            messages = [{"role": each.role, "content": each.text} for each in self._control.safe(prompt).messages]
            messages.append({"role": "assistant", "content": text})
            whole, begun = str(self.tokenizer.apply_chat_template(messages, tokenize=False)), self.render(prompt)
            written = whole.removeprefix(begun) if whole.startswith(begun + text) else text
        ids = list(self.tokenizer.encode(written, add_special_tokens=False, verbose=False))
        end = next((place for place, token in enumerate(ids) if token in self.ends), None)
        return ids[: end + 1] if end is not None else [*ids, self.tokenizer.eos_token_id]

    def neutralise(self, text: str) -> str:
        """A text without any control token."""
        return self._control.neutralise(text)

    @cached_property
    def ends(self) -> frozenset[int]:
        """Tokens that end an answer: the tokenizer's own, and those that the model's settings name."""
        from transformers import GenerationConfig

        named = [self.tokenizer.eos_token_id, self.config.eos_token_id]
        if (self._folder / "generation_config.json").is_file():
            named.append(GenerationConfig.from_pretrained(self._folder).eos_token_id)
        flat = [one for each in named for one in (each if isinstance(each, list) else [each])]
        return frozenset(one for one in flat if one is not None)


def cannot_load(model: str, error: Exception) -> ModelError:
    """What to say of a model that transformers refuses."""
    reason = str(error).strip().splitlines()[0]
    hint = "It must be a causal or seq2seq model that transformers knows without code of its own."
    return ModelError(f"The model {model!r} cannot be loaded: {reason}", hint)


def _context(config: Any, tokenizer: Any) -> int:  # noqa: ANN401 - a transformers configuration and tokenizer
    for name in ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length"):
        limit = getattr(config, name, None)
        if isinstance(limit, int) and limit > 0:
            return min(limit, MAX_CONTEXT)
    limit = tokenizer.model_max_length
    return int(limit) if limit < MAX_CONTEXT else _FALLBACK_CONTEXT
