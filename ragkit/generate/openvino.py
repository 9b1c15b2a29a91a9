"""Generation by openvino-genai: the fast way on a CPU, with a cache of prompt prefixes."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import gguf
import openvino_genai

from ragkit import adapters, models
from ragkit.cache import made_once
from ragkit.errors import ModelError
from ragkit.generate import merge, requantise
from ragkit.generate.stream import ControlTokens, OnText, Stream, as_plain_text, check_room
from ragkit.types import Asked, Decoding, Generation, Prompt

_BLOCK_TOKENS = 32
"""Tokens in one block of openvino's key-value cache on a CPU."""
_CACHED_CONTEXTS = 2
_CACHED_TOKENS = 65_536
"""The cache holds this many whole contexts, but no more than so many tokens unless one context needs them. Blocks are
allocated as they are used: the built-in model takes 20 kB a token, 320 MB when the cache is full."""
_BATCH_TOKENS = 4096
"""Tokens of a prompt read in one step. With the default of 256 the first token of a 1,000-word prompt came after
0.74 s, with 1,024 after 0.45 s, with 4,096 after 0.39 s (medians, taking turns, on two cores with other work too)."""
_FALLBACK_CONTEXT = 2048
"""For a model folder that does not say how long its context is."""
_NOTES = "ragkit.json"
_FORMAT = 2
"""Part of the cache folder's name: a change of the conversion makes new folders."""
_CONTROL = 3
"""GGUF's type of the tokens that mark turns and the like."""

_Pipeline = TypeVar("_Pipeline")


class OpenVINOGenerator:
    """Any GGUF file of an architecture that openvino-genai knows, or a folder in OpenVINO's format.

    A GGUF file is converted once and kept in the cache folder: later starts take 1.3 s instead of 2.8 s for the
    built-in model, and 100 MB less memory. Calls queue; prompts that share a beginning are read once.

    `adapter` is the folder of an adapter of a GGUF model, merged into it when the two first meet.
    """

    def __init__(self, model: str, adapter: str = "") -> None:
        found = models.resolve(model, "generator")
        if adapter:
            folder = _merged(found, adapters.read(Path(adapter)))
        else:
            folder = _converted(found) if found.format == "gguf" else found.path
        if found.format == "safetensors":
            raise ModelError(
                f"The engine openvino reads GGUF files and OpenVINO folders; {model!r} is neither.",
                "Use the engine transformers, or auto.",
            )
        self.context_tokens, control = _notes(folder)
        self._control = ControlTokens(control)
        self._pipeline = _pipeline(folder, model, self.context_tokens)
        self._tokenizer = self._pipeline.get_tokenizer()
        self._lock = threading.Lock()

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, without special tokens."""
        return int(self._encode(text, special=False).input_ids.shape[1])

    def render(self, prompt: Prompt) -> str:
        """The exact text that the model reads; control tokens in people's and documents' text are broken up."""
        safe = self._control.safe(prompt)
        if not prompt.chat:
            return safe.text
        if not self._tokenizer.chat_template:
            return as_plain_text(safe)
        messages = [{"role": message.role, "content": message.text} for message in safe.messages]
        return str(self._tokenizer.apply_chat_template(messages, True))

    def generate(self, prompt: Prompt, decoding: Decoding, on_text: OnText) -> Generation:
        """Answer the prompt; stops within a token once `on_text` returns False. Raises PromptTooLong."""
        return self.generate_together([Asked(prompt, decoding, on_text)])[0]

    def generate_together(self, asked: Sequence[Asked]) -> list[Generation]:
        """Answer several prompts, a token of each at a time: four take little longer than two one after another.

        What they begin with in common is read once. The order of the pieces of text is that of the tokens. Raises
        PromptTooLong before anything is read.
        """
        with self._lock:
            inputs = [self._inputs(each) for each in asked]
            running: list[_Running] = []
            try:
                for number, (each, tokens) in enumerate(zip(asked, inputs, strict=True)):
                    handle = self._pipeline.add_request(number, tokens.input_ids, self._config(each.decoding))
                    running.append(_Running(each, tokens.input_ids.shape[1], handle, self._tokenizer))
                    self._step(running)  # it is read before the next comes, which then finds its beginning in the cache
                while self._pipeline.has_non_finished_requests():
                    self._step(running)
            except BaseException:
                for one in running:
                    one.handle.cancel()
                while self._pipeline.has_non_finished_requests():
                    self._pipeline.step()
                raise
            return [one.generation() for one in running]

    def _inputs(self, asked: Asked) -> Any:  # noqa: ANN401 - openvino_genai.TokenizedInputs
        prompt = asked.prompt
        marked = prompt.chat and bool(self._tokenizer.chat_template)
        inputs = self._encode(self.render(prompt), special=not marked)
        check_room(int(inputs.input_ids.shape[1]), asked.decoding, self.context_tokens)
        return inputs

    def _step(self, running: Sequence[_Running]) -> None:
        self._pipeline.step()
        for one in running:
            one.take()

    def _encode(self, text: str, special: bool) -> Any:  # noqa: ANN401 - openvino_genai.TokenizedInputs
        return self._tokenizer.encode(text, add_special_tokens=special)

    def _config(self, decoding: Decoding) -> openvino_genai.GenerationConfig:
        config = self._pipeline.get_config()
        config.max_new_tokens = decoding.max_tokens
        config.repetition_penalty = decoding.repetition_penalty
        config.do_sample = decoding.temperature > 0
        config.rng_seed = decoding.seed
        if decoding.temperature > 0:
            config.temperature = decoding.temperature
            config.top_p = decoding.top_p
        return config


class _Running:
    """A prompt that is being answered."""

    def __init__(self, asked: Asked, prompt_tokens: int, handle: Any, tokenizer: openvino_genai.Tokenizer) -> None:  # noqa: ANN401
        self.handle = handle
        self._prompt_tokens = int(prompt_tokens)
        self._stream = Stream(asked.on_text, asked.prompt.stop)
        self._text = openvino_genai.TextStreamer(tokenizer, self._feed)
        self._tokens = 0
        self._at_limit = self._ended = False

    def take(self) -> None:
        """Pass on what the last step wrote."""
        while not self._ended and self.handle.can_read():
            for output in self.handle.read().values():
                for token in output.generated_ids:
                    self._stream.token()
                    self._tokens += 1
                    if self._text.write(token) != openvino_genai.StreamingStatus.RUNNING:
                        self._ended = True
                        self.handle.cancel()
                        return
                self._at_limit = output.finish_reason == openvino_genai.GenerationFinishReason.LENGTH

    def generation(self) -> Generation:
        """The record, once it has ended."""
        self._text.end()
        return self._stream.generation(self._prompt_tokens, self._tokens, self._at_limit)

    def _feed(self, text: str) -> openvino_genai.StreamingStatus:
        going_on = self._stream.feed(text)
        return openvino_genai.StreamingStatus.RUNNING if going_on else openvino_genai.StreamingStatus.CANCEL


def _pipeline(folder: Path, model: str, context_tokens: int) -> openvino_genai.ContinuousBatchingPipeline:
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.enable_prefix_caching = True
    cached = max(context_tokens, min(_CACHED_CONTEXTS * context_tokens, _CACHED_TOKENS))
    scheduler.num_kv_blocks = -(-cached // _BLOCK_TOKENS) + 1
    scheduler.max_num_batched_tokens = min(_BATCH_TOKENS, context_tokens)
    return _load(lambda: openvino_genai.ContinuousBatchingPipeline(folder, scheduler, "CPU"), model)


def _load(load: Callable[[], _Pipeline], model: str) -> _Pipeline:
    try:
        return load()
    except (RuntimeError, IndexError, ValueError) as error:  # what its C++ errors arrive as
        reason = next((line for line in reversed(str(error).splitlines()) if line.strip()), "no reason given")
        raise ModelError(
            f"openvino-genai cannot load the model {model!r}: {reason.strip()}", "Use the engine transformers."
        ) from error


def _converted(model: models.ResolvedModel) -> Path:
    """The folder converted from a GGUF file: in the cache, made on first use."""

    def put(source: gguf.GGUFReader, target: Path) -> None:
        if requantise.inexact(source):
            requantise.rewrite(source, target)
        else:
            _borrow(model.path, target)

    return _converted_once(model, f"{model.path.stem}-{model.sha256[:16]}", put)


def _merged(model: models.ResolvedModel, adapter: adapters.Adapter) -> Path:
    """The folder converted from a model with an adapter merged into it: in the cache, made on first use."""
    merge.check(model, adapter)
    return _converted_once(
        model, merge.name_of(model, adapter), lambda source, target: merge.write(model, adapter, target, source=source)
    )


def _converted_once(model: models.ResolvedModel, name: str, put: Callable[[gguf.GGUFReader, Path], None]) -> Path:
    """The folder of that name, converted from a GGUF file that `put` makes of the model's own, opened once: opening it
    takes seconds. The notes are from the model's own.
    """
    version = importlib.metadata.version("openvino-genai")

    def make(folder: Path) -> None:
        source = requantise.opened(model.path)
        notes = _notes_of(source)
        weights = folder / "model.gguf"
        put(source, weights)
        del source  # half a million small objects, which nobody needs while the engine builds its graph
        _load(lambda: openvino_genai.LLMPipeline(weights, "CPU", enable_save_ov_model=True), model.name)
        weights.unlink()
        (folder / _NOTES).write_text(json.dumps(notes, indent=1), encoding="utf-8")

    return made_once(f"openvino/{name}-{version}-{_FORMAT}", make)


def _borrow(source: Path, link: Path) -> None:
    try:
        link.symlink_to(source)
    except OSError:  # a system without links
        shutil.copyfile(source, link)


def _notes_of(source: gguf.GGUFReader) -> dict[str, Any]:
    """Context length and control tokens of a GGUF file."""
    fields = source.fields
    context = fields.get(f"{fields['general.architecture'].contents()}.context_length")
    tokens, types = fields.get("tokenizer.ggml.tokens"), fields.get("tokenizer.ggml.token_type")
    control: list[str] = []
    if tokens and types:
        pairs = zip(tokens.contents(), types.contents(), strict=False)
        control = [token for token, kind in pairs if kind == _CONTROL]
    return {"context_tokens": int(context.contents()) if context else _FALLBACK_CONTEXT, "control_tokens": control}


def _notes(folder: Path) -> tuple[int, list[str]]:
    """Context length and control tokens of a model in OpenVINO's format."""
    own = _json(folder / _NOTES)
    if own:
        return int(own["context_tokens"]), list(own["control_tokens"])
    context = _json(folder / "config.json").get("max_position_embeddings", _FALLBACK_CONTEXT)
    added = _json(folder / "tokenizer_config.json").get("added_tokens_decoder", {})
    listed = _json(folder / "tokenizer.json").get("added_tokens", [])
    tokens = [entry["content"] for entry in [*added.values(), *listed] if entry.get("special")]
    return int(context), tokens


def _json(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ModelError(f"{path} is damaged: {error}.", "Remove the folder; it is made or fetched again.") from error
    return read if isinstance(read, dict) else {}
