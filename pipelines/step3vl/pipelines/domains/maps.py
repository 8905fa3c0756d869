"""Grounding on real maps: point to a country, or give its box.

A country may have islands far away, and its border is no rectangle. The box asked for is that of its largest piece of
land; a point counts when it falls into that box, which forgives a miss across a ragged border.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from step3vl.data.geometry import Box
from step3vl.data.sample import Sample, Source
from step3vl.data.truth import BoxTruth, PointTruth, Truth, format_boxes, format_point
from step3vl.pipelines.compose import DomainEntry, Share, compose, encode_jpeg
from step3vl.pipelines.render.map import choose_view, draw_map
from step3vl.pipelines.sources.countries import load_countries
from step3vl.pipelines.sources.files import expand
from step3vl.pipelines.steps import BuildNumbered, Dropped, Record

Task = Literal["grounding.point", "grounding.box"]

_SMALLEST = 8  # pixels of a country's shorter side; less cannot be pointed at


class MapsEntry(DomainEntry):
    """Questions about countries on a map.

    tasks: relative weights. picture: width and height in pixels. zoom: share of the picture that the country takes.
    continents: only countries of these; all when empty.
    countries_file: JSON as `sources.countries.load_countries` reads it.
    """

    domain: Literal["maps"]
    count: int = Field(gt=0)
    tasks: dict[Task, float] = Field(default={"grounding.point": 1.0, "grounding.box": 1.0}, min_length=1)
    picture: tuple[int, int] = (448, 448)
    zoom: Share = (0.2, 0.7)
    continents: tuple[str, ...] = ()
    countries_file: str = "data/samples/maps/countries.json"
    licence: str = "public domain (Natural Earth)"

    def files(self) -> list[Path]:
        """What the entry reads. Raises UserError when the file is missing."""
        return expand([self.countries_file], self.name)


class DrawMaps:
    """Worker: a number becomes a map and a question about one country on it."""

    def __init__(self, entry: MapsEntry) -> None:
        self._entry = entry

    def setup(self) -> None:
        entry = self._entry
        self._countries = load_countries(Path(entry.countries_file))
        self._asked = [one for one in self._countries if not entry.continents or one.continent in entry.continents]

    def process(self, record: Record, rng: random.Random) -> Iterator[Sample]:
        entry = self._entry
        country = rng.choice(self._asked)
        west, south, east, north = country.bounds
        if east - west > 180:
            raise Dropped("spans_the_date_line")
        view = choose_view(country, entry.picture, entry.zoom, rng)
        box = Box.of_corners(view.point((west, north)), view.point((east, south)))
        if min(box.x2 - box.x1, box.y2 - box.y1) < _SMALLEST:
            raise Dropped("too_small")
        truth: Truth
        if rng.choices(list(entry.tasks), list(entry.tasks.values()))[0] == "grounding.point":
            task, question = "grounding.point", f"Point to {country.name} on the map."
            answer, truth = format_point(view.point(country.spot)), PointTruth(boxes=(box.milli(),))
        else:
            task, question = "grounding.box", f"Give the box of {country.name} on the map."
            answer, truth = format_boxes([box]), BoxTruth(boxes=(box.milli(),))
        yield compose(
            kind=entry.kind,
            domain="grounding",
            task=task,
            question=question,
            answer=answer,
            truth=truth,
            images=[encode_jpeg(draw_map(self._countries, view, rng))],
            source=Source(uri=record.key, licence=entry.licence, collected_by=f"step3vl/{entry.name}"),
        )


class GroundMaps(BuildNumbered):
    """Grounding samples of one entry, on maps."""

    def __init__(self, entry: MapsEntry, seed: int) -> None:
        super().__init__(entry.name, entry.count, DrawMaps(entry), seed)
