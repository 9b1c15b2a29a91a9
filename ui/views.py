"""What the pages draw with: escaped HTML, the clickable panel, and the states every page shares.

Text that is not ours (documents, file names, answers, templates, questions) reaches the page through `el`, which
escapes it, or as an option or value of a widget that shows plain text. It never goes into a label, a tooltip or a
message of Streamlit's, which read Markdown.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import streamlit as st

from ragkit.errors import RagkitError

_HERE = Path(__file__).parent
_TAGS = frozenset(
    ["b", "blockquote", "button", "code", "details", "div", "em", "h3", "h4", "i", "li", "mark", "ol", "p", "pre"]
    + ["section", "small", "span", "strong", "summary", "table", "tbody", "td", "th", "thead", "tr", "ul"]
)
_VOID: Callable[[str], bool] = frozenset(("br", "hr")).__contains__
_SIZES = ("B", "kB", "MB", "GB")


class Html(str):
    """Markup made by `el`: its text has been escaped."""

    __slots__ = ()


def el(tag: str, *children: str | Html | None, **attributes: str | float | bool | None) -> Html:
    """An element. Children and attribute values are escaped unless a child is Html already.

    Attributes: a trailing underscore is dropped and other underscores become hyphens (`class_`, `data_event`); None and
    False leave the attribute out. Raises ValueError for a tag that is not on the list of harmless ones.
    """
    if tag not in _TAGS and not _VOID(tag):
        raise ValueError(f"The tag {tag!r} is not one that the pages may use.")
    given = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for name, value in attributes.items()
        if value is not None and value is not False
    )
    return Html(f"<{tag}{given}>" if _VOID(tag) else f"<{tag}{given}>{join(children)}</{tag}>")


def join(parts: Iterable[str | Html | None]) -> Html:
    """The parts one after another, those that are not Html escaped."""
    return Html("".join(part if isinstance(part, Html) else html.escape(part) for part in parts if part is not None))


def put(*parts: str | Html | None, class_: str = "") -> None:
    """Put escaped HTML on the page."""
    st.html(el("div", *parts, class_=f"rk {class_}".strip()))


_panel = st.components.v2.component(
    "ragkit.panel",
    html='<div class="rk rk-panel"></div>',
    js=_HERE.joinpath("panel.js").read_text("utf-8"),
    isolate_styles=False,
)


def panel(key: str, *parts: str | Html | None, on_event: Callable[[str, str], None] | None = None) -> None:
    """HTML whose elements with `data-event` (and `data-value`) call `on_event(event, value)` when clicked."""

    def clicked() -> None:
        sent = st.session_state.get(key)
        event = sent.get("event") if sent else None
        if event and on_event:
            on_event(str(event.get("name", "")), str(event.get("value", "")))

    _panel(key=key, data={"html": str(join(parts))}, on_event_change=clicked)


def button(label: str | Html, event: str, value: str = "", class_: str = "rk-link", **attributes: str | None) -> Html:
    """A button for a panel."""
    return el("button", label, type="button", data_event=event, data_value=value, class_=class_, **attributes)


def icon(name: str) -> Html:
    """A symbol of the icon font that Streamlit brings along; for decoration only."""
    return el("span", name, class_="rk-icon", aria_hidden="true")


def heading(title: str, sentence: str = "", note: str | Html = "") -> None:
    """A page's title, one sentence below it, and a note at the far side."""
    put(
        el("div", el("h3", title), el("p", sentence, class_="rk-muted") if sentence else None),
        el("div", note, class_="rk-heading-note") if note else None,
        class_="rk-heading",
    )


def notice(kind: str, title: str, *sentences: str | Html, symbol: str = "") -> None:
    """A boxed message. Kinds: info, good, warn, bad."""
    symbols = {"info": "info", "good": "check_circle", "warn": "warning", "bad": "error"}
    told = [part if isinstance(part, Html) else el("p", part) for part in sentences if part]
    body = el("div", el("strong", title), *told)
    put(
        el("div", icon(symbol or symbols[kind]), body, class_=f"rk-notice rk-{kind}",
           role="alert" if kind == "bad" else "status"),
    )  # fmt: skip


def problem(error: RagkitError) -> None:
    """An error that a person can mend: what happened, and what to do."""
    notice("bad", error.message, error.hint)


def empty(symbol: str, title: str, sentence: str | Html) -> None:
    """The state of a place that holds nothing yet."""
    put(el("div", icon(symbol), el("h4", title), el("p", sentence, class_="rk-muted"), class_="rk-empty"))


def bar(fraction: float | None, label: str) -> Html:
    """A progress bar; None shows that work goes on without saying how far it is."""
    share = None if fraction is None else f"{min(max(fraction, 0.0), 1.0) * 100:.1f}"
    inner = el("span", class_="rk-bar-fill" if share else "rk-bar-fill rk-bar-busy", style=share and f"width:{share}%")
    return el("div", inner, class_="rk-bar", role="progressbar", aria_label=label, aria_valuenow=share,
              aria_valuemin="0", aria_valuemax="100")  # fmt: skip


def number(value: int) -> str:
    """A count with thin spaces between thousands."""
    return f"{value:,}".replace(",", "\u202f")


def count(value: int, one: str, many: str = "") -> str:
    """`3 pages`, `1 page`."""
    return f"{number(value)} {one if value == 1 else many or one + 's'}"


def size(value: float) -> str:
    """Bytes for a person (units of 1,000)."""
    for unit in _SIZES:
        if value < 1000 or unit == _SIZES[-1]:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("unreachable")


def seconds(value: float) -> str:
    """A duration for a person."""
    if value < 0.095:
        return f"{value * 1000:.0f} ms"
    if value < 10:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def ago(moment: str, now: datetime | None = None) -> str:
    """How long ago a UTC time in ISO 8601 was, as a person would say it."""
    then = datetime.fromisoformat(moment)
    then = then if then.tzinfo else then.replace(tzinfo=UTC)
    passed = ((now or datetime.now(UTC)) - then).total_seconds()
    if passed < 60:
        return "just now"
    if passed < 3600:
        return f"{int(passed // 60)} min ago"
    if passed < 86400:
        return f"{int(passed // 3600)} h ago"
    return then.strftime("%-d %b %Y")
