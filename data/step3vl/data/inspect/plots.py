"""Plots as SVG inside a page: lines, and shares as stacked areas. They follow the colours of the page."""

import html
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

COLOURS = ("#3f7fd0", "#e0803a", "#3a9a6b", "#b8529a", "#c9a227", "#5fb3c4", "#8a63c9", "#a05a3c", "#8a9099")
"""Of the series in order; the last is that of all others."""

STYLE = (
    ".plot{display:block;width:100%;min-width:34rem;height:auto;font:12px system-ui,sans-serif}"
    ".plot text{fill:var(--muted)}.plot line{stroke:var(--line)}.plot rect{shape-rendering:crispEdges}"
    ".legend{display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;margin:.2rem 0 .6rem;font-size:.87rem;padding:0;"
    "list-style:none}.legend span{display:inline-block;width:.8rem;height:.8rem;border-radius:.15rem;"
    "margin-right:.4rem;vertical-align:-.08rem}.scroll{overflow-x:auto}"
)
_WIDTH, _HEIGHT = 760, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 72, 14, 12, 36
_TICKS = 4


class Series(NamedTuple):
    """A name, and a value at each place."""

    name: str
    values: Sequence[float]


def line_plot(
    title: str, places: Sequence[float], series: Sequence[Series], label: str, show: Callable[[float], str]
) -> str:
    """Lines over common places, from 0 up.

    Args:
        title: What is plotted, for readers who do not see it.
        places: Positions on the horizontal axis, ascending.
        series: The lines.
        label: Of the horizontal axis.
        show: A value of the vertical axis as text.
    """
    top = _nice(max((value for line in series for value in line.values), default=0.0))
    parts = [_frame(title, places, top, label, show)]
    for colour, line in zip(COLOURS, series, strict=False):
        points = [(_x(place, places), _y(value, top)) for place, value in zip(places, line.values, strict=True)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        if len(points) == 1:
            parts.append(f'<circle cx="{points[0][0]:.1f}" cy="{points[0][1]:.1f}" r="3" fill="{colour}"/>')
    return "".join([*parts, "</svg></div>", _legend([line.name for line in series])])


def share_plot(title: str, edges: Sequence[float], rows: Sequence[Mapping[str, float]], label: str) -> str:
    """Shares of intervals that follow each other, stacked to one.

    Args:
        title: What is plotted, for readers who do not see it.
        edges: Begin of each interval, and the end of the last.
        rows: Amounts by name in each interval. Of many names the smallest are added up.
        label: Of the horizontal axis.
    """
    totals: dict[str, float] = {}
    for row in rows:
        for name, amount in row.items():
            totals[name] = totals.get(name, 0.0) + amount
    ranked = sorted(totals, key=lambda name: (-totals[name], name))
    many = len(ranked) > len(COLOURS)
    names = ranked[: len(COLOURS) - 1] if many else ranked
    parts = [_frame(title, edges, 1.0, label, lambda value: f"{value:.0%}")]
    for row, start, stop in zip(rows, edges, edges[1:], strict=False):
        whole, base = sum(row.values()), 0.0
        shares = [row.get(name, 0.0) / whole for name in names] if whole else []
        others = [1 - sum(shares)] if many and whole else []
        for colour, share in zip(COLOURS, [*shares, *others], strict=False):
            left, right = round(_x(start, edges)), round(_x(stop, edges))
            upper, height = _y(base + share, 1.0), _y(base, 1.0) - _y(base + share, 1.0)
            base += share
            parts.append(
                f'<rect x="{left}" y="{upper:.1f}" width="{right - left}" height="{max(height, 0):.1f}" '
                f'fill="{colour}"/>'
            )
    return "".join(
        [*parts, "</svg></div>", _legend([*names, *([f"{len(ranked) - len(names)} others"] if many else [])])]
    )


def _frame(title: str, places: Sequence[float], top: float, label: str, show: Callable[[float], str]) -> str:
    """The beginning of a plot: grid, values of both axes and the label."""
    parts = [
        f'<div class="scroll"><svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{html.escape(title)}">'
        f"<title>{html.escape(title)}</title>"
    ]
    for tick in range(_TICKS + 1):
        value = top * tick / _TICKS
        y = _y(value, top)
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{html.escape(show(value))}</text>'
        )
    first, last = places[0], places[-1]
    for tick in range(_TICKS + 1 if last > first else 1):
        place = round(first + (last - first) * tick / _TICKS)
        parts.append(f'<text x="{_x(place, places):.1f}" y="{_HEIGHT - 20}" text-anchor="middle">{place:,}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle:.0f}" y="{_HEIGHT - 4}" text-anchor="middle">{html.escape(label)}</text>')
    return "".join(parts)


def _legend(names: Sequence[str]) -> str:
    items = (
        f'<li><span style="background:{colour}"></span>{html.escape(name)}</li>'
        for colour, name in zip(COLOURS, names, strict=False)
    )
    return f'<ul class="legend">{"".join(items)}</ul>'


def _x(place: float, places: Sequence[float]) -> float:
    span = places[-1] - places[0]
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * ((place - places[0]) / span if span else 0.5)


def _y(value: float, top: float) -> float:
    return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - value / top)


def _nice(value: float) -> float:
    """The next number above a value that is 1, 2, 4 or 8 times a power of ten; 1 for 0."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(float(factor * power) for factor in (1, 2, 4, 8, 10) if factor * power >= value * 0.9999)
