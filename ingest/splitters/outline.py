"""Where the headings of a page are, and which of them stand above a place in its text."""

from __future__ import annotations

import bisect
import re
from dataclasses import dataclass

from markdown_it import MarkdownIt

from ingest.text import one_line
from ragkit.types import Page

_MAYBE = re.compile(r"^ {0,3}(?:#{1,6}[ \t]|=+[ \t]*$|-+[ \t]*$)", re.MULTILINE)
_MARKS = re.compile(r"[*_`]{1,3}(?=\S)|(?<=\S)[*_`]{1,3}")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_LONGEST = 120
"""Characters of a heading that is written by underlining a line; longer ones are paragraphs above a rule."""

_CAPITAL = r"[^\W_a-zà-öø-ÿ]"
"""A letter that is no small one, or a digit."""
TITLE = (
    r"(?:(?<=[.!?…。！？])[\"'”’)\]»]*[^\S\n]*\n|\n[^\S\n]*\n)\s*"
    rf"(?={_CAPITAL}[^\n]{{0,58}}[^\s.!?…:;,。！？]\n\s*[\"'“‘(\[«]?{_CAPITAL})"
)
"""Before a line that looks like a title without a mark, as in a PDF: it follows a sentence's end or a blank line, is no
sentence itself, and the next line begins anew. What only looks like one begins a paragraph all the same."""
_TITLES = re.compile(TITLE)

_PARSER = MarkdownIt("commonmark")
_PARSER.core.ruler.enableOnly(["normalize", "block"])


@dataclass(frozen=True, slots=True)
class Heading:
    """A Markdown heading: its line begins at `start`, its text ends before `end`."""

    start: int
    end: int
    level: int
    title: str


def find_headings(text: str) -> list[Heading]:
    """Headings of a text in order; what looks like one inside a code block is none."""
    if not _MAYBE.search(text):
        return []
    starts = [0, *(match.end() for match in re.finditer("\n", text)), len(text)]
    found = []
    tokens = _PARSER.parse(text)
    for token, inline in zip(tokens, tokens[1:], strict=False):
        if token.type != "heading_open" or token.level or token.map is None:
            continue
        first, last = token.map
        if token.markup[0] != "#" and ("\n" in inline.content or len(inline.content) > _LONGEST):
            continue
        title = heading_text(inline.content)
        if title:
            found.append(Heading(starts[first], starts[min(last, len(starts) - 1)], int(token.tag[1]), title))
    return found


def heading_text(markdown: str) -> str:
    """A heading without its Markdown; the mark that joins a path does not occur in it."""
    return one_line(_MARKS.sub("", _LINK.sub(r"\1", markdown))).replace(" > ", " › ")


class Outline:
    """The headings of one page as a tree."""

    def __init__(self, page: Page) -> None:
        self.title = page.title.replace(" > ", " › ")
        self.headings = find_headings(page.text)
        self._starts = [heading.start for heading in self.headings]
        self._titles = {match.end() for match in _TITLES.finditer(page.text)}
        self._above: list[tuple[str, ...]] = []
        """For each heading the titles above it."""
        stack: list[Heading] = []
        for heading in self.headings:
            while stack and stack[-1].level >= heading.level:
                stack.pop()
            self._above.append(tuple(item.title for item in stack))
            stack.append(heading)

    def path(self, start: int, text: str) -> tuple[str, ...]:
        """Titles above a passage that begins at `start` and reads `text`; what it begins with is not repeated."""
        index = bisect.bisect_right(self._starts, start) - 1
        inner: tuple[str, ...] = ()
        if index >= 0:
            heading = self.headings[index]
            below = start >= heading.end
            inner = (*self._above[index], heading.title) if below else self._above[index]
        title = () if not self.title or self.title in inner[:1] or begins_with(text, self.title) else (self.title,)
        return (*title, *inner)

    def opens(self, start: int) -> bool:
        """Whether a heading begins at this place, or what looks like one."""
        index = bisect.bisect_left(self._starts, start)
        return start in self._titles or (index < len(self._starts) and self._starts[index] == start)


def begins_with(text: str, title: str) -> bool:
    """Whether a passage begins with this title, as a heading or plainly."""
    return " ".join(text[: 2 * len(title) + 20].lstrip("# ").split()).startswith(title)
