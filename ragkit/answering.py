"""Answers through a cache in the collection's database: nothing is retrieved or generated twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ragkit import models
from ragkit.cache import file_sha256
from ragkit.errors import Cancelled
from ragkit.generate import engines
from ragkit.prompt.pack import pack
from ragkit.prompt.template import Template
from ragkit.reading import READS
from ragkit.runs import Column, Runs
from ragkit.settings import RetrieveSettings
from ragkit.types import Answer, Evidence, Generation, Reading, Variant, digest, from_json
from ragkit.workbench import Workbench

CACHE_FORMAT = 1
"""Part of every key of the cache: raised when the same inputs would give another outcome."""

CLOSED_BOOK = Template(
    name="no context",
    summary="The question alone.",
    when="To see what the model knows without the documents.",
    user="Answer the question in a few words.\n\nQuestion: {question}",
)
"""The prompt of the column `none`: templates speak of passages, and there is none here."""


Stop = Callable[[], bool]
"""Asked again and again; True ends the work."""


def model_identity(workbench: Workbench, variant: Variant) -> list[str]:
    """Engine, hash of the model's weights and hash of the adapter: what generates, whatever it is called."""
    folder = workbench.adapter_folder(variant)
    engine = engines.choose(variant.engine, variant.model, folder)
    kind: models.Kind = "embedder" if engine == READS else "generator"
    weights = "" if engine == "echo" else models.resolve(variant.model, kind).sha256
    files = sorted(file for file in Path(folder).rglob("*") if file.is_file()) if folder else []
    adapter = [[str(file.relative_to(folder)), file_sha256(file)] for file in files]
    return [engine, weights, digest(adapter) if folder else ""]


def reader_identity(workbench: Workbench, retrieve: RetrieveSettings) -> list[str]:
    """Identity of the reader that takes part in answers; empty without one."""
    reader = workbench.readers.get(retrieve.reader)
    return [reader.identity] if reader else []


class Answering:
    """Answers through the cache: a prompt that this model has answered with this decoding is not answered again."""

    def __init__(self, workbench: Workbench, should_stop: Stop) -> None:
        self.workbench = workbench
        self.generated = 0
        self.cached = 0
        self.withheld = 0
        self._runs = Runs(workbench.collection)
        self._should_stop = should_stop
        self._identities: dict[tuple[str, str, str], list[str]] = {}

    def evidence(self, question: str, retrieve: RetrieveSettings, documents: Sequence[str] | None = None) -> Evidence:
        """What `Workbench.retrieve` finds; kept as long as the documents do not change."""
        collection = self.workbench.collection
        # What decides what is done with the passages, not which they are.
        settings = replace(retrieve, abstain_below=0.0, reader="", reader_below=0.0, reader_above=1.0)
        key = digest([CACHE_FORMAT, question, settings, documents, collection.sequence, collection.fingerprint])
        kept = self._runs.outcome(key)
        if kept is not None:
            return from_json(Evidence, kept)
        found = self.workbench.retrieve(question, retrieve, documents)
        self._runs.keep_outcome(key, "evidence", found)
        return found

    def answer(
        self,
        variant: Variant,
        evidence: Evidence,
        retrieve: RetrieveSettings,
        column: Column = "retrieved",
        repeat: int = 0,
    ) -> Answer:
        """One answer on this evidence. Raises Cancelled when it was asked to stop; then nothing is kept."""
        variant = self.workbench.defaults.settled(variant)
        if self._should_stop():
            raise Cancelled("The evaluation was stopped.", "Start it again to go on where it ended.")
        reading = self._reading(variant, evidence, retrieve) if column != "none" else None
        answer = self.workbench.withheld(variant, evidence, retrieve, reading) if column != "none" else None
        if answer is not None:
            self.withheld += 1
            return answer
        decoding = replace(variant.decoding, seed=variant.decoding.seed + repeat)
        generator = self.workbench.generator(variant)
        if column == "none":
            prompt = pack(CLOSED_BOOK, evidence.question, (), (), generator, decoding.max_tokens)
        else:
            prompt = self.workbench.prompt(evidence.question, variant, evidence)
        text = generator.render(prompt)
        # At temperature 0 nothing but the longest length and the penalty of the decoding counts.
        shaping = decoding if decoding.temperature > 0 else replace(decoding, temperature=0.0, top_p=1.0, seed=0)
        key = digest([CACHE_FORMAT, text, prompt.chat, prompt.stop, self._identity(variant), shaping])
        kept = self._runs.outcome(key)
        if kept is not None:
            self.cached += 1
            generation = from_json(Generation, kept)
        else:
            generation = generator.generate(prompt, decoding, lambda _: not self._should_stop())
            if generation.finish == "cancelled":
                raise Cancelled("The evaluation was stopped.", "Start it again to go on where it ended.")
            self._runs.keep_outcome(key, "generation", generation)
            self.generated += 1
        answer = self.workbench.answer_of(variant, evidence, prompt, generation, reading, retrieve)
        return replace(answer, support=()) if column == "none" else answer

    def _reading(self, variant: Variant, evidence: Evidence, retrieve: RetrieveSettings) -> Reading | None:
        """What `Workbench.read` quotes; kept by the reader's identity, threshold included."""
        reader = self.workbench.reader(evidence, retrieve, variant)
        if reader is None:
            return None
        passages = [hit.text for hit in evidence.hits]
        key = digest([CACHE_FORMAT, "reading", reader.identity, evidence.question, passages])
        kept = self._runs.outcome(key)
        if kept is not None:
            return from_json(Reading, kept)
        found = reader.read(evidence.question, passages)
        if found is not None:
            self._runs.keep_outcome(key, "reading", found)
        return found

    def _identity(self, variant: Variant) -> list[str]:
        place = (variant.engine, variant.model, variant.adapter)
        if place not in self._identities:
            self._identities[place] = model_identity(self.workbench, variant)
        return self._identities[place]
