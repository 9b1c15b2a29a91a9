"""Drafts of questions from the documents themselves: a question, its answer, and the sentence that says so.

Without a model, sentences of a few plain shapes are turned into questions; with one, it writes them, and only those
whose answer stands in the passage are kept. A draft is a proposal: a person keeps or drops it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from ragkit.sets import question_id
from ragkit.types import Gold, Page, Question

DraftKind = Literal["definition", "abbreviation", "year", "number", "name", "model"]
GAP = "____"
SHORTEST, LONGEST = 6, 40
"""Words of a sentence that a question is made from."""

Write = Callable[[str], str]
"""Gets a passage, returns what a language model wrote: "Question: ... Answer: ..."."""


class Span(Protocol):
    """A sentence of a page: `page.text[start:end]`."""

    @property
    def start(self) -> int:
        """From 0."""
        ...

    @property
    def end(self) -> int:
        """Behind its last character."""
        ...


Sentences = Callable[[str], Sequence[Span]]


@dataclass(frozen=True, slots=True)
class Draft:
    """A proposed question."""

    question: str
    answer: str
    """Stands in the sentence word by word."""
    sentence: str
    document: str
    page: int
    page_label: str
    start: int
    end: int
    """`page_text[start:end] == sentence`."""
    kind: DraftKind

    def as_question(self) -> Question:
        """The draft as a question of a set."""
        made = Question("", self.question, (self.answer,), (Gold(self.document, self.page),))
        return Question(question_id(made), made.question, made.answers, made.gold)


_POINTERS = "it this that these those they he she there we you i here what who which such another other"
_COUNTERS = "one both each every some most many several no all only perhaps"
_NOT_SUBJECTS = frozenset(f"{_POINTERS} {_COUNTERS}".split())
_DEFINITION = re.compile(
    r"(?P<subject>(?:The |A |An )?[A-Z0-9][\w'’-]*(?: [\w'’-]+){0,5}?) (?P<verb>is|are|was|were) "
    r"(?P<answer>(?:an?|the|one of) [^,;:()]{8,120}?)"
    r"(?=[,;:(]|\.$| which | that | who | where | when | because | and (?:is|was|has) )"
)
_ROLE = re.compile(
    r"\b(?:\w+(?:ist|ician|wright)|writer|author|poet|king|queen|president|engineer|act(?:or|ress)|singer|politician"
    r"|philosopher|historian|mathematician|general|bishop|painter|composer|lawyer|inventor|director|player)s?\b"
)
_ABBREVIATION = re.compile(r"(?P<long>(?:[A-Za-z][\w-]*[ -]){1,6}[A-Za-z][\w-]*) \((?P<short>[A-Z]{2,8})\)")
_YEAR = re.compile(r"(?<![\d,.-])(?:1[0-9]{3}|20[0-9]{2})(?![\w,%-]|\.\d)")
_NUMBER = re.compile(r"(?<![\w.,-])\d{1,3}(?:,\d{3})*(?:\.\d+)?(?: ?%| percent| million| billion)?(?![\w-]|[.,]\d)")
_NAME = re.compile(r"(?<=[a-z,] )[A-Z][a-zà-ÿ]+(?: (?:of |de |von |van )?[A-Z][a-zà-ÿ]+){1,3}")
_WRITTEN = re.compile(
    r"question:\s*(?P<question>.+?\?)\s*answer:\s*(?P<answer>.+?)\s*(?:\n\s*\n|question:|$)", re.IGNORECASE | re.DOTALL
)


def propose(
    pages: Sequence[tuple[str, Page]], sentences: Sentences, seed: int = 0, write: Write | None = None
) -> Iterator[Draft]:
    """Drafts without end in sight of the pages: at most one a page in each round, the pages in a seeded order.

    Args:
        pages: document names with pages; they are read in a random order that the seed decides.
        sentences: cuts a text into sentences.
        seed: the same seed gives the same drafts.
        write: a language model; None takes the shapes of sentences.
    """
    order = list(pages)
    random.Random(seed).shuffle(order)
    asked: set[str] = set()
    later: list[Iterator[Draft]] = []
    for document, page in order:
        drafts = _written(document, page, sentences, write) if write else _shaped(document, page, sentences)
        draft = _new(drafts, asked)
        if draft is not None:
            yield draft
            later.append(drafts)
    while later:
        rest = []
        for drafts in later:
            draft = _new(drafts, asked)
            if draft is not None:
                yield draft
                rest.append(drafts)
        later = rest


def _new(drafts: Iterator[Draft], asked: set[str]) -> Draft | None:
    """The next draft whose question was not asked yet."""
    for draft in drafts:
        if draft.question.lower() not in asked:
            asked.add(draft.question.lower())
            return draft
    return None


def _shaped(document: str, page: Page, sentences: Sentences) -> Iterator[Draft]:
    """Drafts from sentences of known shapes, the more natural questions first."""
    usable = [(span, " ".join(page.text[span.start : span.end].split())) for span in sentences(page.text)]
    usable = [(span, text) for span, text in usable if _usable(text)]
    for shape in (_definition, _abbreviation, _year, _name, _number):
        for span, text in usable:
            found = shape(text)
            # The answer must stand in the page as it is written there, not only after joining its lines.
            if found and found[1] in page.text[span.start : span.end]:
                yield _draft(document, page, span, *found)


def _draft(document: str, page: Page, span: Span, question: str, answer: str, kind: DraftKind) -> Draft:
    sentence = page.text[span.start : span.end]
    return Draft(question, answer, sentence, document, page.number, page.label, span.start, span.end, kind)


def _usable(text: str) -> bool:
    """A whole sentence of running text: no heading, no table, no formula."""
    words = text.split()
    letters = sum(char.isalpha() or char == " " for char in text)
    whole = text[:1].isupper() and text[-1:] == "."
    return whole and SHORTEST <= len(words) <= LONGEST and letters > 0.8 * len(text) and "|" not in text


Found = tuple[str, str, DraftKind] | None


def _definition(text: str) -> Found:
    """"X is a Y that ..." asks "What is X?"."""
    match = _DEFINITION.match(text)
    if not match or match["subject"].split()[0].lower() in _NOT_SUBJECTS:
        return None
    subject, answer = match["subject"], match["answer"].strip()
    if subject.split()[0] in ("The", "A", "An"):
        subject = subject[0].lower() + subject[1:]
    asks = "Who" if _ROLE.search(answer) and subject[:1].isupper() else "What"
    return f"{asks} {match['verb']} {subject}?", answer, "definition"


def _abbreviation(text: str) -> Found:
    """"Long Name (LN)" asks what LN stands for."""
    for match in _ABBREVIATION.finditer(text):
        short = match["short"]
        words = re.split(r"[ -]", match["long"])
        tail = words[-len(short) :]
        if "".join(word[0] for word in tail).upper() == short:
            size = sum(map(len, tail)) + len(tail) - 1
            return f"What does {short} stand for?", match["long"][-size:], "abbreviation"
    return None


def _year(text: str) -> Found:
    return _gap(text, _YEAR, "Which year", "year")


def _number(text: str) -> Found:
    return _gap(text, _NUMBER, "Which number", "number")


def _name(text: str) -> Found:
    return _gap(text, _NAME, "Which name", "name")


def _gap(text: str, pattern: re.Pattern[str], asks: str, kind: DraftKind) -> Found:
    """The sentence with a gap where its only year, number or name was; nothing where there are several to choose."""
    matches = list(pattern.finditer(text))
    if len(matches) != 1 or text.count(matches[0][0]) != 1:
        return None
    match = matches[0]
    return f'{asks} belongs in the gap? "{text[: match.start()]}{GAP}{text[match.end() :]}"', match[0].strip(), kind


def _written(document: str, page: Page, sentences: Sentences, write: Write | None) -> Iterator[Draft]:
    """What a language model proposes for a page: kept only if its answer stands in one sentence of the page."""
    assert write is not None
    match = _WRITTEN.search(write(page.text))
    if not match:
        return
    answer = match["answer"].strip().strip("\"'").rstrip(".")
    for span in sentences(page.text):
        place = page.text[span.start : span.end].lower().find(answer.lower()) if answer else -1
        if place >= 0:
            exact = page.text[span.start + place : span.start + place + len(answer)]
            yield _draft(document, page, span, " ".join(match["question"].split()), exact, "model")
            return


def listed(drafts: Iterable[Draft], count: int, known: Iterable[str] = ()) -> list[Draft]:
    """The first `count` drafts whose question is not known already."""
    before = {question.lower() for question in known}
    found: list[Draft] = []
    for draft in drafts:
        if len(found) == count:
            break
        if draft.question.lower() not in before:
            found.append(draft)
    return found
