"""Prompt templates: data files with named placeholders, rendered in one pass.

A placeholder is a name in braces and nothing else: no attribute, no expression, no loop. (Editable templates with a
template language have been remote code execution elsewhere, and a sandbox does not stop a memory bomb.) What is
inserted is data: it is never looked at for placeholders again, it cannot close the fence that the template puts around
a passage, and it cannot bring citation marks of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from ragkit.errors import TemplateError
from ragkit.types import Demonstration, Hit, Message, Prompt, Segment, SegmentKind, digest

MAX_SOURCE = 20_000
"""Longest template file, in characters."""
MAX_OUTPUT = 4_000_000
"""Longest rendered prompt, in characters: far above any model's context, far below any machine's memory."""

VARIABLES: Mapping[str, tuple[str, ...]] = {
    "system": ("question", "passages", "demonstrations"),
    "user": ("question", "passages", "demonstrations"),
    "passage": ("number", "text", "document", "page", "title"),
    "demonstration": ("question", "answer", "passage"),
}
"""What each block of a template may insert."""

_BRACES = re.compile(r"\{\{|\}\}|\{(?P<name>[a-z_]+)\}|(?P<wrong>[{}])")
_TAG = re.compile(r"</?([A-Za-z][A-Za-z0-9_-]*)")
_FENCE = re.compile(r"`{3,}|~{3,}|\"{3,}|'{3,}|={3,}|-{3,}|#{3,}")
_MARK = re.compile(r"\[(?=\d{1,3}(?:\s*,\s*\d{1,3})*\])")


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of literal text, or a placeholder."""

    text: str
    variable: str = ""


class BadBraces(ValueError):
    """Braces that are no placeholder; `offset` and `length` say where in the block."""

    def __init__(self, message: str, offset: int, length: int) -> None:
        super().__init__(message)
        self.offset = offset
        self.length = length


def parse(block: str, allowed: Sequence[str]) -> tuple[Piece, ...]:
    """The block as literal pieces and placeholders. Raises BadBraces at the first thing that is neither."""
    names = ", ".join("{" + name + "}" for name in allowed)
    pieces: list[Piece] = []
    literal: list[str] = []
    place = 0
    for match in _BRACES.finditer(block):
        literal.append(block[place : match.start()])
        place = match.end()
        if match["wrong"]:
            shown = block[match.start() : match.start() + 20].splitlines()[0]
            what = f"A brace that belongs to no placeholder: {shown!r}"
            raise BadBraces(f"{what}. Allowed here: {names}; a literal brace is {{{{ or }}}}.", match.start(), 1)
        if match["name"] is None:
            literal.append(match[0][0])
            continue
        if match["name"] not in allowed:
            message = f"There is no variable {match[0]} here. Allowed here: {names}."
            raise BadBraces(message, match.start(), len(match[0]))
        pieces += [Piece("".join(literal))] if any(literal) else []
        pieces.append(Piece("", match["name"]))
        literal = []
    literal.append(block[place:])
    return (*pieces, *([Piece("".join(literal))] if any(literal) else []))


@dataclass(frozen=True)
class Template:
    """A prompt template. Blocks are what the file says, without the line breaks around `system` and `user`."""

    name: str
    summary: str
    when: str
    """One sentence: when to use it."""
    user: str
    system: str = ""
    passage: str = ""
    demonstration: str = ""
    chat: bool = True
    """Whether the model's own chat template wraps the messages; without it the text goes in as it is."""
    abstain: str = ""
    """What the template tells the model to say when the passages do not hold the answer."""
    stop: tuple[str, ...] = ()
    """Texts that end the answer."""

    @cached_property
    def sha256(self) -> str:
        """Hash of all that shapes a prompt: the name, the summary and the advice are not part of it."""
        return digest([self.chat, self.system, self.user, self.passage, self.demonstration, self.stop])

    @cached_property
    def variables(self) -> frozenset[str]:
        """Variables of `system` and `user`."""
        return frozenset(piece.variable for name in ("system", "user") for piece in self._pieces[name]) - {""}

    @property
    def few_shot(self) -> bool:
        """Whether the template shows demonstrations."""
        return "demonstrations" in self.variables

    @cached_property
    def _pieces(self) -> dict[str, tuple[Piece, ...]]:
        blocks = {name: getattr(self, name) for name in VARIABLES}
        try:
            return {name: parse(block, VARIABLES[name]) for name, block in blocks.items()}
        except BadBraces as error:
            raise TemplateError(f"The template {self.name!r} cannot be used.", str(error)) from error

    @cached_property
    def _fences(self) -> re.Pattern[str] | None:
        """What inserted passages must not contain: the tags and fences that the template puts around them."""
        blocks = self.passage + "\n" + self.demonstration
        tags = {tag.lower() for tag in _TAG.findall(blocks)}
        runs = {run[:3] for run in _FENCE.findall(blocks)}
        parts = [rf"<(?=\s*/?\s*{re.escape(tag)}\b)" for tag in sorted(tags)]
        parts += [rf"{re.escape(run[0])}(?={re.escape(run[1:])})" for run in sorted(runs)]
        return re.compile("|".join(parts), re.IGNORECASE) if parts else None

    def quoted(self, text: str) -> str:
        """Document text as a passage shows it: fences broken by a space, `[1]` written `[ 1]`.

        In an answer `[1]` must always mean the passage numbered 1, so a passage must not bring marks of its own.
        """
        return self._fenced(_MARK.sub("[ ", text))

    def _fenced(self, text: str) -> str:
        return self._fences.sub(lambda match: match[0] + " ", text) if self._fences else text

    def render(
        self,
        question: str,
        hits: Sequence[Hit] = (),
        demonstrations: Sequence[Demonstration] = (),
        dropped: Sequence[Hit] = (),
    ) -> Prompt:
        """The prompt for a question over passages, the first of which is number 1.

        Raises TemplateError if the result would be longer than MAX_OUTPUT characters.
        """
        shown = tuple(hits) if "passages" in self.variables else ()
        examples = tuple(demonstrations) if self.few_shot else ()
        repeated = {
            "question": (Segment("question", question),),
            "passages": tuple(self._passage(hit, number) for number, hit in enumerate(shown, start=1)),
            "demonstrations": tuple(self._demonstration(one, number) for number, one in enumerate(examples, start=1)),
        }
        messages = []
        roles: tuple[Literal["system", "user"], ...] = ("system", "user")
        for role in roles:
            segments = tuple(self._expand(self._pieces[role], repeated))
            if segments:
                messages.append(Message(role, segments))
        return Prompt(self.name, tuple(messages), self.chat, shown, tuple(dropped), examples, self.stop, self.sha256)

    def _expand(self, pieces: Iterable[Piece], repeated: Mapping[str, tuple[Segment, ...]]) -> Iterator[Segment]:
        size = 0
        for piece in pieces:
            segments = repeated[piece.variable] if piece.variable else (Segment("instruction", piece.text),)
            size += sum(len(segment.text) for segment in segments)
            if size > MAX_OUTPUT:
                raise TemplateError(
                    f"The template {self.name!r} makes a prompt of more than {MAX_OUTPUT:,} characters.",
                    "Insert {passages} and {demonstrations} once.",
                )
            yield from (segment for segment in segments if segment.text)

    def _passage(self, hit: Hit, number: int) -> Segment:
        values = {
            "number": str(number),
            "text": self.quoted(hit.text),
            "document": self.quoted(hit.document),
            "page": self.quoted(hit.page_label or str(hit.page)),
            "title": self.quoted(" > ".join(hit.headings)),
        }
        return self._block("passage", values, number)

    def _demonstration(self, example: Demonstration, number: int) -> Segment:
        values = {
            "question": self._fenced(example.question),
            "answer": self._fenced(example.answer),
            "passage": self.quoted(example.passage),
        }
        return self._block("demonstration", values, number)

    def _block(self, kind: SegmentKind, values: Mapping[str, str], number: int) -> Segment:
        text = "".join(values[piece.variable] if piece.variable else piece.text for piece in self._pieces[kind])
        return Segment(kind, text, number)
