from pathlib import Path

import pytest

from step3vl.data.errors import UserError
from step3vl.pipelines.sources.countries import load_countries, ring_area, spot_inside


def inside(point: tuple[float, float], ring: list[tuple[float, float]]) -> bool:
    """Even-odd rule."""
    x, y = point
    crossings = 0
    for (x1, y1), (x2, y2) in zip(ring, [*ring[1:], ring[0]], strict=True):
        if (y1 <= y) != (y2 <= y) and x < x1 + (y - y1) / (y2 - y1) * (x2 - x1):
            crossings += 1
    return crossings % 2 == 1


def test_the_spot_of_every_country_is_on_its_land() -> None:
    countries = load_countries(Path("data/step3vl/data/assets/maps/countries.json"))
    assert len(countries) > 150
    for country in countries:
        assert inside(country.spot, list(country.rings[0])), country.name


def test_a_spot_lies_inside_a_crescent() -> None:
    crescent = [(0, 0), (10, 0), (10, 10), (0, 10), (0, 9), (9, 9), (9, 1), (0, 1)]
    assert inside(spot_inside(crescent), crescent)


def test_the_area_of_a_ring_does_not_depend_on_its_direction() -> None:
    ring = [(0, 0), (4, 0), (4, 3)]
    assert ring_area(ring) == ring_area(ring[::-1]) == 6


def test_a_file_that_holds_no_countries_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "countries.json"
    path.write_text('[{"name": "Nowhere"}]')
    with pytest.raises(UserError, match="not a list of countries"):
        load_countries(path)
