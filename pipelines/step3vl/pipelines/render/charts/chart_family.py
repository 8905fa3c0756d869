"""Families of charts of tables and of points, whichever tool renders them."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from step3vl.pipelines.render.charts.chart_style import ChartStyle
from step3vl.pipelines.sources.tables.tables import Points, Table, TableKind

ChartT = TypeVar("ChartT")
ChartBuilder = Callable[[Table, ChartStyle, random.Random], ChartT]


@dataclass(frozen=True)
class ChartFamily(Generic[ChartT]):
    """A family of charts: `kind` and `series` say which tables it shows."""

    build: ChartBuilder[ChartT]
    kind: TableKind
    series: tuple[int, int]


@dataclass(frozen=True)
class PointsFamily(Generic[ChartT]):
    """A family of charts of points: in how many groups, and how many there are."""

    build: Callable[[Points, ChartStyle, random.Random], ChartT]
    groups: tuple[int, int]
    number: tuple[int, int]
