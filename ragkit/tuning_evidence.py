"""The door to what rows of a training will see: the passages of a question, with the gold one among them or without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ragkit.collection import Collection
from ragkit.errors import RagkitError
from ragkit.evaluate.failures import contains
from ragkit.evaluate.gold import GOLD_CHUNK, GoldPages
from ragkit.settings import RetrieveSettings
from ragkit.types import Chunk, Gold, Hit, Question, digest
from ragkit.words import content_words
from ragkit.workbench import Workbench

SPARE = 10
"""Passages that are retrieved beyond those shown, to fill up where some are taken away."""


class TuningError(RagkitError):
    """Training data that cannot be used, or a training that cannot be made."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A question with its right answer, as it was given."""

    id: str
    question: str
    answers: tuple[str, ...]
    """Answers that count as right, the one to learn first; none means that there is nothing to be said."""
    target: str = ""
    """A reply as it shall be, marks included; made from the first answer if empty."""
    passage: str = ""
    """Text that holds the answer (or, of an unanswerable question, that it was asked about)."""
    gold: tuple[Gold, ...] = ()
    """Pages that hold it."""
    document: str = ""
    """Document or article that it is about: rows are split by it. Where the collection has a document of this name,
    the answer is looked for there."""
    origin: str = ""
    """Where it was taken from."""
    evidence: tuple[Hit, ...] = ()
    """Passages that the target was written on: its marks mean these, so nothing else is retrieved."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a row shows."""

    hits: tuple[Hit, ...]
    """Ranked from 1."""
    gold: int | None = None
    """Place of the gold passage in `hits`, from 0; None if there is none."""
    key: str = ""
    """Name of the passage that the pair is about; the same for pairs on the same passage."""
    document: str = ""
    """Document of that passage, else of the nearest one."""
    pool: tuple[Hit, ...] = ()
    """Everything that was retrieved; empty where nothing may be taken away."""


class Passages:
    """Finds the passages of pairs, by the collection's own retrieval.

    Args:
        workbench: the collection.
        retrieve: how passages are found; its `k` does not count.
        count: passages that a row shows.
        shared: whether pairs on one passage show what was found for the first of them.
    """

    def __init__(self, workbench: Workbench, retrieve: RetrieveSettings, count: int, shared: bool) -> None:
        self._workbench = workbench
        self._collection: Collection = workbench.collection
        self._pages = GoldPages(workbench.collection)
        self._settings = replace(retrieve, k=count + SPARE)
        self._count = count
        self._shared = shared
        self._documents = {document.name: document.id for document in self._collection.documents()}
        self._shown: dict[str, Shown] = {}
        self._golds: dict[str, tuple[Gold, ...]] = {}
        self._chunks: dict[tuple[int, int], list[tuple[int, Chunk]]] = {}
        self.retrieved = 0
        """Questions whose gold passage was looked for by retrieval."""
        self.missed = 0
        """Those of them for which it was not among the passages shown, and was put in place of the last."""

    @property
    def empty(self) -> bool:
        """Whether the collection has no documents, and so no distractors."""
        return not self._documents

    def find(self, pair: Pair) -> Shown:
        """What the pair's row shows when nothing is taken away."""
        if pair.evidence:
            return self._as_judged(pair)
        gold = self._gold(pair)
        if gold is None:
            return self._by_answer(pair)
        key = f"#{gold.chunk}" if gold.chunk != GOLD_CHUNK else digest(gold.text)[:16]
        if self._shared and key in self._shown:
            return self._shown[key]
        pool = self._retrieve(pair)
        shown = list(pool[: self._count])
        place = next((place for place, hit in enumerate(shown) if _same(hit, gold)), None)
        self.retrieved += bool(pool)
        if place is None:
            self.missed += bool(pool)
            shown = [*shown[: self._count - 1], gold]
            place = len(shown) - 1
        found = Shown(_ranked(shown), place, key, gold.document, pool)
        return self._shown.setdefault(key, found) if self._shared else found

    def without(self, shown: Shown, answers: Sequence[str]) -> Shown | None:
        """The same without its gold passage and all that hold an answer; the next ones fill up. None if none is left.

        Args:
            shown: with a gold passage.
            answers: of every pair that will show the result.
        """
        assert shown.gold is not None
        gold = shown.hits[shown.gold]
        left = [hit for hit in shown.pool if not _same(hit, gold) and not contains(hit.text, answers)]
        return replace(shown, hits=_ranked(left[: self._count]), gold=None) if left else None

    def _retrieve(self, pair: Pair) -> tuple[Hit, ...]:
        return () if self.empty else self._workbench.retrieve(pair.question, self._settings).hits

    def _as_judged(self, pair: Pair) -> Shown:
        holding = (place for place, hit in enumerate(pair.evidence) if contains(hit.text, pair.answers))
        gold = next(holding, None)
        about = pair.evidence[gold or 0]
        return Shown(_ranked(pair.evidence), gold, f"#{about.chunk}", about.document)

    def _by_answer(self, pair: Pair) -> Shown:
        """Of a pair that names no passage: the first that holds an answer is the gold one."""
        pool = self._retrieve(pair)
        shown = pool[: self._count]
        inside = pair.document in self._documents
        for place, hit in enumerate(shown):
            if (hit.document == pair.document or not inside) and contains(hit.text, pair.answers):
                key = f"#{hit.chunk}"
                found = Shown(_ranked(shown), place, key, hit.document, pool)
                return self._shown.setdefault(key, found) if self._shared else found
        return Shown(_ranked(shown), None, "", shown[0].document if shown else "", pool)

    def _gold(self, pair: Pair) -> Hit | None:
        """The passage that the pair names: of the collection, else as it was given; None if it names none."""
        pages = pair.gold or self._located(pair.passage)
        chunks = [each for gold in pages for each in self._on(gold, pair.passage)]
        if not chunks:
            if not pair.passage:
                return None
            name = pair.document or "gold passage"
            return Hit(1, 1.0, GOLD_CHUNK, name, 1, "", 0, len(pair.passage), pair.passage)
        literal = [each for each in chunks if contains(each[1].text, pair.answers)] or chunks
        asked = set(content_words(" ".join([pair.question, *pair.answers])))
        best = max(literal, key=lambda each: len(asked & set(content_words(each[1].text))))
        return self._collection.hits([(best[0], 0.0)])[0]

    def _located(self, passage: str) -> tuple[Gold, ...]:
        """The page that holds a passage."""
        if not passage or self.empty:
            return ()
        if passage not in self._golds:
            self._golds[passage] = self._pages.located(Question("", "", ("",), passage=passage)).gold
        return self._golds[passage]

    def _on(self, gold: Gold, passage: str) -> list[tuple[int, Chunk]]:
        """Chunks of a gold page, those that share characters with the passage where it stands there word by word."""
        found: list[tuple[int, Chunk]] = []
        for place in self._pages.places(gold):
            if place not in self._chunks:
                self._chunks[place] = self._collection.chunks(*place)
            chunks = self._chunks[place]
            start = self._collection.page(*place).text.find(passage) if passage and len(chunks) > 1 else -1
            end = start + len(passage)
            found += [each for each in chunks if start < 0 or (each[1].start < end and start < each[1].end)]
        return found


def _same(hit: Hit, gold: Hit) -> bool:
    return hit.chunk == gold.chunk != GOLD_CHUNK or hit.text == gold.text


def _ranked(hits: Sequence[Hit]) -> tuple[Hit, ...]:
    return tuple(replace(hit, rank=rank) for rank, hit in enumerate(hits, start=1))
