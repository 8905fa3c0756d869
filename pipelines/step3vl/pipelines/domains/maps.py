"""Grounding on real maps: point to a country, or give its box.

A country may have islands far away, and its border is no rectangle. The box asked for is that of its largest piece of
land; a point counts when it falls into that box, which forgives a miss across a ragged border.
"""

import random
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from step3vl.data.sample import Box, BoxTruth, PointTruth, Sample, Source, Truth, format_boxes, format_point
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import BeamStep, Domain, FractionRange, GeneratedEntry
from step3vl.pipelines.core.samples import compose, encode_jpeg
from step3vl.pipelines.core.steps import Dropped, Record
from step3vl.pipelines.render.scenes.map import choose_view, render_map
from step3vl.pipelines.sources.countries import load_countries

Task = Literal["grounding.point", "grounding.box"]

_SMALLEST = 8  # pixels of a country's shorter side; less cannot be pointed at


class MapsEntry(GeneratedEntry):
    """Questions about countries on a map."""

    domain: Literal["maps"]
    tasks: dict[Task, float] = Field(default={"grounding.point": 1.0, "grounding.box": 1.0}, min_length=1)
    """Relative weights of the tasks."""
    image_size: tuple[int, int] = (448, 448)
    """Width and height in pixels."""
    zoom: FractionRange = (0.2, 0.7)
    """The share of the image that the country takes."""
    continents: tuple[str, ...] = ()
    """Ask only about countries of these continents; about all when empty."""
    countries_file: str = "assets:maps/countries.json"
    """JSON as `sources.countries.load_countries` reads it."""
    licence: str = "public domain (Natural Earth)"
    """Of the samples."""

    def assets(self) -> tuple[str, ...]:
        return (self.countries_file,)


class RenderMaps:
    """Worker: a number becomes a map and a question about a country on it."""

    def __init__(self, entry: MapsEntry, context: StepContext) -> None:
        self._entry = entry
        self._context = context

    def setup(self) -> None:
        entry = self._entry
        self._countries = load_countries(self._context.assets(entry.assets())[0])
        self._asked = [
            country for country in self._countries if not entry.continents or country.continent in entry.continents
        ]

    def process(self, record: Record[int], rng: random.Random) -> Iterator[Sample]:
        entry = self._entry
        country = rng.choice(self._asked)
        west, south, east, north = country.bounds
        if east - west > 180:
            raise Dropped("spans_the_date_line")
        view = choose_view(country, entry.image_size, entry.zoom, rng)
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
            images=[encode_jpeg(render_map(self._countries, view, rng))],
            source=Source(uri=record.key, licence=entry.licence, collected_by=f"step3vl/{entry.name}"),
        )


DOMAIN = Domain(
    MapsEntry,
    steps=(BeamStep("build", version=1, worker=RenderMaps, output=Sample),),
    example={"count": 20, "image_size": [224, 224], "continents": ["Europe", "Africa"]},
)
