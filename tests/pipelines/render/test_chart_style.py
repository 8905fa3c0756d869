from itertools import combinations

from step3vl.pipelines.render.charts.chart_style import PALETTES
from step3vl.pipelines.render.colours import colour_distance


def test_colours_of_a_palette_are_told_apart() -> None:
    assert colour_distance("#000000", "#ffffff") > 700
    assert min(colour_distance(*pair) for palette in PALETTES for pair in combinations(palette, 2)) >= 60
