"""A prompt and its answer as a trainer reads them: messages for a chat template, or the text of a completion."""

from __future__ import annotations

import re

from ragkit.types import Prompt

Text = str | list[dict[str, str]]
"""A list of messages for the model's chat template, or the text of a completion."""

_TURN_MARK = re.compile(r"<\|[^<>|\s]{1,40}\|>|</?s>|\[/?(?:INST|SYS)\]|<</?SYS>>|<(?:start|end)_of_turn>|<[be]os>")
"""What chat models mark turns with (ChatML, Llama 2 and 3, Gemma, Phi, Mistral). The file is for any model, so these
are broken up whichever model answered."""


def prompt_text(prompt: Prompt) -> Text:
    """What the model read: what people and documents brought in cannot mark turns (see generate.stream.ControlTokens).

    A completion may use such marks in its own instructions, so there only what was inserted is treated.
    """
    if prompt.chat:
        return [{"role": message.role, "content": harmless(message.text)} for message in prompt.messages]
    messages = (
        "".join(part.text if part.kind == "instruction" else harmless(part.text) for part in message.segments)
        for message in prompt.messages
    )
    return "\n\n".join(messages)


def harmless(text: str) -> str:
    """The text with a space in each turn mark, so that no tokenizer takes it for one."""
    while _TURN_MARK.search(text):
        text = _TURN_MARK.sub(lambda match: f"{match[0][0]} {match[0][1:]}", text)
    return text


def completion(prompt: Prompt, text: str) -> Text:
    """The answer; in a completion apart from the prompt by the space that the model would have written itself."""
    text = harmless(text)
    if not prompt.chat:
        return text if not prompt.text or prompt.text[-1].isspace() else f" {text}"
    return [{"role": "assistant", "content": text}]
