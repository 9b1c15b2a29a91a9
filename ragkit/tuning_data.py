"""The door to training data: gathers questions with their answers, and makes of them the rows that are learnt."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tokenizers import Tokenizer

from ragkit import models
from ragkit.errors import Cancelled, ModelError
from ragkit.evaluate.answers import normalise
from ragkit.evaluate.importers import read_set, squad_articles
from ragkit.evaluate.leaks import leaks
from ragkit.generate import grounding
from ragkit.generate.chat import ChatTokenizer
from ragkit.prompt.template import Template
from ragkit.sets import Sets
from ragkit.settings import RetrieveSettings, TuneSettings
from ragkit.tune.rows import Prepared, Row
from ragkit.tune.targets import by_passage, chance, doubts, reply, rows_sha256, spans, split
from ragkit.tuning_evidence import Pair, Passages, Shown, TuningError
from ragkit.types import Answer, Question
from ragkit.votes import Votes
from ragkit.workbench import ABSTENTION, Workbench

__all__ = ["Pair", "Sources", "TuningError", "asks_for_marks", "gather", "prepare"]

_MARKS = re.compile(r"\s*\[\d{1,3}(?:\s*,\s*\d{1,3})*\]")
TWICE = "the same question twice"
LEAK = "like an evaluation question"
NO_QUESTION = "no question"
NOTHING_HOLDS = "no passage that was found holds the answer"
NOTHING_TO_READ = "no passages to read"
NO_SPAN = "the answer is not in the passage word by word"


@dataclass(frozen=True, slots=True)
class Sources:
    """Where training data is taken from."""

    files: tuple[str, ...] = ()
    """JSON lines, CSV or SQuAD JSON: questions with their answers."""
    sets: tuple[str, ...] = ()
    """Evaluation sets of the collection. What is trained on can no longer be evaluated on."""
    votes: bool = False
    """Answers that were graded good or preferred, and what people wrote in place of bad ones."""
    demonstrations: bool = False
    """The collection's bank of worked examples."""


def gather(workbench: Workbench, sources: Sources) -> list[Pair]:
    """All pairs of the sources, what people wrote themselves first. Raises TuningError if there are none.

    Raises SetError for a file or a set that cannot be read.
    """
    collection = workbench.collection
    found = _judged(Votes(collection)) if sources.votes else []
    if sources.demonstrations:
        for number, example in enumerate(collection.demonstrations(), start=1):
            answers = () if grounding.abstains(example.answer) else (example.answer,)
            found.append(
                Pair(f"example-{number}", example.question, answers, passage=example.passage, origin="demonstrations")
            )
    for name in sources.sets:
        found += _of_questions(Sets(collection).questions(name), name)
    for file in sources.files:
        path = Path(file).expanduser()
        articles = squad_articles(path)
        for pair in _of_questions(read_set(path), path.name):
            title, usual = articles.get(pair.id, ("", ()))
            found.append(replace(pair, answers=usual if pair.answers and usual else pair.answers, document=title))
    if not found:
        raise TuningError("The sources hold no row.", "Name a file or a set, or take the votes or the examples.")
    return found


def _of_questions(questions: Sequence[Question], origin: str) -> list[Pair]:
    silent = [question for question in questions if not question.judged]
    if silent:
        raise TuningError(
            f"{len(silent):,} questions of {origin} say nothing about their answers; the first is"
            f" {silent[0].question!r}.",
            'Give "answers", and an empty list where there is none.',
        )
    return [
        Pair(each.id, each.question, each.answers, passage=each.passage, gold=each.gold, origin=origin)
        for each in questions
    ]


def _judged(votes: Votes) -> list[Pair]:
    """What people wrote or called right, the newest first; never an answer that somebody called bad."""
    grades = sorted(votes.grades(), key=lambda grade: (bool(grade.edited), grade.created), reverse=True)
    bad = {grade.judged.answer.id for grade in grades if not grade.good}
    found = [
        _of_answer(grade.judged.answer, grade.right_text, "edits" if grade.edited else "votes") for grade in grades
    ]
    for vote in reversed(votes.list()):
        if vote.preferred and vote.preferred[0].answer.id not in bad:
            answer = vote.preferred[0].answer
            found.append(_of_answer(answer, answer.text, "votes"))
    return [pair for pair in found if pair is not None]


def _of_answer(answer: Answer, text: str, origin: str) -> Pair | None:
    """A pair on the passages that were shown, which the marks in the text mean; None where nothing was shown."""
    hits = answer.prompt.hits if answer.prompt else answer.hits
    if not text or not hits:
        return None
    pair = Pair(f"answer-{answer.id}", answer.question, (), origin=origin, evidence=hits)
    if (answer.abstained and text == answer.text) or grounding.abstains(text):
        return pair
    return replace(pair, answers=(_MARKS.sub("", text).strip(" ."),), target=text.strip())


def prepare(
    workbench: Workbench,
    pairs: Sequence[Pair],
    settings: TuneSettings,
    retrieve: RetrieveSettings,
    *,
    against: Sequence[Question] = (),
    listen: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Prepared:
    """Rows for training: every pair with the passages that the collection's own retrieval finds for it.

    Every pair becomes one row or is counted in `left_out`; nothing is cut.

    Args:
        workbench: the collection.
        pairs: questions with their answers; see `gather`.
        settings: the task, the base whose tokens are counted, the template, and the shares.
        retrieve: how passages are found; `settings.passages` takes the place of its `k`.
        against: evaluation questions; pairs whose question is the same or nearly so are left out.
        listen: gets how many pairs are done, of how many.
        should_stop: True ends the work with Cancelled.

    Raises:
        TuningError: no row is left.
        Cancelled: on request.
    """
    making = _Making(workbench, settings, retrieve)
    kept = making.choose(pairs, against)
    shown = []
    for number, pair in enumerate(kept, start=1):
        if should_stop is not None and should_stop():
            raise Cancelled("Preparing the rows was stopped.")
        shown.append(making.passages.find(pair))
        if listen is not None:
            listen(number + len(pairs) - len(kept), len(pairs))
    rows, keys = making.rows(kept, shown)
    if not rows:
        reasons = "; ".join(f"{count:,} {reason}" for reason, count in making.left_out.items())
        raise TuningError(f"None of the {len(pairs):,} rows can be used: {reasons}.", "Look at the data and the base.")
    if len({row.group for row in rows}) < 2:
        making.warnings.append(
            "All rows are about one document, so they are split by passage: the held-out loss will look better than it"
            " is for other documents."
        )
        rows = by_passage(rows, keys)
    train, held, warning = split(rows, settings.holdout, settings.seed)
    warnings = [*making.warnings, *([warning] if warning else []), *doubts(rows)]
    return Prepared(tuple(train), tuple(held), dict(making.left_out), tuple(warnings), rows_sha256([*train, *held]))


def asks_for_marks(template: Template) -> bool:
    """Whether a template wants answers to name their passages: it shows the mark [1] in its own text."""
    return "[1]" in template.system + template.user


class _Making:
    """Rows in the making, with the counts of what is left out."""

    def __init__(self, workbench: Workbench, settings: TuneSettings, retrieve: RetrieveSettings) -> None:
        self._settings = settings
        self._template = workbench.templates.get(settings.template)
        self._reads = settings.task == "extract" or "passages" in self._template.variables
        self._abstain = "" if settings.task == "extract" else self._template.abstain or ABSTENTION
        self.passages = Passages(workbench, retrieve, settings.passages, settings.shared_evidence)
        self.left_out: Counter[str] = Counter()
        self.warnings: list[str] = []
        if settings.task == "generate" and self._template.few_shot:
            self.warnings.append(
                f"The template {self._template.name!r} shows worked examples; the rows are made without any."
            )

    def choose(self, pairs: Sequence[Pair], against: Sequence[Question]) -> list[Pair]:
        """The pairs that come once and are in no evaluation set, each with an id of its own."""
        leaked = {leak.place for leak in leaks((pair.question for pair in pairs), against)} if against else set()
        first: dict[tuple[str, str], Pair] = {}
        other: list[Pair] = []
        ids: Counter[str] = Counter()
        for place, pair in enumerate(pairs):
            key = (normalise(pair.question), " ".join(pair.passage.split()))
            if not pair.question.strip():
                self.left_out[NO_QUESTION] += 1
            elif place in leaked:
                self.left_out[LEAK] += 1
            elif key in first:
                self.left_out[TWICE] += 1
                other += [pair] if _contradict(first[key], pair) else []
            else:
                ids[pair.id] += 1
                first[key] = pair if ids[pair.id] == 1 else replace(pair, id=f"{pair.id}-{ids[pair.id]}")
        if other:
            self.warnings.append(
                f"{len(other):,} questions come again with another answer, such as {other[0].question!r}: the first"
                " answer counts."
            )
        return list(first.values())

    def rows(self, pairs: Sequence[Pair], shown: Sequence[Shown]) -> tuple[list[Row], list[str]]:
        """Rows, and for each the name of its passage."""
        taken = self._taken_away(pairs, shown)
        made: list[tuple[Row, str]] = []
        groups: dict[str, str] = {}  # sources may name the document of one passage differently
        for place, (pair, seen) in enumerate(zip(pairs, shown, strict=True)):
            row = self._row(pair, taken.get(place, seen), place in taken)
            if row is not None:
                key = seen.key or row.id
                made.append((replace(row, group=groups.setdefault(key, row.group)), key))
        if self._reads and self.passages.empty:
            self.warnings.append(
                "The collection has no documents: every row shows its own passage only, and the model does not learn to"
                " choose between passages."
            )
        missed, looked = self.passages.missed, self.passages.retrieved
        if missed > looked / 4:
            self.warnings.append(
                f"Retrieval found the gold passage for {looked - missed:,} of {looked:,} questions; for the others it"
                " was put in place of the last passage."
            )
        fit = self._fitting([row for row, _ in made])
        kept = [each for each, fits in zip(made, fit, strict=True) if fits]
        return [row for row, _ in kept], [key for _, key in kept]

    def _taken_away(self, pairs: Sequence[Pair], shown: Sequence[Shown]) -> dict[int, Shown]:
        """What rows show whose gold passage is taken away, by place; pairs that share evidence share this, too."""
        groups: dict[str, list[int]] = {}
        for place, (pair, seen) in enumerate(zip(pairs, shown, strict=True)):
            possible = self._reads and pair.answers and not pair.target and seen.gold is not None and seen.pool
            if possible and chance(self._settings.seed, "absent", pair.id) < self._settings.absent:
                groups.setdefault(seen.key if self._settings.shared_evidence else pair.id, []).append(place)
        found = {}
        for places in groups.values():
            answers = [answer for place in places for answer in pairs[place].answers]
            rest = self.passages.without(shown[places[0]], answers)
            if rest is not None:
                found.update(dict.fromkeys(places, rest))
        return found

    def _row(self, pair: Pair, seen: Shown, absent: bool) -> Row | None:
        """The pair as a row; None if it cannot be one, which is counted."""
        extract = self._settings.task == "extract"
        hits = seen.hits if self._reads else ()
        row = Row(
            id=pair.id,
            group=pair.document or seen.document,
            question=pair.question,
            kind="absent" if absent else "answer" if pair.answers else "unanswerable",
            origin=pair.origin,
            target=self._abstain,
            prompt=None if extract else self._template.render(pair.question, hits),
            passages=tuple(hit.text for hit in hits),
        )
        reason = ""
        if self._reads and not hits:
            reason = NOTHING_TO_READ
        elif row.kind == "answer" and self._reads:
            where = () if seen.gold is None else spans(hits, seen.gold, pair.answers)
            if extract and not where:
                reason = NO_SPAN if seen.gold is not None else NOTHING_HOLDS
            elif seen.gold is None and not pair.target:
                reason = NOTHING_HOLDS
            elif extract:
                texts = [row.passages[span.passage][span.start : span.end] for span in where]
                row = replace(row, spans=where, target=next((t for t in pair.answers if t in texts), texts[0]))
            else:
                marked = seen.gold is not None and asks_for_marks(self._template)
                number = seen.gold + 1 if seen.gold is not None and marked else None
                row = replace(row, spans=where, target=pair.target or reply(pair.answers[0], number))
        elif row.kind == "answer":  # nothing is shown, so the answer is exactly what was given: a label
            row = replace(row, target=pair.target or pair.answers[0])
        if reason:
            self.left_out[reason] += 1
        return None if reason else row

    def _fitting(self, rows: Sequence[Row]) -> list[bool]:
        """Whether each row is short enough; those that are not are counted."""
        counts, most = self._lengths(rows)
        fits = [count <= most for count in counts]
        if not all(fits):
            self.left_out[f"longer than {most:,} tokens"] += fits.count(False)
        return fits

    def _lengths(self, rows: Sequence[Row]) -> tuple[list[int], int]:
        """Tokens of each row in the base's tokens, and the most that are allowed."""
        settings = self._settings
        if settings.task == "generate":
            chat = ChatTokenizer(settings.base)
            texts = [f"{chat.render(row.prompt)}{row.target}" for row in rows if row.prompt is not None]
            return chat.count_many(texts), min(settings.max_tokens, chat.context_tokens)
        file = models.resolve(settings.base, "embedder").path / "tokenizer.json"
        if not file.is_file():
            raise ModelError(f"{settings.base} has no tokenizer.json.", "A reader needs a model with a fast tokenizer.")
        tokenizer = Tokenizer.from_file(str(file))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        texts = list(dict.fromkeys(text for row in rows for text in (row.question, *row.passages)))
        length = {text: len(each.ids) for text, each in zip(texts, tokenizer.encode_batch_fast(texts), strict=True)}
        return [
            sum(length[row.question] + length[passage] for passage in row.passages) for row in rows
        ], settings.max_tokens


def _contradict(one: Pair, other: Pair) -> bool:
    """Whether two answers to one question have nothing in common."""
    mine, theirs = ({normalise(answer) for answer in pair.answers} for pair in (one, other))
    return bool(mine or theirs) and not mine & theirs
