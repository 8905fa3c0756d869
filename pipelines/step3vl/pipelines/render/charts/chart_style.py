"""One style space for all chart tools: fonts, colours, sizes, grids, legends."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from step3vl.pipelines.render.colours import contrast
from step3vl.pipelines.render.fonts import FontFamily

Grid = Literal["none", "values", "both"]
LegendPlace = Literal["right", "top", "bottom"]

# Categorical palettes; any two colours of one are told apart (`colour_distance` of 60 and more).
PALETTES: tuple[tuple[str, ...], ...] = (
    ("#4c78a8", "#f58518", "#e45756", "#72b7b2", "#54a24b", "#eeca3b", "#b279a2", "#ff9da6", "#9d755d", "#bab0ac"),
    ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf"),
    ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#999999", "#332288", "#882255"),
    ("#66c2a5", "#fc8d62", "#8da0cb", "#e78ac3", "#a6d854", "#ffd92f", "#e5c494", "#b3b3b3", "#5e4fa2", "#3288bd"),
    ("#1b9e77", "#d95f02", "#7570b3", "#e7298a", "#66a61e", "#e6ab02", "#a6761d", "#666666", "#8dd3c7", "#bebada"),
    ("#264653", "#2a9d8f", "#e9c46a", "#f4a261", "#e76f51", "#8ab17d", "#6d597a", "#b56576", "#3a86ff", "#eaac8b"),
    ("#003f5c", "#ffa600", "#bc5090", "#58508d", "#ff6361", "#2f4b7c", "#00a6a6", "#7cb518", "#8c8c8c", "#ff7c43"),
    ("#5f0f40", "#fb8b24", "#0f4c5c", "#e36414", "#9a031e", "#588157", "#3a86ff", "#8338ec", "#ffbe0b", "#ff006e"),
    ("#7fc97f", "#beaed4", "#fdc086", "#386cb0", "#f0027f", "#bf5b17", "#666666", "#1b9e77", "#17becf", "#7570b3"),
    ("#88ccee", "#cc6677", "#ddcc77", "#117733", "#332288", "#aa4499", "#44aa99", "#999933", "#882255", "#661100"),
)
# Sequential scales, light to dark.
RAMPS: tuple[tuple[str, ...], ...] = (
    ("#f7fbff", "#6baed6", "#08306b"),
    ("#fff5eb", "#fd8d3c", "#7f2704"),
    ("#f7fcf5", "#74c476", "#00441b"),
    ("#fcfbfd", "#9e9ac8", "#3f007d"),
    ("#ffffcc", "#41b6c4", "#0c2c84"),
    ("#ffffe5", "#fe9929", "#662506"),
)
_LIGHT = (("#ffffff", "#222222", "#999999", "#dddddd"), ("#fbfaf5", "#333333", "#8a8578", "#e2ddd0"),
          ("#f5f7fa", "#1f2d3d", "#7b8794", "#d5dbe3"), ("#fffdf0", "#3b2f1e", "#a08c6a", "#eadfc4"),
          ("#ffffff", "#000000", "#000000", "#cccccc"), ("#eaeaf2", "#262626", "#777777", "#ffffff"))  # fmt: skip
_DARK = (("#1e1e24", "#f2f2f2", "#a0a0a8", "#3c3c46"), ("#0f1b2d", "#e6edf3", "#8b9cb0", "#26374f"))


@dataclass(frozen=True)
class ChartStyle:
    """How a chart looks.

    Attributes:
        font: Of all text.
        palette: Colours of series or of all marks.
        ramp: Colours of values, light to dark.
        background: Of the image.
        ink: Of text.
        axis: Of axes and ticks.
        grid_colour: Of grid lines.
        grid: Which axes have grid lines.
        dashed: Whether grid lines are dashed.
        width: Of the plot in pixels, before `scale`.
        height: Of the plot in pixels, before `scale`.
        title_size: Pixels.
        label_size: Pixels, of axes, legends and values.
        title_anchor: Where the title stands.
        legend: Where the legend stands.
        line_width: Pixels.
        gap: Between bars, as a fraction.
        corner: Radius of the corners of bars in pixels.
        frame: Whether the plot has a border.
        scale: Pixels of the image for each pixel of the plot.
    """

    font: FontFamily
    palette: tuple[str, ...]
    ramp: tuple[str, ...]
    background: str
    ink: str
    axis: str
    grid_colour: str
    grid: Grid
    dashed: bool
    width: int
    height: int
    title_size: int
    label_size: int
    title_anchor: Literal["start", "middle", "end"]
    legend: LegendPlace
    line_width: float
    gap: float
    corner: int
    frame: bool
    scale: float


def pick_style(
    fonts: Sequence[FontFamily], width: tuple[int, int], height: tuple[int, int], rng: random.Random
) -> ChartStyle:
    """A random style.

    Args:
        fonts: Families that have all characters of the chart.
        width: Least and greatest width of the plot.
        height: Least and greatest height of the plot.
        rng: Random numbers.
    """
    background, ink, axis, grid = rng.choice(_DARK if rng.random() < 0.12 else _LIGHT)
    palette = list(rng.choice(PALETTES))
    shift = rng.randrange(4)
    palette = [colour for colour in palette[shift:] + palette[:shift] if contrast(colour, background) > 1.25]
    label_size = rng.randint(10, 14)
    return ChartStyle(
        font=rng.choice(fonts),
        palette=tuple(palette),
        ramp=rng.choice(RAMPS),
        background=background,
        ink=ink,
        axis=axis,
        grid_colour=grid,
        grid=rng.choice(("none", "values", "values", "both")),
        dashed=rng.random() < 0.3,
        width=rng.randrange(width[0], width[1] + 1, 10),
        height=rng.randrange(height[0], height[1] + 1, 10),
        title_size=label_size + rng.randint(2, 6),
        label_size=label_size,
        title_anchor=rng.choice(("start", "middle", "middle", "end")),
        legend=rng.choice(("right", "right", "top", "bottom")),
        line_width=rng.choice((1.5, 2, 2.5, 3)),
        gap=rng.choice((0.1, 0.2, 0.3, 0.4)),
        corner=rng.choice((0, 0, 0, 3)),
        frame=rng.random() < 0.3,
        scale=rng.choice((1.0, 1.25, 1.5)),
    )
