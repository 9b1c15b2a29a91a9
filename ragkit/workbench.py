"""The door of the query side: retrieve, select demonstrations, assemble, generate; and how the parts are wired."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ragkit import adapters
from ragkit.catalog import EMBEDDERS, GENERATORS, RERANKERS, RETRIEVERS, SELECTORS
from ragkit.collection import Collection
from ragkit.defaults import Defaults
from ragkit.errors import SettingsError
from ragkit.generate import engines, grounding
from ragkit.generate.closest import closest
from ragkit.home import default_home
from ragkit.projection import Projection
from ragkit.prompt.pack import pack
from ragkit.prompt.select import arrangement
from ragkit.prompt.store import TemplateStore
from ragkit.protocols import Embedder, Generator, Reader, Reranker, Scored
from ragkit.ranking import maximal_marginal_relevance
from ragkit.reading import Readers
from ragkit.remembering import Remembering
from ragkit.settings import RetrieveSettings
from ragkit.shared import Shared
from ragkit.types import Answer, Asked, Evidence, Generation, Prompt, Reading, Variant, Vectors, Withheld
from ragkit.word_index import WordIndex

OnText = Callable[[str], bool]
"""Gets each new piece of an answer; returns False to stop."""

ABSTENTION = "The documents do not say."
"""The answer when retrieval finds nothing near and the template has no phrase of its own."""


_embedders: Shared[Embedder] = Shared(most=2)
_generators: Shared[Generator] = Shared(most=2)
_rerankers: Shared[Reranker] = Shared(most=1)


class Workbench:
    """One collection with everything that answers questions about it.

    Models are loaded when first needed and shared by all workbenches of the process. Safe to use from several
    threads; questions to the same model wait for each other.
    """

    def __init__(self, collection: Collection) -> None:
        self.collection = collection
        self.templates = TemplateStore(collection.home / "templates")
        self.defaults = Defaults(collection, self.templates)
        self.readers = Readers(collection.home, self.defaults)
        self._projection = Projection(collection)
        self._word_index = WordIndex(collection)

    @classmethod
    def open(cls, collection: str = "sample", home: Path | None = None) -> Workbench:
        """Open a collection by name. Raises CollectionError if there is none."""
        return cls(Collection.open(home or default_home(), collection))

    # Retrieval

    def retrieve(
        self, question: str, settings: RetrieveSettings | None = None, documents: Sequence[str] | None = None
    ) -> Evidence:
        """The passages nearest to a question. `documents` restricts the search to documents of these names."""
        settings = settings or RetrieveSettings()
        _check_retrieval(question, settings)
        begun = time.perf_counter()
        if documents is not None:
            for name in documents:
                self.collection.document(name)
        if self.collection.empty:
            return Evidence(question, (), None, time.perf_counter() - begun)
        embedder = self._embedder()
        parts: dict[str, Any] = {
            "collection": self.collection,
            "projection": self._projection,
            "word_index": self._word_index,
            "embedder": embedder,
            "settings": settings,
        }
        dense = RETRIEVERS.load("dense")(**parts)
        parts |= {"dense": dense, "words": RETRIEVERS.load("words")(**parts)}
        retriever = RETRIEVERS.load(settings.retriever)(**parts)
        narrow = settings.mmr >= 1 and not settings.reranker
        scored: Scored = retriever.retrieve(question, settings.k if narrow else settings.depth, documents)
        if settings.reranker:
            scored = self._rerank(question, scored, settings)
        if settings.mmr < 1:
            vectors = self._projection.vectors_of([chunk for chunk, _ in scored])
            scored = maximal_marginal_relevance(scored, vectors, settings.k, settings.mmr)
        scored = scored[: settings.k]
        cosines = dense.cosines(question, [chunk for chunk, _ in scored])
        nearest = max(cosines.values(), default=None)
        return Evidence(question, self.collection.hits(scored, cosines), nearest, time.perf_counter() - begun)

    def _rerank(self, question: str, scored: Scored, settings: RetrieveSettings) -> Scored:
        reranker = _rerankers.get(
            (settings.reranker, settings.reranker_model),
            lambda: RERANKERS.load(settings.reranker)(settings.reranker_model),
        )
        hits = self.collection.hits(scored)
        scores = reranker.score(question, [hit.text for hit in hits])
        rescored = [(hit.chunk, score) for hit, score in zip(hits, scores, strict=True)]
        return sorted(rescored, key=lambda pair: (-pair[1], pair[0]))

    def _embedder(self) -> Remembering:
        """The collection's embedder, loaded once; refused if it is not the one that made the vectors."""
        settings = self.collection.settings
        embedder = _embedders.get(
            (settings.embedder, settings.embedder_model),
            lambda: Remembering(EMBEDDERS.load(settings.embedder)(settings.embedder_model)),
        )
        self.collection.check_embedder(embedder.fingerprint)
        return embedder

    # Answers

    def ask(
        self,
        question: str,
        variant: Variant | None = None,
        *,
        retrieve: RetrieveSettings | None = None,
        documents: Sequence[str] | None = None,
        evidence: Evidence | None = None,
        on_text: OnText | None = None,
        on_reading: Callable[[Reading, Evidence], None] | None = None,
    ) -> Answer:
        """Answer a question from the documents.

        Args:
            question: what to ask.
            variant: template, demonstrations, model, adapter and decoding; the collection's default if None.
            retrieve: how passages are found.
            documents: names of the documents to look in; all if None.
            evidence: passages found before; then nothing is retrieved.
            on_text: gets each new piece of the answer, returns False to stop.
            on_reading: gets what the reader quotes and from where, before the language model is asked.
        """
        variant = self.defaults.settled(variant or self.defaults.variant())
        retrieve = retrieve or RetrieveSettings()
        evidence = evidence or self.retrieve(question, retrieve, documents)
        return self._answers(question, [variant], evidence, retrieve, [on_text or _go_on], on_reading)[0]

    def _answers(
        self,
        question: str,
        variants: Sequence[Variant],
        evidence: Evidence,
        retrieve: RetrieveSettings,
        listeners: Sequence[OnText],
        on_reading: Callable[[Reading, Evidence], None] | None = None,
    ) -> list[Answer]:
        """One answer a variant; those of one model are written together where its engine can do that."""
        answers: dict[int, Answer] = {}
        readings = [self.read(question, evidence, retrieve, variant) for variant in variants]
        waiting: dict[tuple[str, ...], list[int]] = {}
        for place, (variant, reading) in enumerate(zip(variants, readings, strict=True)):
            if reading is not None and on_reading is not None:
                on_reading(reading, evidence)
            withheld = self.withheld(variant, evidence, retrieve, reading)
            if withheld is None:
                waiting.setdefault(self._engine(variant), []).append(place)
            else:
                listeners[place](withheld.text)
                answers[place] = withheld
        for places in waiting.values():
            generator = self.generator(variants[places[0]])
            prompts = [self._assemble(question, variants[place], evidence, generator) for place in places]
            asked = [
                Asked(prompt, variants[place].decoding, listeners[place])
                for place, prompt in zip(places, prompts, strict=True)
            ]
            for place, prompt, made in zip(places, prompts, engines.together(generator, asked), strict=True):
                answers[place] = self.answer_of(variants[place], evidence, prompt, made, readings[place], retrieve)
        return self._explained(question, evidence, [answers[place] for place in range(len(variants))])

    def _explained(self, question: str, evidence: Evidence, answers: list[Answer]) -> list[Answer]:
        """The answers, those that decline with the sentences that come nearest to the question."""
        declined = [answer.abstained and answer.withheld != "nothing near" for answer in answers]
        if not any(declined):
            return answers
        near = closest(question, evidence.hits, self._embedder().plain)
        return [
            replace(answer, closest=near) if bare else answer for answer, bare in zip(answers, declined, strict=True)
        ]

    def reader(self, evidence: Evidence, retrieve: RetrieveSettings, variant: Variant | None = None) -> Reader | None:
        """The reader that quotes from this evidence before a variant answers.

        None where the settings name none, no passage is near enough, or the variant takes none beside it.
        """
        if _nothing_near(evidence, retrieve):
            return None
        return self.readers.beside(variant, retrieve.reader) if variant else self.readers.get(retrieve.reader)

    def read(
        self,
        question: str,
        evidence: Evidence,
        retrieve: RetrieveSettings | None = None,
        variant: Variant | None = None,
    ) -> Reading | None:
        """What the reader quotes from the passages, with its confidence; None where `reader` gives none."""
        reader = self.reader(evidence, retrieve or RetrieveSettings(), variant)
        return reader.read(question, [hit.text for hit in evidence.hits]) if reader else None

    def answer_of(
        self,
        variant: Variant,
        evidence: Evidence,
        prompt: Prompt,
        generation: Generation,
        reading: Reading | None = None,
        retrieve: RetrieveSettings | None = None,
    ) -> Answer:
        """What a model wrote for a prompt, read: its citations, how far they carry it, whether it abstains.

        `reading` is what the reader quoted before. Citations point at its sentence where the answer holds its words;
        where the model finds no answer and the reader is sure of one (`reader_above`), its quotation is the answer.
        """
        text, hits = generation.text.strip(), prompt.hits
        generation = replace(generation, text=text)
        abstained = grounding.abstains(text, self.templates.get(variant.template).abstain)
        quoted = abstained and reading is not None and _sure(reading, retrieve or RetrieveSettings())
        if quoted and reading is not None:
            text, hits, abstained = grounding.quotation(reading), evidence.hits, False
        span = reading if quoted else generation.reading
        reading = generation.reading or reading
        grounds = grounding.ground(text, hits, reading)
        inferred = () if grounds.citations or abstained else grounding.attribute(text, hits, reading=reading)
        if span and grounds.citations:  # the answer is the span itself
            inferred, grounds = (grounding.quoted(span, hits),), replace(grounds, citations=())
        return Answer(
            question=evidence.question,
            text=text,
            variant=variant,
            citations=grounds.citations or inferred,
            support=() if abstained else grounds.support,
            unknown_marks=grounds.unknown,
            abstained=abstained,
            nearest=evidence.nearest,
            hits=evidence.hits,
            prompt=prompt,
            generation=generation,
            seconds_retrieval=evidence.seconds,
            reading=reading,
            quoted=quoted,
        )

    def withheld(
        self, variant: Variant, evidence: Evidence, retrieve: RetrieveSettings, reading: Reading | None = None
    ) -> Answer | None:
        """The abstention where no model is to be asked at all: no passage is near enough, or the reader found nothing.

        None where a model is to be asked.
        """
        phrase = self.templates.get(variant.template).abstain or ABSTENTION
        if _nothing_near(evidence, retrieve):
            return self._abstention(phrase, variant, evidence, None, "nothing near")
        if reading is not None and reading.confidence < retrieve.reader_below:
            return self._abstention(phrase, variant, evidence, reading, "nothing read")
        return None

    def compare(
        self,
        question: str,
        variants: Sequence[Variant],
        *,
        retrieve: RetrieveSettings | None = None,
        documents: Sequence[str] | None = None,
        evidence: Evidence | None = None,
        on_text: Callable[[int, str], bool] | None = None,
    ) -> list[Answer]:
        """Answer one question with several variants on the same evidence: retrieved once (or given), then frozen.

        Variants of one model are written together, a piece of each at a time: bundled templates begin alike (system
        text, then passages), so that what they have in common is read once, and a step for four takes little longer
        than one for one. `on_text` gets a variant's place with each piece.
        """
        if not variants:
            raise SettingsError("There is no variant to compare.", "Give at least one, such as the template 'cite'.")
        for variant in variants:
            self.templates.get(variant.template)  # refuse an unknown one before any work is done
        retrieve = retrieve or RetrieveSettings()
        evidence = evidence or self.retrieve(question, retrieve, documents)
        listen = on_text or (lambda _place, _text: True)
        listeners = [partial(listen, place) for place in range(len(variants))]
        settled = [self.defaults.settled(variant) for variant in variants]
        return self._answers(question, settled, evidence, retrieve, listeners)

    def prompt(self, question: str, variant: Variant, evidence: Evidence) -> Prompt:
        """The prompt that a variant would send, without sending it."""
        return self._assemble(question, variant, evidence, self.generator(variant))

    def generator(self, variant: Variant) -> Generator:
        """The variant's language model with its adapter, loaded once a process."""
        key = self._engine(variant)
        engine, model, folder, _ = key
        return _generators.get(key, lambda: GENERATORS.load(engine)(model, folder))

    def _engine(self, variant: Variant) -> tuple[str, str, str, str]:
        """What decides which generator a variant has: engine, model, the adapter's folder and its hash."""
        folder = self.adapter_folder(variant)
        engine = engines.choose(variant.engine, variant.model, folder)
        return engine, variant.model, folder, adapters.read(Path(folder)).sha256 if folder else ""

    def adapter_folder(self, variant: Variant) -> str:
        """Folder of the variant's adapter, whether it gives a name, a folder or "auto"; empty without an adapter.

        Raises AdapterError if there is no such adapter.
        """
        name = self.defaults.settled(variant).adapter
        return str(adapters.find(name, self.collection.home).folder) if name else ""

    def _assemble(self, question: str, variant: Variant, evidence: Evidence, generator: Generator) -> Prompt:
        template = self.templates.get(variant.template)
        chosen, arrange = [], list
        if template.few_shot and variant.demonstrations > 0:
            bank, seed = self.collection.demonstrations(), variant.decoding.seed
            selector = SELECTORS.load(variant.selector)(self._embed, seed)
            chosen = selector.select(question, bank, variant.demonstrations) if bank else []
            arrange = arrangement(variant.order, question, chosen, bank, self._embed, seed)
        return pack(template, question, evidence.hits, chosen, generator, variant.decoding.max_tokens, arrange)

    def _embed(self, texts: Sequence[str]) -> Vectors:
        embedder = self._embedder()
        if len(texts) == 1:
            return embedder.embed(texts, "query")
        return embedder.embed(texts)

    def _abstention(
        self, text: str, variant: Variant, evidence: Evidence, reading: Reading | None, why: Withheld
    ) -> Answer:
        """The answer for which no model was asked."""
        return Answer(
            question=evidence.question,
            text=text,
            variant=variant,
            citations=(),
            support=(),
            abstained=True,
            nearest=evidence.nearest,
            hits=evidence.hits,
            prompt=None,
            generation=None,
            seconds_retrieval=evidence.seconds,
            reading=reading,
            withheld=why,
        )


def _check_retrieval(question: str, settings: RetrieveSettings) -> None:
    if not question.strip():
        raise SettingsError("The question is empty.", "Type a question.")
    for name in ("k", "depth"):
        if getattr(settings, name) < 1:
            raise SettingsError(f"{name} is {getattr(settings, name)}.", "It must be at least 1.")


def _nothing_near(evidence: Evidence, settings: RetrieveSettings) -> bool:
    """Whether retrieval found nothing that could hold the answer."""
    if not evidence.hits:
        return True
    return evidence.nearest is not None and evidence.nearest < settings.abstain_below


def _sure(reading: Reading, settings: RetrieveSettings) -> bool:
    """Whether a quotation stands in for an answer that the model did not find."""
    return settings.reader_above <= reading.confidence and settings.reader_above < 1.0


def _go_on(_: str) -> bool:
    return True
