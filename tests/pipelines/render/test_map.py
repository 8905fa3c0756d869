from pathlib import Path

from step3vl.pipelines.core.steps import rng_for
from step3vl.pipelines.render.scenes.map import choose_view, render_map
from step3vl.pipelines.sources.countries import load_countries


def test_the_view_contains_the_whole_country() -> None:
    countries = load_countries(Path("data/step3vl/data/assets/maps/countries.json"))
    for number, country in enumerate(countries[:40]):
        west, south, east, north = country.bounds
        if east - west > 180:
            continue
        view = choose_view(country, (200, 150), (0.3, 0.6), rng_for(number))
        x1, y1 = view.pixels((west, north))
        x2, y2 = view.pixels((east, south))
        assert -1e-6 <= x1 < x2 <= 200 + 1e-6 and y1 < y2 <= 150 + 1e-6
        assert x2 - x1 < 0.61 * 200 or y2 - y1 < 0.61 * 150
    assert render_map(countries, view, rng_for(0)).size == (200, 150)
