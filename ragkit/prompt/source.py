"""The text of a template file: checked as a person types, read, and written back."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from typing import Any

from ragkit.errors import TemplateError
from ragkit.prompt.template import MAX_SOURCE, VARIABLES, BadBraces, Template, parse

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

KEYS: dict[str, str] = {
    "name": "What the template is called: 1 to 64 letters, digits, hyphens or underscores.",
    "summary": "What it does, in a few words.",
    "when": "When to use it, in one sentence.",
    "chat": "true: the model's own chat template wraps the messages; false: the text goes in as it is.",
    "abstain": "What the model is told to say when the passages do not hold the answer.",
    "stop": "A list of texts that end the answer, such as the start of a next question.",
    "system": "The first message of the chat. Keep it the same everywhere and the model reads it only once.",
    "user": "The message with the question. What changes least comes first, the question last.",
    "passage": "One retrieved passage; repeated where {passages} stands.",
    "demonstration": "One worked example; repeated where {demonstrations} stands.",
}
"""Keys of a template file, in the order in which they are written, and what each is for."""

_KINDS = {bool: "true or false", str: "a text in quotes", list: 'a list of texts, like ["Question:"]'}
_REQUIRED = ("name", "summary", "when", "user")
_POSITION = re.compile(r"\(at (?:line (\d+), column (\d+)|end of document)\)")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that keeps a template from being used."""

    message: str
    line: int = 0
    """From 1; 0 when the problem belongs to no line."""
    column: int = 0
    key: str = ""

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}" if self.line else self.message


def check(text: str) -> list[Problem]:
    """All problems of a template's text; none means that it can be saved and used."""
    return _read(text)[1]


def load(text: str) -> Template:
    """The template. Raises TemplateError that lists every problem."""
    values, problems = _read(text)
    if problems:
        named = values.get("name")
        shown = f"template {named!r}" if isinstance(named, str) else "template"
        raise TemplateError(f"The {shown} cannot be used.", " ".join(f"{problem}" for problem in problems))
    for block in ("system", "user"):
        values[block] = values.get(block, "").strip("\r\n")
    values["stop"] = tuple(values.get("stop", ()))
    return Template(**values)


def dump(template: Template) -> str:
    """The template as a file's text; `load` gives the same template back."""
    lines = []
    for key in KEYS:
        value = getattr(template, key)
        if isinstance(value, bool):
            lines.append(f"{key} = {str(value).lower()}")
        elif isinstance(value, tuple):
            lines += [f"{key} = [{', '.join(json.dumps(item, ensure_ascii=False) for item in value)}]"] if value else []
        elif value or key in _REQUIRED:
            lines.append(f"{key} = {_quoted(value)}")
    return "\n".join(lines) + "\n"


def _quoted(value: str) -> str:
    """A TOML string: over several lines where the value has them."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    escaped = "".join(char if char in "\n\t" or char.isprintable() else f"\\U{ord(char):08x}" for char in escaped)
    if "\n" not in escaped:
        return '"' + escaped.replace("\t", "\\t") + '"'
    readable = escaped.replace('\\"', '"').replace('"""', '""\\"')
    return '"""\n' + (readable[:-1] + '\\"' if readable.endswith('"') else readable) + '"""'


def _read(text: str) -> tuple[dict[str, Any], list[Problem]]:
    if len(text) > MAX_SOURCE:
        return {}, [Problem(f"The text has {len(text):,} characters; a template has at most {MAX_SOURCE:,}.")]
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return {}, [_syntax(error, text)]
    problems = [*_keys(values, text), *_blocks(values, text)]
    problems.sort(key=lambda problem: (problem.line == 0, problem.line, problem.column))
    return values, problems


def _syntax(error: tomllib.TOMLDecodeError, text: str) -> Problem:
    message = str(error)
    match = _POSITION.search(message)
    what = _POSITION.sub("", message).strip()
    advice = 'Write key = "text", or key = """ with the text on the lines below and """ after it.'
    if match and match[1]:
        return Problem(f"{what}. {advice}", int(match[1]), int(match[2]))
    return Problem(f"{what}. {advice}", text.count("\n") + 1, 1)


def _line_of(text: str, key: str) -> int:
    match = re.search(rf"^[ \t]*{re.escape(key)}[ \t]*=", text, re.MULTILINE)
    return text.count("\n", 0, match.start()) + 1 if match else 0


def _keys(values: dict[str, Any], text: str) -> list[Problem]:
    problems = []
    for key, value in values.items():
        kind: type = {"chat": bool, "stop": list}.get(key, str)
        if key not in KEYS:
            problems.append(
                Problem(f"There is no key {key!r}. There are: {', '.join(KEYS)}.", _line_of(text, key), 1, key)
            )
        elif (
            not isinstance(value, kind)
            or isinstance(value, list)
            and not all(isinstance(item, str) and item for item in value)
        ):
            problems.append(Problem(f"{key} must be {_KINDS[kind]}.", _line_of(text, key), 1, key))
    for key in _REQUIRED:
        if key not in values:
            problems.append(Problem(f"The key {key!r} is missing. {KEYS[key]}", key=key))
        elif isinstance(values[key], str) and not values[key].strip():
            problems.append(Problem(f"{key} is empty. {KEYS[key]}", _line_of(text, key), 1, key))
    name = values.get("name")
    if isinstance(name, str) and name.strip() and not NAME.fullmatch(name):
        problems.append(Problem(f"{name!r} cannot name a template. {KEYS['name']}", _line_of(text, "name"), 1, "name"))
    return problems


def _blocks(values: dict[str, Any], text: str) -> list[Problem]:
    problems = []
    used: dict[str, set[str]] = {}
    for key, allowed in VARIABLES.items():
        block = values.get(key, "")
        if not isinstance(block, str):
            return []  # reported by _keys
        try:
            used[key] = {piece.variable for piece in parse(block, allowed)} - {""}
        except BadBraces as error:
            line, column = _place(text, key, block, error)
            problems.append(Problem(f"In {key}: {error}", line, column, key))
    return problems or [Problem(message, _line_of(text, key), 1, key) for key, message in _missing(values, used)]


def _missing(values: dict[str, Any], used: dict[str, set[str]]) -> list[tuple[str, str]]:
    found = []
    around = used["system"] | used["user"]
    if "user" in values and "question" not in used["user"]:
        found.append(("user", "user must hold {question}."))
    for block, variable, needed in (("passage", "passages", "text"), ("demonstration", "demonstrations", "question")):
        written = bool(values.get(block, "").strip())
        if variable in around and not written:
            found.append((block, f"{{{variable}}} is used, so the key {block} must say how one {block} looks."))
        if written and variable not in around:
            found.append((block, f"{block} is never shown: put {{{variable}}} into user, or delete the key."))
        if written and needed not in used[block]:
            found.append((block, f"{block} must hold {{{needed}}}."))
    if values.get("demonstration", "").strip() and "answer" not in used["demonstration"]:
        found.append(("demonstration", "demonstration must hold {answer}."))
    return found


def _place(text: str, key: str, block: str, error: BadBraces) -> tuple[int, int]:
    """Line and column in the file. Braces are never escaped in TOML, so the wrong one is found by counting them."""
    start = re.search(rf"^[ \t]*{key}[ \t]*=", text, re.MULTILINE)
    if start is None:
        return 0, 0
    char = block[error.offset]
    place = start.end() - 1
    for _ in range(block.count(char, 0, error.offset) + 1):
        place = text.find(char, place + 1)
        if place < 0:
            return _line_of(text, key), 1
    return text.count("\n", 0, place) + 1, place - text.rfind("\n", 0, place)
