"""One tree of errors: each says what happened, the value, and what to do next.

The windows (command line, browser) print `str(error)` and no traceback. A programming error is never turned into one
of these.
"""

from __future__ import annotations

import errno


class RagkitError(Exception):
    """Something a person can mend. `message` says what happened with the value, `hint` what to do next."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message} {hint}".strip())
        self.message = message
        self.hint = hint


class UnknownPart(RagkitError):
    """A name that no catalog row carries."""


class MissingExtra(RagkitError):
    """A part whose optional dependency is not installed."""


class SettingsError(RagkitError):
    """A setting with an impossible value or an unknown name."""


class LoadError(RagkitError):
    """A file that cannot be read as a document."""


class ModelError(RagkitError):
    """A model that is missing, altered or of the wrong kind."""


class CollectionError(RagkitError):
    """A collection that is missing, damaged, in use or of a newer format."""


class EmbedderMismatch(CollectionError):
    """A collection whose vectors were made by another embedder."""


class TemplateError(RagkitError):
    """A prompt template that cannot be read or rendered."""


class PromptTooLong(RagkitError):
    """A question that leaves no room in the model's context."""


class Cancelled(RagkitError):
    """Work that was stopped on request."""


_CORRUPT, _FULL, _NO_DATABASE = 11, 13, 26
"""SQLite's result codes; the module sqlite3 is not loaded for their sake."""


def of_storage(error: Exception) -> CollectionError | None:
    """What to tell a person when the disk is full or the database is damaged; None if it is about something else."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest tells of details
    if code in (_CORRUPT, _NO_DATABASE):
        return CollectionError(
            f"The collection's database is damaged ({error}).",
            "See what is wrong with: ragkit verify. Save what can be read with: ragkit verify --repair",
        )
    if code == _FULL or (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)):
        return CollectionError("The disk is full.", "Make room and do it again; what was reported as done is kept.")
    return None
