"""Generation by transformers: any causal or seq2seq model, any PEFT adapter, on a GPU where there is one."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import peft
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    StoppingCriteria,
    StoppingCriteriaList,
)
from transformers.generation.streamers import BaseStreamer

from ragkit import adapters, models
from ragkit.errors import ModelError
from ragkit.generate.chat import ChatTokenizer, cannot_load
from ragkit.generate.stream import OnText, Stream, check_room
from ragkit.types import Decoding, Generation, Prompt


class TransformersGenerator:
    """A language model by built-in name, folder or hub id; `adapter` is the folder of an adapter: PEFT's, or a whole
    tuned model.

    On a CPU with bf16 arithmetic the model runs in bfloat16, else in float32 (built-in model on two cores: 631 tokens
    of prompt 0.37 s against 0.88 s, then 34 against 23 tokens a second). On a GPU it runs in the type it was saved in.
    """

    def __init__(self, model: str, adapter: str = "") -> None:
        found = models.resolve(model, "generator")
        tuned = adapters.read(Path(adapter)) if adapter else None
        if tuned is not None:
            _check(tuned, found)
        whole = tuned is not None and tuned.method == "full"
        folder = tuned.folder if tuned is not None and whole else models.as_safetensors(found)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._chat = ChatTokenizer(model)
        self._tokenizer = self._chat.tokenizer
        config = self._chat.config
        kind: Any = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        try:
            loaded = kind.from_pretrained(
                folder, dtype=_dtype(config, self._device), use_safetensors=True, trust_remote_code=False
            )
        except (OSError, ValueError, KeyError) as error:
            raise cannot_load(str(folder) if whole else model, error) from error
        self._model: Any = _with_adapter(loaded, tuned, found) if tuned is not None and not whole else loaded
        self._model.to(self._device).eval()
        self.context_tokens = self._chat.context_tokens
        self._lock = threading.Lock()

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, without special tokens."""
        return self._chat.count_tokens(text)

    def render(self, prompt: Prompt) -> str:
        """The exact text that the model reads; control tokens in people's and documents' text are broken up."""
        return self._chat.render(prompt)

    def generate(self, prompt: Prompt, decoding: Decoding, on_text: OnText) -> Generation:
        """Answer the prompt; stops within a token once `on_text` returns False. Raises PromptTooLong."""
        with self._lock, torch.inference_mode():
            stream = Stream(on_text, prompt.stop)
            plain = not self._chat.marked(prompt)
            inputs = self._tokenizer(self.render(prompt), add_special_tokens=plain, return_tensors="pt", verbose=False)
            inputs = {name: inputs[name].to(self._device) for name in ("input_ids", "attention_mask")}
            prompt_tokens = int(inputs["input_ids"].shape[1])
            check_room(prompt_tokens, decoding, self.context_tokens)
            streamer = _Streamer(self._tokenizer, stream)
            with torch.random.fork_rng(devices=["cuda"] if self._device == "cuda" else []):
                torch.manual_seed(decoding.seed)
                self._model.generate(
                    **inputs,
                    **self._options(decoding),
                    streamer=streamer,
                    stopping_criteria=StoppingCriteriaList([_Stopped(stream)]),
                )
            at_limit = streamer.tokens >= decoding.max_tokens and streamer.last not in self._ends()
            return stream.generation(prompt_tokens, streamer.tokens, at_limit)

    def _ends(self) -> set[int]:
        ends = self._model.generation_config.eos_token_id
        return {self._tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])}

    def _options(self, decoding: Decoding) -> dict[str, Any]:
        options: dict[str, Any] = {
            "max_new_tokens": decoding.max_tokens,
            "repetition_penalty": decoding.repetition_penalty,
            "do_sample": decoding.temperature > 0,
            "num_beams": 1,
            "pad_token_id": self._tokenizer.pad_token_id
            if self._tokenizer.pad_token_id is not None
            else self._tokenizer.eos_token_id,
        }
        if decoding.temperature > 0:
            options.update(temperature=decoding.temperature, top_p=decoding.top_p, top_k=0)
        else:  # a model's own sampling settings would only cause warnings
            options.update(temperature=None, top_p=None, top_k=None)
        return options


class _Streamer(BaseStreamer):
    """Counts tokens and passes their text on at once; only a character that is not yet whole waits for its bytes."""

    def __init__(self, tokenizer: Any, stream: Stream) -> None:  # noqa: ANN401
        self._stream = stream
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._shown = 0
        self._begun = False  # what comes first is the prompt, or a decoder's start token
        self.last = -1

    @property
    def tokens(self) -> int:
        """Tokens of the answer so far."""
        return len(self._ids)

    def put(self, value: torch.Tensor) -> None:
        """Called with the prompt, then with each token."""
        if not self._begun:
            self._begun = True
            return
        self._stream.token()
        self._ids += value.flatten().tolist()
        self.last = self._ids[-1]
        text = self._text()
        if not text.endswith("\ufffd"):
            self._hand_on(text)

    def end(self) -> None:
        """Called after the last token."""
        self._hand_on(self._text())

    def _text(self) -> str:
        return str(self._tokenizer.decode(self._ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _hand_on(self, text: str) -> None:
        self._stream.feed(text[self._shown :])
        self._shown = len(text)


class _Stopped(StoppingCriteria):
    """Ends the generation when the stream wants no more."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **kwargs: object) -> torch.Tensor:
        stopped = self._stream.finish is not None
        return torch.full((input_ids.shape[0],), stopped, dtype=torch.bool, device=input_ids.device)


def _dtype(config: Any, device: str) -> torch.dtype:  # noqa: ANN401 - a transformers configuration
    if device != "cpu":
        saved = getattr(config, "dtype", None)
        return saved if isinstance(saved, torch.dtype) else torch.float32
    return torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32


def _check(adapter: adapters.Adapter, base: models.ResolvedModel) -> None:
    """Raise ModelError for an adapter of another base, or one that does not write."""
    adapters.check_base(adapter, base)
    if adapter.task != "generate":
        raise ModelError(
            f"The adapter {adapter.name} quotes and does not write.", "Use it as a reader, with the engine reader."
        )


def _with_adapter(model: Any, adapter: adapters.Adapter, base: models.ResolvedModel) -> Any:  # noqa: ANN401
    """The model with the adapter. Raises ModelError if it does not fit."""
    try:
        return peft.PeftModel.from_pretrained(model, adapter.folder, is_trainable=False, use_safetensors=True)
    except (ValueError, RuntimeError, KeyError, TypeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(
            f"The adapter {adapter.folder} does not fit the model {base.name!r}: {reason}",
            "Use the base it was trained on.",
        ) from error
