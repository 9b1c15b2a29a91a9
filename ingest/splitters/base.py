"""What all splitters share: langchain cuts a page into a partition, the rest is exact bookkeeping over offsets.

Langchain gets an overlap of 0, keeps separators and white space, and so returns pieces that join to the text again;
offsets are then sums of lengths. (Its own offsets are guesses once lengths are measured in tokens.) Overlap is added
afterwards by moving the beginning of a passage back over whole sentences.
"""

from __future__ import annotations

import bisect
import re
from typing import ClassVar

from langchain_text_splitters import RecursiveCharacterTextSplitter

from ingest.splitters.outline import Outline
from ingest.splitters.tokens import CountTokens, WordCosts
from ragkit.errors import SettingsError
from ragkit.types import Chunk, Page

SMALLEST = 16
"""Tokens below which a passage says nothing."""
PATH_SHARE = 4
"""The heading path takes at most this part of a passage (1/4)."""

_ABBREVIATED = (
    "Dr Mr Ms Mrs Prof St Fig fig Figs Eq eq Sec sec Vol vol pp al vs cf ca etc Nr bzw Abb Kap Jr Sr".split()  # noqa: SIM905
)
_ABBREVIATIONS = "".join(rf"(?<!{word}\.)" for word in _ABBREVIATED)
SENTENCE_END = (
    rf"(?:(?<=[.!?…]){_ABBREVIATIONS}(?<!\b[A-Za-z]\.)[\"'”’)\]»]*\s+(?=[\"'“‘(\[«¿¡]?[^\W_a-zà-öø-ÿ])"
    r"|(?<=[。！？])[」』”’]?\s*)"
)
"""Between two sentences: end mark, closing quotes, space, then no small letter. Abbreviations and initials end none."""
PARAGRAPH = r"\n[^\S\n]*\n\s*"
FULL_LINE = r"(?<=[.!?…:;。！？])[\"'”’)\]»]*\n"
CLAUSE = r"(?:(?<=[,;:–—])\s+|(?<=[，；：、]))"
_STARTS = re.compile(f"{PARAGRAPH}|{FULL_LINE}|{SENTENCE_END}")
_WORD_START = re.compile(r"(?<=\s)(?=\S)")

Span = tuple[int, int]


class BaseSplitter:
    """`Splitter(count_tokens, chunk_tokens, overlap_tokens)`; subclasses say where to cut."""

    separators: ClassVar[tuple[str, ...]]
    """Regular expressions, the best place to cut first."""
    sections: ClassVar[bool] = False
    """Cut at every heading."""
    word_overlap: ClassVar[bool] = False
    """Overlap by words alone, not by sentences."""

    def __init__(self, count_tokens: CountTokens, chunk_tokens: int, overlap_tokens: int) -> None:
        if chunk_tokens < SMALLEST:
            raise SettingsError(
                f"chunk_tokens is {chunk_tokens}; a passage needs at least {SMALLEST}.",
                "Values of 100 to 400 work well.",
            )
        if not 0 <= overlap_tokens <= chunk_tokens // 2:
            raise SettingsError(
                f"overlap_tokens is {overlap_tokens}; it must lie between 0 and half of chunk_tokens ({chunk_tokens}).",
                "Values of 0 to 50 work well.",
            )
        self._count_tokens = count_tokens
        self._cost = WordCosts(count_tokens)
        self._limit = chunk_tokens - self._cost.special
        self._overlap = overlap_tokens

    def split(self, page: Page) -> list[Chunk]:
        """Chunks in reading order; offsets exact, outer white space trimmed, none longer than chunk_tokens."""
        text = page.text
        if not text.strip():
            return []
        self._cost.learn(text)
        outline = Outline(page)
        spans: list[Span] = []
        for start, end in self._sections(text, outline):
            spans += self._cut(text, start, end, self._room(outline))
        spans = [trimmed for span in spans if (trimmed := _trim(text, *span))]
        starts = self._with_overlap(text, spans, outline)
        chunks = [self._chunk(page, outline, begin, span) for begin, span in zip(starts, spans, strict=True)]
        return self._checked(page, outline, chunks, spans)

    # Cutting

    def _room(self, outline: Outline) -> int:
        """Tokens for the passage itself and its overlap, once the longest heading path has its place."""
        paths = {outline.path(heading.end, "") for heading in outline.headings} | {(outline.title,)}
        longest = max((self._cost(" > ".join(path)) for path in paths), default=0)
        return self._limit - min(longest, self._limit // PATH_SHARE)

    def _sections(self, text: str, outline: Outline) -> list[Span]:
        """The whole page; or, where headings bind, a span a section. A heading without text goes with the next one."""
        if not self.sections:
            return [(0, len(text))]
        cuts = [0]
        bare = 0
        for heading in outline.headings:
            if text[bare : heading.start].strip():
                cuts.append(heading.start)
            bare = heading.end
        return list(zip(cuts, [*cuts[1:], len(text)], strict=True))

    def _cut(self, text: str, start: int, end: int, room: int) -> list[Span]:
        """A partition of text[start:end] into pieces of at most `room` tokens, overlap included."""
        part = text[start:end]
        if self._cost(part) <= room:
            return [(start, end)]
        splitter = RecursiveCharacterTextSplitter(
            separators=list(self.separators),
            is_separator_regex=True,
            keep_separator="end",
            chunk_size=max(room - self._overlap, SMALLEST // 2),
            chunk_overlap=0,
            length_function=self._cost,
            strip_whitespace=False,
        )
        pieces = splitter.split_text(part)
        if "".join(pieces) != part:
            raise AssertionError("the splitter lost text")  # a fault of ours or langchain's, never of the document
        return self._merged(text, _offsets(start, pieces), room)

    def _merged(self, text: str, spans: list[Span], room: int) -> list[Span]:
        """Put small pieces together with a neighbour: a small one as long as it leaves room for the overlap, a tiny
        one (no longer than an overlap) into all the room there is.
        """
        small, body = (room - self._overlap) // 3, room - self._overlap
        merged: list[Span] = []
        sizes: list[int] = []
        for start, end in spans:
            size = self._cost(text[start:end])
            if merged:
                least, total = min(size, sizes[-1]), sizes[-1] + size
                if (least <= small and total <= body) or (least <= self._overlap and total <= room):
                    merged[-1] = (merged[-1][0], end)
                    sizes[-1] = total
                    continue
            merged.append((start, end))
            sizes.append(size)
        return merged

    # Overlap

    def _with_overlap(self, text: str, spans: list[Span], outline: Outline) -> list[int]:
        """Where each passage begins once it repeats the end of the one before."""
        begins = [start for start, _ in spans]
        if not self._overlap or len(spans) < 2:
            return begins
        sentences = [match.end() for match in _STARTS.finditer(text)]
        room = self._room(outline)
        for index in range(1, len(spans)):
            start, end = spans[index]
            if outline.opens(start) or (self.sections and self._crosses(outline, spans[index - 1][0], start)):
                continue
            allowed = min(self._overlap, room - self._cost(text[start:end]))
            begins[index] = self._back(text, spans[index - 1][0], start, allowed, sentences)
        return begins

    def _crosses(self, outline: Outline, before: int, start: int) -> bool:
        """Whether a heading begins between two places."""
        return any(before < heading.start <= start for heading in outline.headings)

    def _back(self, text: str, floor: int, start: int, allowed: int, sentences: list[int]) -> int:
        """The earliest sentence after `floor` from which at most `allowed` tokens lead to `start`; by words where a
        sentence was cut and no whole one fits.
        """
        best = start
        index = bisect.bisect_left(sentences, start)
        cut = not (index < len(sentences) and sentences[index] == start)
        if not self.word_overlap:
            for place in reversed(sentences[:index]):
                if place <= floor or self._cost(text[place:start]) > allowed:
                    break
                best = place
        if best == start and (cut or self.word_overlap):
            window = max(floor, start - CHARACTERS_BACK)
            places = [match.start() + window for match in _WORD_START.finditer(text[window:start])]
            for place in reversed(places):
                if place <= floor or self._cost(text[place:start]) > allowed:
                    break
                best = place
        return best

    # The result

    def _chunk(self, page: Page, outline: Outline, begin: int, span: Span) -> Chunk:
        text = page.text[begin : span[1]]
        path = self._short(outline.path(span[0], page.text[span[0] : span[1]]))
        return Chunk(page.number, begin, span[1], text, path)

    def _short(self, path: tuple[str, ...]) -> tuple[str, ...]:
        """The path, each title cut to its share of a quarter passage when the whole would take more."""
        allowed = self._limit // PATH_SHARE
        if not path or self._cost(" > ".join(path)) <= allowed:
            return path
        path = path if len(path) <= 3 else (path[0], *path[-2:])
        share = max(allowed // len(path) - 1, 1)
        cut = [self._first_words(title, share) for title in path]
        return tuple(title for title in cut if title)

    def _first_words(self, title: str, tokens: int) -> str:
        words: list[str] = []
        for word in title.split():
            tokens -= self._cost(word)
            if tokens < 0:
                break
            words.append(word)
        return " ".join(words)

    def _checked(self, page: Page, outline: Outline, chunks: list[Chunk], spans: list[Span]) -> list[Chunk]:
        """The chunks, those that the tokenizer finds too long after all made to fit."""
        texts = [chunk.embedded_text for chunk in chunks]
        counts: list[int] = []
        for start in range(0, len(texts), _COUNTED):
            counts += self._count_tokens(texts[start : start + _COUNTED])
        result: list[Chunk] = []
        for chunk, span, count in zip(chunks, spans, counts, strict=True):
            if count <= self._limit + self._cost.special:
                result.append(chunk)
            else:
                result += self._fitted(page, outline, span)
        return result

    def _fitted(self, page: Page, outline: Outline, span: Span) -> list[Chunk]:
        """A passage without overlap, then without headings, then halved until it fits."""
        chunk = self._chunk(page, outline, span[0], span)
        bare = Chunk(chunk.page, chunk.start, chunk.end, chunk.text)
        for candidate in (chunk, bare):
            if self._count_tokens([candidate.embedded_text])[0] <= self._limit + self._cost.special:
                return [candidate]
        if span[1] - span[0] < 2:
            return [bare]  # one character: nothing is left to cut
        middle = (span[0] + span[1]) // 2
        places = [match.start() for match in re.finditer(r"\s", chunk.text)]
        if places:
            middle = span[0] + min(places, key=lambda place: abs(place - len(chunk.text) // 2))
        halves = [_trim(page.text, span[0], middle), _trim(page.text, middle, span[1])]
        return [piece for half in halves if half for piece in self._fitted(page, outline, half)]


_COUNTED = 256
"""Passages given to the tokenizer at a time: it takes some 70 bytes for each of their characters."""
CHARACTERS_BACK = 2000
"""How far back an overlap by words looks; half a passage of the longest kind."""


def _offsets(start: int, pieces: list[str]) -> list[Span]:
    spans = []
    for piece in pieces:
        spans.append((start, start + len(piece)))
        start += len(piece)
    return spans


def _trim(text: str, start: int, end: int) -> Span | None:
    """The span without white space at its ends; None when nothing is left."""
    part = text[start:end]
    left = len(part) - len(part.lstrip())
    if left == len(part):
        return None
    return start + left, end - (len(part) - len(part.rstrip()))
