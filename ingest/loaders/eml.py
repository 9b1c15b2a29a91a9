"""E-mail messages and web pages saved as MIME."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import ClassVar

from ingest.loaders.base import BaseLoader, make_page
from ingest.loaders.markup import parse_html, visible_text
from ingest.text import decode, one_line
from ragkit.errors import LoadError
from ragkit.types import Page

_HEADERS = ("Subject", "From", "To", "Cc", "Date")
MAX_DEPTH = 10
"""Messages within messages that are followed."""


class EmlLoader(BaseLoader):
    """A message is one page: its headers, its text (plain before HTML), the names of what is attached."""

    suffixes: ClassVar[tuple[str, ...]] = (".eml", ".mht", ".mhtml")

    def load(self, path: Path) -> Iterator[Page]:
        """One page."""
        message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        if not message.keys():
            raise LoadError("The file is no e-mail message: it has no headers.", "Save it again from the mail program.")
        self.title = _header(message, "Subject")
        yield make_page(1, message_text(message, 0), title=self.title)


def message_text(message: EmailMessage, depth: int) -> str:
    """Headers, an empty line, then the bodies."""
    head = [f"{name}: {_header(message, name)}" for name in _HEADERS if _header(message, name)]
    bodies, attached = _parts(message, depth)
    if attached:
        head.append("Attachments: " + ", ".join(attached))
    return "\n\n".join(["\n".join(head), *bodies])


def _header(message: EmailMessage, name: str) -> str:
    try:
        return one_line(str(message.get(name, "")), 1000)
    except (ValueError, LookupError, IndexError, AttributeError, TypeError):  # headers that the parser trips over
        return ""


def _parts(message: EmailMessage, depth: int) -> tuple[list[str], list[str]]:
    """Texts of the bodies, names of the attachments."""
    bodies: list[str] = []
    attached: list[str] = []
    kind = message.get_content_type()
    name = message.get_filename()
    if kind == "message/rfc822" and depth < MAX_DEPTH:
        bodies += [message_text(part, depth + 1) for part in message.get_payload() if isinstance(part, EmailMessage)]
    elif message.get_content_disposition() == "attachment" or (name and not kind.startswith("text/")):
        attached.append(one_line(name or kind))
    elif message.is_multipart() and depth < MAX_DEPTH:
        children = [part for part in message.get_payload() if isinstance(part, EmailMessage)]
        results = [_parts(part, depth + 1) for part in children]
        if kind == "multipart/alternative":
            texts = [found for part, (found, _) in zip(children, results, strict=True) if _kind(part) == "text/plain"]
            rich = [found for found, _ in results if found]
            bodies += next((found for found in texts if any(item.strip() for item in found)), rich[-1] if rich else [])
        else:
            bodies += [text for found, _ in results for text in found]
        attached += [item for _, names in results for item in names]
    elif kind == "text/html":
        source = _decoded(message)
        bodies += [visible_text(parse_html(source), chrome=True)] if source.strip() else []
    elif kind.startswith("text/"):
        bodies.append(_decoded(message))
    return bodies, attached


def _kind(message: EmailMessage) -> str:
    return message.get_content_type()


def _decoded(message: EmailMessage) -> str:
    payload = message.get_payload(decode=True)
    return decode(payload, message.get_content_charset() or "") if isinstance(payload, bytes) else ""
