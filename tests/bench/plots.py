"""Bars with their spread as SVG, light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_LABEL, _WIDTH, _RIGHT, _ROW, _GAP = 220, 420, 90, 24, 34
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1f2328}.head{font-weight:600}.bar{fill:#8c959f}.ours{fill:#0969da}"
    ".span{stroke:#1f2328;stroke-width:1.5}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.bar{fill:#6e7681}.ours{fill:#4493f8}.span{stroke:#e6edf3}}"
)

Bar = tuple[str, float, float, float]
"""What it is, its value, the least and the most of the rounds."""


def bars(groups: Sequence[tuple[str, Sequence[Bar]]], ours: str, form: str = "{:,.0f}") -> str:
    """Groups of horizontal bars below one another, each group on a scale of its own; those that `ours` begins stand
    out."""
    parts, y = [], 8
    for head, rows in groups:
        parts.append(f'<text class="head" x="0" y="{y + 14}">{escape(head)}</text>')
        y += _ROW
        most = max(high for *_, high in rows) or 1.0
        for label, value, low, high in rows:
            x, left, right = (_LABEL + _WIDTH * each / most for each in (value, low, high))
            kind = "bar ours" if label.startswith(ours) else "bar"
            middle = y + _ROW / 2
            parts += [
                f'<text x="{_LABEL - 8}" y="{middle + 5}" text-anchor="end">{escape(label)}</text>',
                f'<rect class="{kind}" x="{_LABEL}" y="{y + 4}" width="{x - _LABEL:.1f}" height="{_ROW - 8}"/>',
                f'<line class="span" x1="{left:.1f}" x2="{right:.1f}" y1="{middle}" y2="{middle}"/>',
                f'<text x="{max(x, right) + 8:.1f}" y="{middle + 5}">{form.format(value)}</text>',
            ]
            y += _ROW
        y += _GAP - _ROW
    size = f'width="{_LABEL + _WIDTH + _RIGHT}" height="{y}"'
    view = f'viewBox="0 0 {_LABEL + _WIDTH + _RIGHT} {y}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {view}><style>{_STYLE}</style>{"".join(parts)}</svg>\n'
