"""Outlines of countries, and a point inside each to point to."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from step3vl.data.errors import UserError

Position = tuple[float, float]  # longitude, latitude in degrees
Ring = Sequence[Position]


class Country(NamedTuple):
    """`rings` are outer borders, the largest by area first; `spot` lies inside the first."""

    name: str
    continent: str
    rings: tuple[Ring, ...]
    spot: Position

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north of the largest ring."""
        longitudes, latitudes = zip(*self.rings[0], strict=True)
        return min(longitudes), min(latitudes), max(longitudes), max(latitudes)


def ring_area(ring: Ring) -> float:
    """Area in square degrees by the shoelace formula."""
    pairs = zip(ring, [*ring[1:], ring[0]], strict=True)
    return abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairs)) / 2


def spot_inside(ring: Ring) -> Position:
    """The middle of the longest segment of land along one of a few parallels: always inside, even in a crescent."""
    latitudes = [latitude for _, latitude in ring]
    low, high = min(latitudes), max(latitudes)
    best = (-1.0, ring[0])
    for step in range(1, 8):
        # An odd fraction of the height, so that the line hardly ever runs through a corner.
        latitude = low + (high - low) * (step + 0.0137) / 8
        crossings = []
        for (x1, y1), (x2, y2) in zip(ring, [*ring[1:], ring[0]], strict=True):
            if (y1 <= latitude) != (y2 <= latitude):
                crossings.append(x1 + (latitude - y1) / (y2 - y1) * (x2 - x1))
        crossings.sort()
        for west, east in zip(crossings[::2], crossings[1::2], strict=True):
            # Segments near the middle of the height count more: a spot at the tip of a country looks wrong.
            weight = (east - west) * (1 - abs(step - 4) / 8)
            if weight > best[0]:
                best = (weight, ((west + east) / 2, latitude))
    return best[1]


def load_countries(path: Path) -> tuple[Country, ...]:
    """Read a JSON list of `{"name", "continent", "rings": [[[longitude, latitude], …], …]}`.

    Raises UserError when the file is something else.
    """
    try:
        rows = json.loads(path.read_text("utf-8"))
        countries = []
        for row in rows:
            rings = sorted(([(x, y) for x, y in ring] for ring in row["rings"]), key=ring_area, reverse=True)
            countries.append(Country(row["name"], row["continent"], tuple(rings), spot_inside(rings[0])))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise UserError(f"{path} is not a list of countries ({error!r}); each has name, continent and rings") from None
    return tuple(countries)
