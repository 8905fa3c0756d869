"""What graphs of functions share: putting them into a plane, and reading them back."""

import itertools
from collections.abc import Callable, Sequence

import sympy

from step3vl.pipelines.render.exercises.axes import Plane, render_plane
from step3vl.pipelines.render.exercises.exercise import Draft
from step3vl.pipelines.render.exercises.sketch import XY

X = sympy.Symbol("x")
_ROUNDING = 1e-3  # of the coordinates of a path, in units of the plane


PLANE = Plane((-5, 5), (-5, 6))


def some_name(d: Draft) -> str:
    return d.rng.choice(("f", "f", "g", "h"))


def render_curve(
    d: Draft, function: Callable[[float], float], plane: Plane, name: str = "curve", colour: int | None = None
) -> None:
    """The part of a graph that lies inside of a plane, as one stroke."""
    (x1, x2), (y1, y2) = plane.x, plane.y
    points: list[XY] = []
    for i in range(401):
        x = x1 + (x2 - x1) * i / 400
        y = function(x)
        if y1 <= y <= y2:
            points.append((x, y))
        elif points:
            break
    d.sketch.line(name, points, "curve", colour=colour)


def show_plane(d: Draft, plane: Plane) -> None:
    d.sketch.equal = plane.x[1] - plane.x[0] < 14
    render_plane(d.sketch, plane)


def value_at(points: Sequence[XY], x: float) -> float:
    """A graph's value at x, between its shown points, or beyond the last one by no more than their rounding."""
    low, high = min(point[0] for point in points), max(point[0] for point in points)
    if low - _ROUNDING <= x <= high + _ROUNDING:
        x = min(max(x, low), high)
    for (x1, y1), (x2, y2) in itertools.pairwise(points):
        if min(x1, x2) - 1e-6 <= x <= max(x1, x2) + 1e-6 and abs(x2 - x1) > 1e-9:
            return y1 + (y2 - y1) * (x - x1) / (x2 - x1)
    raise ValueError(f"the graph has no value at {x}")


def roots(points: Sequence[XY]) -> list[float]:
    """Where a shown graph crosses the x axis."""
    zeros: list[float] = []
    for (x1, y1), (x2, y2) in itertools.pairwise(points):
        if (y1 <= 0 < y2) or (y2 <= 0 < y1):
            zeros.append(x1 - y1 * (x2 - x1) / (y2 - y1))
    return zeros


def smooth(knots: Sequence[tuple[int, int]]) -> list[XY]:
    """A curve through points that has its extrema at them: cubic pieces with the slopes of Fritsch and Carlson."""
    count = len(knots)
    rises = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in itertools.pairwise(knots)]
    slopes = [rises[0]]
    for i in range(1, count - 1):
        a, b = rises[i - 1], rises[i]
        slopes.append(0.0 if a * b <= 0 else 2 * a * b / (a + b))
    slopes.append(rises[-1])
    points = []
    for i in range(count - 1):
        (x1, y1), (x2, y2) = knots[i], knots[i + 1]
        width = x2 - x1
        for j in range(25):
            t = j / 24
            if i and j == 0:
                continue
            h = (2 * t**3 - 3 * t**2 + 1, t**3 - 2 * t**2 + t, -2 * t**3 + 3 * t**2, t**3 - t**2)
            points.append(
                (x1 + width * t, h[0] * y1 + h[1] * width * slopes[i] + h[2] * y2 + h[3] * width * slopes[i + 1])
            )
    return points
