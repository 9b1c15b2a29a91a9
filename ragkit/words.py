"""Words of a question: which of them the full-text search looks for."""

from __future__ import annotations

import re

TEXT_WEIGHT = 1.0
CONTEXT_WEIGHT = 1.0
"""Weights of a passage's text and of its heading path in BM25."""

_WORD = re.compile(r"\w+")

_STOP_WORDS = """
a about after all also am an and any are as at be been before being between both but by can could did do does
doing during each for from had has have having he her here him his how i if in into is it its itself just me
might more most must my no not of off on or our out over own shall she should so some such than that the their
them then there these they this those through to too under until up upon us very was we were what when where
which while who whom whose why will with would you your
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
"""Words that say nothing about what a text is about."""


def content_words(text: str) -> list[str]:
    """Words that carry meaning, lower case, in order; all words where every one of them is a stop word."""
    found = [word.lower() for word in _WORD.findall(text)]
    return [word for word in found if word not in STOP_WORDS] or found


def match_query(question: str) -> str:
    """The question as an FTS5 query: any of its content words. Every word is quoted, so no operator gets through."""
    distinct = dict.fromkeys(content_words(question.replace("\0", " ")))
    return " OR ".join(f'"{word}"' for word in distinct)
