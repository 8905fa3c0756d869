"""A family of charts of tables, whichever tool renders them."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from step3vl.pipelines.render.charts.chart_style import ChartStyle
from step3vl.pipelines.sources.tables.tables import Table, TableKind

ChartT = TypeVar("ChartT")
ChartBuilder = Callable[[Table, ChartStyle, random.Random], ChartT]


@dataclass(frozen=True)
class ChartFamily(Generic[ChartT]):
    """A family of charts: `kind` and `series` say which tables it shows."""

    build: ChartBuilder[ChartT]
    kind: TableKind
    series: tuple[int, int]
