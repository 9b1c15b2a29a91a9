"""The splitters: what each prefers to cut at."""

from __future__ import annotations

from typing import ClassVar

from ingest.splitters.base import CLAUSE, FULL_LINE, PARAGRAPH, SENTENCE_END, BaseSplitter
from ingest.splitters.outline import TITLE

_HEADING = r"\n(?= {0,3}#{1,6}[ \t])"
_WITHIN = (SENTENCE_END, r"\n", CLAUSE, r"\s+", "")
"""Within a paragraph. A line end comes after sentences: the lines of a PDF or of wrapped text end anywhere."""


class RecursiveSplitter(BaseSplitter):
    """At the largest boundary that gives pieces small enough; short sections are kept together."""

    separators: ClassVar[tuple[str, ...]] = (_HEADING, TITLE, PARAGRAPH, FULL_LINE, *_WITHIN)


class MarkdownSplitter(BaseSplitter):
    """No passage reaches across a heading."""

    separators: ClassVar[tuple[str, ...]] = (PARAGRAPH, FULL_LINE, *_WITHIN)
    sections: ClassVar[bool] = True


class SentenceSplitter(BaseSplitter):
    """Whole sentences, paragraphs aside."""

    separators: ClassVar[tuple[str, ...]] = (f"(?:{PARAGRAPH}|{FULL_LINE}|{SENTENCE_END})", *_WITHIN[1:])


class FixedSplitter(BaseSplitter):
    """As many words as fit, wherever that cuts."""

    separators: ClassVar[tuple[str, ...]] = (r"\s+", "")
    word_overlap: ClassVar[bool] = True
