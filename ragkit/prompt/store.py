"""All templates: the bundled ones and a person's own, which are files in one folder."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path

from ragkit.errors import TemplateError
from ragkit.prompt.source import NAME, Problem, check, dump, load
from ragkit.prompt.template import MAX_SOURCE, Template

DEFAULT = "cite"
"""The template that is used when none is named."""

Templates = list[Template]
Problems = list[Problem]
Names = list[str]
"""Named here because the store has a method called `list`."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A file of the person's folder that cannot be used, with everything that is wrong with it."""

    name: str
    path: Path
    problems: tuple[Problem, ...]


@cache
def bundled() -> dict[str, tuple[Template, str]]:
    """The templates that come with ragkit, by name, each with its text; the default one first."""
    found = {}
    for entry in resources.files("ragkit.prompt").joinpath("templates").iterdir():
        if entry.name.endswith(".toml"):
            text = entry.read_text(encoding="utf-8")
            template = load(text)
            found[template.name] = (template, text)
    return dict(sorted(found.items(), key=lambda item: (item[0] != DEFAULT, item[1][0].few_shot, item[0])))


class TemplateStore:
    """Templates by name: `TemplateStore(home / "templates")`. The folder need not exist; nothing is kept in memory,
    so that a file changed by hand or by another process counts at once."""

    def __init__(self, user_dir: Path) -> None:
        self._folder = user_dir

    def list(self) -> Templates:
        """Every usable template: bundled first, then the person's own by name."""
        own = [template for template in self._own() if isinstance(template, Template)]
        return [*(template for template, _ in bundled().values()), *own]

    def broken(self) -> tuple[Broken, ...]:
        """The person's files that cannot be used."""
        return tuple(entry for entry in self._own() if isinstance(entry, Broken))

    @property
    def names(self) -> Names:
        """Names of every usable template, in the order of `list`."""
        return [template.name for template in self.list()]

    def is_bundled(self, name: str) -> bool:
        """Whether the template comes with ragkit and so cannot be changed."""
        return name in bundled()

    def get(self, name: str) -> Template:
        """The template. Raises TemplateError if there is none of that name, or its file is broken."""
        if name in bundled():
            return bundled()[name][0]
        entry = self._load(self._existing(name))
        if isinstance(entry, Broken):
            listed = " ".join(str(problem) for problem in entry.problems)
            raise TemplateError(f"The template {name!r} ({entry.path}) cannot be used.", listed)
        return entry

    def text(self, name: str) -> str:
        """The file's text, as the person left it, broken or not."""
        if name in bundled():
            return bundled()[name][1]
        return _read(self._existing(name))

    def save(self, text: str) -> Template:
        """Keep a template under the name that its text gives. Raises TemplateError with every problem; then nothing
        is written."""
        template = load(text)
        if self.is_bundled(template.name):
            raise TemplateError(
                f"The template {template.name!r} comes with ragkit and cannot be changed.",
                "Copy it under another name and change the copy.",
            )
        self._folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".saving-", dir=self._folder)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self._path(template.name))
        finally:
            Path(temporary).unlink(missing_ok=True)
        return template

    def copy(self, name: str, new_name: str) -> Template:
        """Save a copy under a new name, comments included. Raises TemplateError if that name is taken."""
        if self.is_bundled(new_name) or (NAME.fullmatch(new_name) and self._path(new_name).exists()):
            raise TemplateError(f"There is already a template {new_name!r}.", "Choose another name for the copy.")
        template = replace(self.get(name), name=new_name)
        renamed = re.sub(
            r"^name[ \t]*=.*$", lambda _: f'name = "{new_name}"', self.text(name), count=1, flags=re.MULTILINE
        )
        faithful = not check(renamed) and load(renamed) == template
        return self.save(renamed if faithful else dump(template))

    def delete(self, name: str) -> None:
        """Remove one of the person's own templates. Raises TemplateError for a bundled or unknown one."""
        if self.is_bundled(name):
            raise TemplateError(f"The template {name!r} comes with ragkit and cannot be deleted.", "Delete a copy.")
        self._existing(name).unlink()

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.toml"

    def _existing(self, name: str) -> Path:
        if not NAME.fullmatch(name) or not self._path(name).is_file():
            raise TemplateError(f"There is no template {name!r}.", f"There are: {', '.join(self.names)}.")
        return self._path(name)

    def _own(self) -> Iterator[Template | Broken]:
        paths = sorted(self._folder.glob("*.toml")) if self._folder.is_dir() else []
        return (self._load(path) for path in paths)

    def _load(self, path: Path) -> Template | Broken:
        try:
            text = _read(path)
        except TemplateError as error:
            return Broken(path.stem, path, (Problem(str(error)),))
        problems = check(text)
        if not problems:
            template = load(text)
            problems = self._misplaced(template, path)
            if not problems:
                return template
        return Broken(path.stem, path, tuple(problems))

    def _misplaced(self, template: Template, path: Path) -> Problems:
        if template.name != path.stem:
            return [Problem(f"It calls itself {template.name!r}: rename the file or the template.", key="name")]
        if self.is_bundled(template.name):
            return [Problem(f"{template.name!r} is the name of a template that comes with ragkit.", key="name")]
        return []


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > 4 * MAX_SOURCE:
            raise TemplateError(f"{path} is no template: it is too large.", f"At most {MAX_SOURCE:,} characters.")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TemplateError(f"{path} cannot be read: {error}.", "Save it as a UTF-8 text.") from error
