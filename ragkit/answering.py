"""Answers through a cache in the collection's database: nothing is retrieved or generated twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ragkit import models
from ragkit.cache import file_sha256
from ragkit.errors import Cancelled
from ragkit.generate import engines
from ragkit.prompt.pack import pack
from ragkit.prompt.template import Template
from ragkit.protocols import Batching, Generator
from ragkit.reading import READS
from ragkit.runs import Column, Runs
from ragkit.settings import RetrieveSettings
from ragkit.types import Answer, Asked, Evidence, Generation, Reading, Variant, digest, from_json
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


@dataclass(frozen=True, slots=True)
class Wanted:
    """An answer that is wanted."""

    variant: Variant
    evidence: Evidence
    column: Column = "retrieved"
    repeat: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class _Draft:
    """An answer before its model is asked."""

    wanted: Wanted
    reading: Reading | None
    generator: Generator
    asked: Asked
    key: str
    """Of the cache."""
    together: bool
    """Whether it is written at once with others."""


def _stopped() -> Cancelled:
    return Cancelled("The evaluation was stopped.", "Start it again to go on where it ended.")


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
        return self.answers([Wanted(variant, evidence, column, repeat)], retrieve)[0]

    def answers(self, wanted: Sequence[Wanted], retrieve: RetrieveSettings, *, together: bool = False) -> list[Answer]:
        """Answers in the order in which they are wanted. Raises Cancelled when it was asked to stop.

        One after another, each is what its prompt gives alone. `together` writes those of a model at once where its
        engine can do that, which takes less time; arithmetic of 16 bits then rounds otherwise, so that a wording may
        differ from that of an answer written alone, and the cache keeps the two apart.
        """
        drafts = [self._draft(each, retrieve, together) for each in wanted]
        blocks: dict[object, list[_Draft]] = {}
        for draft in drafts:
            if isinstance(draft, _Draft):
                blocks.setdefault(draft.generator if draft.together else draft, []).append(draft)
        written: dict[str, Generation] = {}
        for block in blocks.values():
            written |= self._written(block)
        return [
            self._finished(draft, written[draft.key], retrieve) if isinstance(draft, _Draft) else draft
            for draft in drafts
        ]

    def _draft(self, wanted: Wanted, retrieve: RetrieveSettings, together: bool) -> Answer | _Draft:
        """What the model is to be asked, or the answer where none is."""
        variant, evidence = self.workbench.defaults.settled(wanted.variant), wanted.evidence
        if self._should_stop():
            raise _stopped()
        closed_book = wanted.column == "none"
        reading = None if closed_book else self._reading(variant, evidence, retrieve)
        withheld = None if closed_book else self.workbench.withheld(variant, evidence, retrieve, reading)
        if withheld is not None:
            self.withheld += 1
            return withheld
        decoding = replace(variant.decoding, seed=variant.decoding.seed + wanted.repeat)
        generator = self.workbench.generator(variant)
        if closed_book:
            prompt = pack(CLOSED_BOOK, evidence.question, (), (), generator, decoding.max_tokens)
        else:
            prompt = self.workbench.prompt(evidence.question, variant, evidence)
        # At temperature 0 nothing but the longest length and the penalty of the decoding counts.
        shaping = decoding if decoding.temperature > 0 else replace(decoding, temperature=0.0, top_p=1.0, seed=0)
        together = together and isinstance(generator, Batching)
        decides = [CACHE_FORMAT, generator.render(prompt), prompt.chat, prompt.stop, self._identity(variant), shaping]
        key = digest([*decides, "together"] if together else decides)
        asked = Asked(prompt, decoding, lambda _: not self._should_stop())
        return _Draft(replace(wanted, variant=variant), reading, generator, asked, key, together)

    def _written(self, drafts: Sequence[_Draft]) -> dict[str, Generation]:
        """What the model of these wrote, by key: out of the cache, or now."""
        found: dict[str, Generation] = {}
        missing: dict[str, _Draft] = {}
        for draft in drafts:
            kept = self._runs.outcome(draft.key)
            if kept is None:
                missing[draft.key] = draft
            else:
                found[draft.key] = from_json(Generation, kept)
        self.cached += len(drafts) - len(missing)
        asked = [draft.asked for draft in missing.values()]
        made = engines.together(drafts[0].generator, asked) if asked else []
        for key, generation in zip(missing, made, strict=True):
            if generation.finish == "cancelled":
                raise _stopped()
            self._runs.keep_outcome(key, "generation", generation)
            self.generated += 1
            found[key] = generation
        return found

    def _finished(self, draft: _Draft, generation: Generation, retrieve: RetrieveSettings) -> Answer:
        wanted = draft.wanted
        answer = self.workbench.answer_of(
            wanted.variant, wanted.evidence, draft.asked.prompt, generation, draft.reading, retrieve
        )
        return replace(answer, support=()) if wanted.column == "none" else answer

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
