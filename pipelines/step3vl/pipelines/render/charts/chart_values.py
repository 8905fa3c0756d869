"""Values that can be read off an axis: the step that some pixels tell apart, and what an axis spans."""

import math

from step3vl.pipelines.sources.tables.tables import Points, Table


def readable_step(span: float, pixels: float, decimals: int, least: float = 3.0) -> float:
    """The smallest of 1, 2, 5, 10, ... times a power of ten that takes some pixels on an axis.

    Args:
        span: Of the axis.
        pixels: Length of the axis.
        decimals: The step is no finer than this many places.
        least: Pixels that a step takes.
    """
    raw = max(span / pixels * least, 10.0**-decimals)
    power = 10.0 ** math.floor(math.log10(raw) + 1e-9)
    return next(round(power * m, 10) for m in (1, 2, 5, 10) if power * m >= raw * (1 - 1e-9))


def value_span(table: Table, stacked: bool = False, zero: bool = True) -> float:
    """How far the values of a table reach.

    Args:
        table: The values.
        stacked: Whether those of a row are stacked.
        zero: Whether the axis has to show zero, too.
    """
    tops = [sum(row) if stacked else max(row) for row in table.values]
    bottoms = [0.0 if stacked else min(row) for row in table.values]
    return max(0.0, *tops) - min(0.0, *bottoms) if zero else max(tops) - min(bottoms)


def coordinates(points: Points) -> tuple[list[float], list[float]]:
    """The first and the second quantity of all points."""
    return [row[0] for row in points.rows], [row[1] for row in points.rows]


def columns_of(table: Table) -> list[tuple[float, ...]]:
    """The values of each series."""
    return list(zip(*table.values, strict=True))
