"""Charts: dots with their intervals, and bars of shares. Names are data to them, never markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import altair as alt

_ACCENT = "#17897f"
_SERIES = ("#17897f", "#c98a1b", "#7d6bc4", "#5b7fb8")
"""One colour a series; each reaches a contrast of 3 to 1 on the light and on the dark ground."""
_ROW = 38
"""Pixels of a row."""
_AXIS, _LEGEND = 62, 40
"""Pixels below and above the rows: Streamlit fits the whole chart into its height."""


@dataclass(frozen=True, slots=True)
class Point:
    """A value with its interval."""

    name: str
    value: float
    low: float | None
    high: float | None
    series: str = ""
    told: str = ""
    """What the tooltip says about it."""


def intervals(points: Sequence[Point], axis: str, middle: float | None = None) -> alt.LayerChart:
    """A dot with its interval for each point: a row a name, side by side in it the series.

    Args:
        points: from top to bottom.
        axis: title of the axis.
        middle: where a reference line stands.
    """
    rows = [
        {"name": point.name, "value": point.value, "low": point.value if point.low is None else point.low,
         "high": point.value if point.high is None else point.high, "series": point.series, "told": point.told}
        for point in points
    ]  # fmt: skip
    names = list(dict.fromkeys(point.name for point in points))
    series = list(dict.fromkeys(point.series for point in points))
    place = alt.Y("name:N", sort=names, title=None, axis=alt.Axis(labelLimit=200, ticks=False, domain=False))
    base = alt.Chart(alt.Data(values=rows)).encode(y=place)
    if len(series) > 1:
        colours = alt.Scale(domain=series, range=list(_SERIES[: len(series)]))
        legend = alt.Legend(orient="top", title=None)
        base = base.encode(yOffset=alt.YOffset("series:N", sort=series),
                           color=alt.Color("series:N", scale=colours, legend=legend))  # fmt: skip
    scale = alt.Scale(zero=False, nice=True)
    ticks = alt.Axis(tickCount=7)
    tooltip = [alt.Tooltip("name:N", title="Variant"), alt.Tooltip("told:N", title=axis)]
    fixed = {} if len(series) > 1 else {"color": _ACCENT}
    bars = base.mark_rule(strokeWidth=2.5, strokeCap="round", **fixed).encode(
        x=alt.X("low:Q", title=axis, scale=scale, axis=ticks), x2="high:Q", tooltip=tooltip
    )
    ends = [base.mark_tick(thickness=2.5, size=11, **fixed).encode(x=alt.X(f"{end}:Q")) for end in ("low", "high")]
    dots = base.mark_circle(size=110, opacity=1, **fixed).encode(x="value:Q", tooltip=tooltip)
    layers = [bars, *ends, dots]
    if middle is not None:
        line = alt.Chart(alt.Data(values=[{"at": middle}])).mark_rule(strokeDash=[4, 4], color="#8a9794")
        layers.insert(0, line.encode(x="at:Q"))
    height = _ROW * len(names) if len(series) < 2 else (18 * len(series) + 12) * len(names) + _LEGEND
    return alt.layer(*layers).properties(height=height + _AXIS)


def shares(counts: Sequence[tuple[str, Mapping[str, int]]], classes: Mapping[str, str]) -> alt.Chart:
    """A bar of 100 % for each (name, counts by class); `classes` gives the colours in their order."""
    order = list(classes)
    rows = [
        {"name": name, "class": each, "count": found[each], "place": order.index(each),
         "told": f"{found[each]} of {sum(found.values())}"}
        for name, found in counts for each in order if found.get(each)
    ]  # fmt: skip
    there = [each for each in order if any(row["class"] == each for row in rows)]
    colours = alt.Scale(domain=there, range=[classes[each] for each in there])
    names = [name for name, _ in counts]
    return (
        alt.Chart(alt.Data(values=rows))
        .mark_bar(size=20)
        .encode(
            x=alt.X("count:Q", stack="normalize", title=None, axis=alt.Axis(format=".0%", tickCount=5)),
            y=alt.Y("name:N", sort=names, title=None, axis=alt.Axis(labelLimit=200, ticks=False, domain=False)),
            color=alt.Color("class:N", scale=colours, legend=None),
            order=alt.Order("place:Q"),
            tooltip=[alt.Tooltip("name:N", title="Variant"), alt.Tooltip("class:N", title="Class"),
                     alt.Tooltip("told:N", title="Questions")],
        )
        .properties(height=36 * len(names) + _AXIS // 2)
    )  # fmt: skip


CURVE_MOST = 400
"""Points of a curve that are drawn; of more, every so many."""


def curves(series: Mapping[str, Sequence[tuple[float, float]]], across: str, up: str) -> alt.LayerChart:
    """A line for each series of (x, y); the second with dots, since it has few points.

    Args:
        series: by name, in the order of the legend.
        across, up: titles of the axes.
    """
    there = {name: _thinned(points) for name, points in series.items() if points}
    rows = [{"series": name, "x": x, "y": y} for name, points in there.items() for x, y in points]
    names = list(there)
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("x:Q", title=across, axis=alt.Axis(tickCount=6, tickMinStep=1, format=",d")),
        y=alt.Y("y:Q", title=up, scale=alt.Scale(zero=False, nice=True), axis=alt.Axis(tickCount=6)),
        color=alt.Color("series:N", scale=alt.Scale(domain=names, range=list(_SERIES[: len(names)])),
                        legend=alt.Legend(orient="top", title=None)),
        tooltip=[alt.Tooltip("series:N", title="Of"), alt.Tooltip("x:Q", title=across, format=",d"),
                 alt.Tooltip("y:Q", title=up, format=".3f")],
    )  # fmt: skip
    lines = base.mark_line(strokeWidth=2)
    dots = base.transform_filter(alt.FieldOneOfPredicate("series", names[1:])).mark_circle(size=60, opacity=1)
    return alt.layer(lines, dots).properties(height=260 + _LEGEND)


def _thinned(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    step = -(-len(points) // CURVE_MOST)
    return [*points[:-1:step], points[-1]]
