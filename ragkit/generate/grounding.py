"""Grounding: what an answer claims, where it says it has it from, and how much of it the passages carry.

Pure functions over texts and hits; no model takes part. All offsets are into the answer as it was given.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ragkit.types import Citation, Hit, Reading, Support
from ragkit.words import STOP_WORDS

ATTRIBUTION_THRESHOLD = 0.5
"""Least share of a sentence's content words that one passage must hold to be named as its source."""

_MARKS = re.compile(r"\[(\d{1,3}(?:\s*[,;]\s*\d{1,3})*)\]")
_TRAILING_MARKS = re.compile(rf"(?:[ \t]*{_MARKS.pattern})+[ \t]*[.!?]?")
_END = re.compile(r"[.!?…]+[\"'”’»)\]]*(?=\s|$|\[\d)|\n+|[。！？]+")
_LIST_ITEM = re.compile(r"\s*(?:[-*•]|\(?\d{1,3}[.)]|\(?[A-Za-z][.)])[ \t]*")
_WORD = re.compile(r"[^\W_]+(?:[.,'’-][^\W_]+)*")

_LINE_END = re.compile(r"(?<!\n)\n(?![\n\s]|[-*•]|\d{1,3}[.)])")
_TITLE = re.compile(
    r"(?:\A|(?<=[.!?…]\n)|(?<=\n\n))([^\W_a-zà-öø-ÿ][^\n]{0,58}[^\s.!?…:;,])(?=\n\s*([^\W_a-zà-öø-ÿ][^\n]*))"
)
"""A line of up to 60 characters that is no sentence, and the line below it, which begins anew."""

_TITLES = "mr mrs ms dr prof st mt gen col lt sgt capt rev hon gov pres"
_LATIN = "vs e.g i.e cf fig figs eq eqs nos vol vols pp ch al approx ca dept u.s u.k u.n d.c ph.d ed eds trans"
_BEFORE_NAMES = frozenset(f"{_TITLES} {_LATIN}".split())
"""Abbreviations that something follows, capital letter or not."""
_ENDINGS = "etc inc ltd co corp jr sr est a.m p.m b.c a.d b.a m.a bros ave blvd rd"
_AT_THE_END = frozenset(_ENDINGS.split())
"""Abbreviations that end a sentence when a capital letter follows."""
_COUNTED = "no p sec jan feb mar apr jun jul aug sep sept oct nov dec c"
_BEFORE_NUMBERS = frozenset(_COUNTED.split())
"""Abbreviations only when a digit follows; otherwise a word like any other ("The answer is no.")."""

_ABSTENTIONS = re.compile(
    r"""
    (documents?|passages?|texts?|sources?|context|information|material|excerpts?)\b[^.?!\n]{0,60}?\b
      (do(es)?\s+not|don['’]t|doesn['’]t|did\s+not|cannot|can['’]t|fails?\s+to|never)\s+
      (\w+ly\s+)?(say|state|mention|tell|contain|include|provide|give|answer|specify|address|hold|cover|discuss|
        indicate|explain|describe|reveal)
    | \b(is|are|was|were)\s+(not|never|n['’]t)\s+(\w+ly\s+)?
      (mentioned|stated|given|provided|specified|answered|found|discussed|covered|addressed|available)\b
      [^.?!\n]{0,40}\b(documents?|passages?|texts?|sources?|context|excerpts?)
    | \b(there\s+is|there['’]s|contains?|provides?|gives?|has|have|found?)\s+(no|not\s+enough|insufficient)\s+
      (\w+\s+){0,2}?(information|answer|mention|evidence|detail)
    | \b(i|we)\s+(do\s+not|don['’]t|cannot|can['’]t|could\s+not|couldn['’]t|am\s+unable\s+to|am\s+not\s+able\s+to)\s+
      (\w+ly\s+)?(know|answer|find|say|tell|determine)
    | \b(cannot|can['’]t|could\s+not)\s+be\s+(answered|determined|found|inferred)
    | \bno\s+(relevant\s+)?(information|answer)\s+(is\s+|was\s+)?(available|given|found|provided)
    | \b(it\s+is\s+)?(unknown|not\s+known|unanswerable)\s*[.!]?\s*$
    """,
    re.IGNORECASE | re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of a text: `text[start:end]`, citation marks behind its full stop included."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Mark:
    """One bracket with passage numbers in an answer: `answer[start:end]`."""

    start: int
    end: int
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Grounding:
    """What `ground` finds in an answer."""

    citations: tuple[Citation, ...]
    support: tuple[Support, ...]
    unknown: tuple[int, ...]
    """Numbers in marks that name no passage of the prompt, in order, each once."""


def sentences(text: str) -> list[Sentence]:
    """Sentences in order; none is empty, none overlaps another, and nothing but white space lies between them.

    A full stop inside a number, after an initial or after a known abbreviation ends nothing; a line break always
    does; a list's bullet or number belongs to its item; marks that follow the full stop belong to the sentence before.
    """
    found: list[Sentence] = []
    start = 0
    place = 0
    while match := _END.search(text, place):
        place = match.end()
        if not match[0].startswith("\n") and not _ends(text, start, match):
            continue
        end = match.end() if not match[0].startswith("\n") else match.start()
        if trailing := _TRAILING_MARKS.match(text, end):
            end = place = trailing.end()
        _append(found, text, start, end)
        start = place
    _append(found, text, start, len(text))
    return found


def _ends(text: str, start: int, match: re.Match[str]) -> bool:
    """Whether a mark of punctuation ends the sentence that began at `start`."""
    if match[0] != ".":
        return True
    before = text[start : match.start()]
    if not before.strip() or _LIST_ITEM.fullmatch(text[start : match.end()]):
        return False
    word = re.split(r"[\s(\[\"“']", before)[-1].lower()
    following = text[match.end() :].lstrip()[:1]
    if word in _BEFORE_NAMES or (word in _BEFORE_NUMBERS and following.isdigit()):
        return False
    if word in _AT_THE_END:
        return not following or following.isupper()
    return not (len(word) == 1 and before[-1:].isupper() and word != "i")  # an initial


def _append(found: list[Sentence], text: str, start: int, end: int) -> None:
    piece = text[start:end]
    kept = piece.strip()
    if not kept:
        return
    begin = start + len(piece) - len(piece.lstrip())
    if found and not without_marks(kept).strip(" .!?"):  # marks on a line of their own
        found[-1] = Sentence(found[-1].start, begin + len(kept))
    else:
        found.append(Sentence(begin, begin + len(kept)))


def marks(text: str) -> list[Mark]:
    """Citation marks in order: `[1]`, `[1, 2]`, `[1][2]`."""
    return [
        Mark(match.start(), match.end(), tuple(dict.fromkeys(int(number) for number in re.findall(r"\d+", match[1]))))
        for match in _MARKS.finditer(text)
    ]


def without_marks(text: str) -> str:
    """The text without citation marks and the blanks before them."""
    return re.sub(rf"[ \t]*{_MARKS.pattern}", "", text)


def ground(text: str, hits: Sequence[Hit], reading: Reading | None = None) -> Grounding:
    """Citations and support of an answer whose mark `[n]` means `hits[n - 1]`.

    Where a sentence holds what a span reader quotes and cites the passage that it quotes from, the citation is the
    sentence that the span lies in.

    A sentence's support is K-Precision (Adlakha et al. 2023, "Evaluating correctness and faithfulness of
    instruction-following models for question answering"): the share of its content words, repetitions counted, that
    occur in the passages it cites, or in any passage when it cites none. It measures faithfulness to the words, not
    truth; in that paper it agrees with people's judgement best among the lexical measures.
    """
    bags = [set(_words(hit.text)) | set(_words(" ".join(hit.headings))) for hit in hits]
    found = marks(text)
    citations: list[Citation] = []
    support: list[Support] = []
    unknown: dict[int, None] = {}
    for sentence in sentences(text):
        named = [number for mark in found if sentence.start <= mark.start < sentence.end for number in mark.numbers]
        numbers = tuple(number for number in dict.fromkeys(named) if 1 <= number <= len(hits))
        unknown.update(dict.fromkeys(number for number in named if not 1 <= number <= len(hits)))
        claim = _claim(text, sentence)
        words = _content(claim)
        if words:
            known = set().union(*(bags[number - 1] for number in numbers or range(1, len(hits) + 1)))
            support.append(Support(sentence.start, sentence.end, _share(words, known), numbers))
        read = _read_in(claim, reading)
        citations += [_citation(number, hits[number - 1], claim, reading=read) for number in numbers]
    return Grounding(tuple(dict.fromkeys(citations)), tuple(support), tuple(unknown))


def attribute(
    text: str, hits: Sequence[Hit], threshold: float = ATTRIBUTION_THRESHOLD, reading: Reading | None = None
) -> tuple[Citation, ...]:
    """For an answer without marks: the passage that supports each sentence best, where it supports it well enough.

    Only sentences that carry no valid mark are considered. The citations are flagged as inferred; of equally good
    passages the better ranked one is named. A sentence that holds what a span reader quotes gets the reader's passage.
    """
    bags = [set(_words(hit.text)) for hit in hits]
    cited = {number for mark in marks(text) for number in mark.numbers}
    found: list[Citation] = []
    for sentence in sentences(text) if not cited & set(range(1, len(hits) + 1)) else ():
        claim = _claim(text, sentence)
        words = _content(claim)
        read = _read_in(claim, reading)
        if read is not None and read.passage < len(hits):
            found.append(_citation(read.passage + 1, hits[read.passage], claim, inferred=True, reading=read))
        elif words and bags:
            shares = [_share(words, bag) for bag in bags]
            best = max(range(len(hits)), key=lambda place: (shares[place], -place))
            if shares[best] >= threshold:
                found.append(_citation(best + 1, hits[best], claim, inferred=True))
    return tuple(dict.fromkeys(found))


def quotation(reading: Reading) -> str:
    """A span as an answer: its text and the mark of its passage."""
    return f"{reading.text} [{reading.passage + 1}]"


def quoted(reading: Reading, hits: Sequence[Hit]) -> Citation:
    """The citation of a span: exactly its characters, on its page."""
    hit = hits[reading.passage]
    return Citation(
        number=reading.passage + 1,
        document=hit.document,
        page=hit.page,
        page_label=hit.page_label,
        start=hit.start + reading.start,
        end=hit.start + reading.end,
        quote=reading.text,
        chunk=hit.chunk,
    )


def _read_in(claim: str, reading: Reading | None) -> Reading | None:
    """The reading, if it is an answer and the claim holds its words in their order."""
    if reading is None or not reading.answered:
        return None
    words, wanted = _words(claim), _words(reading.text)
    places = range(len(words) - len(wanted) + 1)
    return reading if wanted and any(words[at : at + len(wanted)] == wanted for at in places) else None


def abstains(text: str, phrase: str = "") -> bool:
    """Whether an answer says that the documents do not hold it.

    `phrase` is the template's own way of saying it. Other ways count only in the first sentence: what comes after an
    answer ("the passages do not say when") takes nothing of it back.
    """
    plain = " ".join(without_marks(text).split()).strip(" \"'“”.!").lower()
    wanted = " ".join(phrase.split()).strip(" .!").lower()
    if not plain or (wanted and plain.startswith(wanted)):
        return True
    bare = without_marks(text)
    first = next(iter(sentences(bare)), None)
    return first is not None and _ABSTENTIONS.search(bare[first.start : first.end]) is not None


def _claim(text: str, sentence: Sentence) -> str:
    """What a sentence says, without its marks and its bullet."""
    claim = without_marks(text[sentence.start : sentence.end])
    item = _LIST_ITEM.match(claim)
    return claim[item.end() :] if item else claim


def _words(text: str) -> list[str]:
    return [word.lower().replace("’", "'") for word in _WORD.findall(text)]


def _content(text: str) -> list[str]:
    """Content words; all words of a sentence that has nothing but stop words."""
    words = _words(text)
    return [word for word in words if word not in STOP_WORDS] or words


def _share(words: Sequence[str], known: set[str]) -> float:
    return sum(word in known for word in words) / len(words)


def _citation(number: int, hit: Hit, claim: str, inferred: bool = False, reading: Reading | None = None) -> Citation:
    """The passage's sentence that shares most with the claim, or that a span was read in, and its place on the page."""
    best = _best_sentence(hit.text, claim)
    if reading is not None and reading.passage == number - 1:
        best = _sentence_of(hit.text, reading) or best
    return cited(number, hit, best, inferred)


def cited(number: int, hit: Hit, part: Sentence, inferred: bool = True) -> Citation:
    """A sentence of a passage as a citation, with its place on the page."""
    return Citation(
        number=number,
        document=hit.document,
        page=hit.page,
        page_label=hit.page_label,
        start=hit.start + part.start,
        end=hit.start + part.end,
        quote=hit.text[part.start : part.end],
        chunk=hit.chunk,
        inferred=inferred,
    )


def _best_sentence(passage: str, claim: str) -> Sentence:
    """Most content words in common (F1, so that a long sentence does not win by its length); the first of equals."""
    wanted = set(_content(claim))
    best, top = Sentence(0, len(passage)), -1.0
    for sentence in passage_sentences(passage):
        words = set(_content(passage[sentence.start : sentence.end]))
        same = len(wanted & words)
        value = 2 * same / (len(wanted) + len(words)) if same else 0.0
        if value > top:
            best, top = sentence, value
    return best


def _sentence_of(passage: str, reading: Reading) -> Sentence | None:
    """The sentence that holds a span whole; None for a span over the border of two."""
    holding = (each for each in passage_sentences(passage) if each.start <= reading.start and reading.end <= each.end)
    return next(holding, None)


def passage_sentences(passage: str, titles: bool = True) -> list[Sentence]:
    """Sentences of a passage; a title is one of them, or left out.

    Single line breaks are a page's own line ends there, not the ends of sentences, except behind a title.
    """
    found = {match.start(): match.end() for match in _TITLE.finditer(passage) if _is_shorter(*match.groups())}
    ends = set(found.values())
    flowing = _LINE_END.sub(lambda line: line[0] if line.start() in ends else " ", passage)
    return [sentence for sentence in sentences(flowing) if titles or sentence.start not in found]


def _is_shorter(line: str, following: str) -> bool:
    """By a quarter or more: the lines of a paragraph are of a length."""
    return 4 * len(line) <= 3 * len(following)
