"""Plots of a report as inline SVG: no script, nothing from outside, colours from the page's style."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

_LABEL = 190
_WIDTH = 520
_RIGHT = 110
_ROW = 26
_CHARACTERS = 28
"""Longest label; the whole text is in its tooltip."""


def intervals(rows: Sequence[tuple[str, float, float | None, float | None]], title: str, unit: bool = True) -> str:
    """A dot with its 95 % interval for each (label, mean, low, high).

    Args:
        rows: from top to bottom; without low and high only the dot is drawn.
        title: what is shown, for those who cannot see it.
        unit: whether values lie between 0 and 1 and are shown as points of 100.
    """
    ends = [value for _, *values in rows for value in values if value is not None]
    low, high = (max(0.0, min(ends)), min(1.0, max(ends))) if unit else (min(0.0, *ends), max(ends))
    ticks = _ticks(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])
    scale = (_WIDTH / (high - low)) if high > low else 0.0

    def x(value: float) -> float:
        return round(_LABEL + (min(max(value, low), high) - low) * scale, 1)

    def shown(value: float) -> str:
        return f"{value * 100:.1f}" if unit else f"{value:.3g}"

    bottom = len(rows) * _ROW + 8
    parts = []
    for tick in ticks:
        label = f"{tick * 100:g}" if unit else f"{tick:g}"
        parts.append(f'<line class="grid" x1="{x(tick)}" x2="{x(tick)}" y1="4" y2="{bottom}"/>')
        parts.append(f'<text class="tick" x="{x(tick)}" y="{bottom + 16}" text-anchor="middle">{label}</text>')
    for number, (label, mean, lower, upper) in enumerate(rows):
        y = number * _ROW + 20
        parts.append(_name(label, y))
        told = shown(mean)
        if lower is not None and upper is not None:
            told += f" ({shown(lower)} to {shown(upper)})"
            parts.append(f'<line class="bar" x1="{x(lower)}" x2="{x(upper)}" y1="{y}" y2="{y}"/>')
            parts += [f'<line class="bar" x1="{x(e)}" x2="{x(e)}" y1="{y - 5}" y2="{y + 5}"/>' for e in (lower, upper)]
        parts.append(f'<circle class="dot" cx="{x(mean)}" cy="{y}" r="5"><title>{escape(told)}</title></circle>')
        parts.append(f'<text class="value" x="{_LABEL + _WIDTH + 10}" y="{y + 4}">{shown(mean)}</text>')
    return _svg(parts, bottom + 24, title)


def shares(rows: Sequence[tuple[str, Mapping[str, int]]], classes: Sequence[str], title: str) -> str:
    """One bar of 100 % for each (label, counts by class); the n-th class has the style `c<n>`."""
    parts = []
    for number, (label, counts) in enumerate(rows):
        y = number * _ROW + 6
        total = sum(counts.values())
        parts.append(_name(label, y + 12))
        place = float(_LABEL)
        for position, name in enumerate(classes):
            count = counts.get(name, 0)
            if not count:
                continue
            width = _WIDTH * count / total
            told = escape(f"{name}: {count} of {total}")
            parts.append(
                f'<rect class="c{position}" x="{place:.1f}" y="{y}" width="{width:.1f}" height="{_ROW - 8}">'
                f"<title>{told}</title></rect>"
            )
            if width > 26:
                parts.append(f'<text class="count" x="{place + width / 2:.1f}" y="{y + 13}">{count}</text>')
            place += width
    return _svg(parts, len(rows) * _ROW + 6, title)


def _name(label: str, y: float) -> str:
    short = label if len(label) <= _CHARACTERS else label[: _CHARACTERS - 1] + "…"
    text = f'<text class="name" x="{_LABEL - 12}" y="{y + 4}" text-anchor="end">{escape(short)}'
    return f"{text}<title>{escape(label)}</title></text>"


def _svg(parts: Sequence[str], height: float, title: str) -> str:
    width = _LABEL + _WIDTH + _RIGHT
    head = f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">'
    return head + f"<title>{escape(title)}</title>" + "".join(parts) + "</svg>"


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers that enclose the values."""
    span = high - low or abs(high) or 1.0
    span = span if span > 1e-300 else 1.0  # a quarter of less would be no number any more
    step = 10 ** math.floor(math.log10(span / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 6)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]
