"""Where in a collection the answers of a set stand: by gold page, by passage, or by the words of the answer."""

from __future__ import annotations

from dataclasses import replace

from ragkit.collection import Collection
from ragkit.evaluate.failures import holding
from ragkit.types import Evidence, Gold, Hit, Question
from ragkit.words import content_words

GOLD_CHUNK = 0
"""Chunk id of a gold passage that comes from the set and not from the collection."""
GOLD_PASSAGES = 5
"""At most so many passages of the gold pages are shown to the model; those with the answer in them come first."""


class GoldPages:
    """What the collection knows about the gold of a question."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection

    def located(self, question: Question) -> Question:
        """The question with the page that holds its passage, where the set names none."""
        if question.gold or not question.passage or not question.answerable:
            return question
        wanted = " ".join(question.passage.split())
        words = " ".join(content_words(question.passage)[:40])
        for hit in self._collection.hits(self._collection.search_words(words, 10)):
            page = self._collection.page(self._collection.document(hit.document).id, hit.page)
            if wanted in " ".join(page.text.split()):
                return replace(question, gold=(Gold(hit.document, hit.page, hit.page_label),))
        return question

    def holds(self, question: Question) -> bool:
        """Whether the documents hold the answer: a gold page, or a page with a gold answer in it."""
        if question.gold:
            return any(self.places(gold) for gold in question.gold)
        if question.passage:
            return False  # `located` did not find it
        query = "SELECT 1 FROM pages WHERE instr(lower(text), lower(?)) LIMIT 1"
        run = self._collection.connection.execute
        return any(run(query, (answer,)).fetchone() is not None for answer in question.answers)

    def gold_evidence(self, question: Question) -> Evidence | None:
        """The passage that holds the answer as evidence; None if the set does not lead to one."""
        if question.passage:
            gold = question.gold[0] if question.gold else Gold()
            place = (gold.document or "gold passage", gold.page or 1, gold.label)
            hit = Hit(1, 1.0, GOLD_CHUNK, *place, 0, len(question.passage), question.passage)
            return Evidence(question.question, (hit,), None)
        found: list[tuple[int, float]] = []
        for gold in question.gold:
            for document, page in self.places(gold):
                found += [(chunk, gold.gain) for chunk, _ in self._collection.chunks(document, page)]
        hits = self._collection.hits(found)
        best = holding(question, hits) if question.answerable else []
        chosen = [hits[place] for place in best] or list(hits)
        ranked = tuple(replace(hit, rank=rank) for rank, hit in enumerate(chosen[:GOLD_PASSAGES], start=1))
        return Evidence(question.question, ranked, None) if ranked else None

    def places(self, gold: Gold) -> list[tuple[int, int]]:
        """(document id, page number) of what a gold page names, ten at most."""
        rows = self._collection.connection.execute(
            "SELECT d.id, p.number FROM pages p JOIN documents d ON d.id = p.document WHERE (?1 = '' OR d.name = ?1)"
            " AND (?2 IS NULL OR p.number = ?2) AND (?3 = '' OR p.label = ?3) LIMIT 10",
            (gold.document, gold.page, gold.label),
        )
        return [(row[0], row[1]) for row in rows]
