"""Where collections live: one folder a collection below one home."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ragkit.errors import SettingsError

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
DATABASE = "library.sqlite"
"""File name of a collection's database inside its folder."""


def default_home() -> Path:
    """The folder named by RAGKIT_HOME, else `index_data` of the checkout that ragkit runs from."""
    named = os.environ.get("RAGKIT_HOME")
    return Path(named).expanduser() if named else Path(__file__).resolve().parent.parent / "index_data"


def check_name(name: str, what: str = "collection") -> str:
    """The name, if it can safely name a folder or file. Raises SettingsError otherwise."""
    if not _NAME.fullmatch(name):
        article = "an" if what[0] in "aeiou" else "a"
        raise SettingsError(
            f"{name!r} cannot name {article} {what}.",
            "Use 1 to 64 letters, digits, hyphens or underscores, without spaces."
        )
    return name


def collections(home: Path) -> list[str]:
    """Names of the collections below a home, in alphabetical order."""
    if not home.is_dir():
        return []
    return sorted(
        entry.name for entry in home.iterdir() if _NAME.fullmatch(entry.name) and (entry / DATABASE).is_file()
    )
