"""Grounding on real maps: point to a country, or give its box.

A country may have islands far away, and its border is no rectangle. The box asked for is that of its largest piece of
land; a point counts when it falls into that box, which forgives a miss across a ragged border.
"""

import random
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from PIL import Image as PILImage
from PIL import ImageDraw
from pydantic import Field

from step3vl.data.sample import (
    Box,
    BoxTruth,
    PointTruth,
    Sample,
    Source,
    parse_points,
)
from step3vl.grading import grade_answer
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import BeamStep, Domain, FractionRange, GeneratedEntry, Unchecked
from step3vl.pipelines.core.samples import compose, encode_jpeg, question_of
from step3vl.pipelines.core.steps import Dropped, Record
from step3vl.pipelines.grounding.masks import Mask, box_of_mask
from step3vl.pipelines.grounding.wording import box_draft, point_draft
from step3vl.pipelines.render.scenes.map import MapView, choose_view, render_map
from step3vl.pipelines.sources.countries import Country, Position, load_countries

Task = Literal["grounding.point", "grounding.box"]

_SAME = 0.85  # intersection over union of a box with that of the pixels
_EDGE = 2.0  # pixels by which sides may differ, for a polygon is filled with whole pixels
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

    def choose(self, rng: random.Random) -> tuple[Country, MapView]:
        """A country and a window that it is in. Raises Dropped for one that spans the date line."""
        country = rng.choice(self._asked)
        west, _, east, _ = country.bounds
        if east - west > 180:
            raise Dropped("spans_the_date_line")
        return country, choose_view(country, self._entry.image_size, self._entry.zoom, rng)

    def process(self, record: Record[int], rng: random.Random) -> Iterator[Sample]:
        entry = self._entry
        country, view = self.choose(rng)
        west, south, east, north = country.bounds
        box = Box.of_corners(view.point((west, north)), view.point((east, south)))
        if min(box.x2 - box.x1, box.y2 - box.y1) < _SMALLEST:
            raise Dropped("too_small")
        if rng.choices(list(entry.tasks), list(entry.tasks.values()))[0] == "grounding.point":
            draft = point_draft(country.name, view.point(country.spot), (box.milli(),))
            question = f"Point to {country.name} on the map."
        else:
            draft = box_draft(country.name, box)
            question = f"Give the box of {country.name} on the map."
        yield compose(
            kind=entry.kind,
            domain="grounding",
            task=f"grounding.{draft.kind}",
            question=question,
            answer=draft.answers["json"],
            truth=draft.truth,
            images=[encode_jpeg(render_map(self._countries, view, rng))],
            source=Source(uri=record.key, licence=entry.licence, collected_by=f"step3vl/{entry.name}"),
        )


class CheckMaps:
    """The label check: the country is filled in on an empty map, and box and point are compared with its pixels.

    Args:
        entry: Whose samples are checked.
        context: Of the build.
    """

    def __init__(self, entry: MapsEntry, context: StepContext) -> None:
        self._step, self._context = f"{entry.name}.build", context
        self._maps = RenderMaps(entry, context)
        self._maps.setup()

    def __call__(self, sample: Sample) -> str | None:
        """None for a right label, or what is wrong with it. Raises Unchecked for a map that is not the sample's."""
        if sample.messages is None or sample.truth is None:
            raise Unchecked("document")
        key = sample.source.uri
        country, view = self._maps.choose(self._rng(key))
        (again,) = self._maps.process(Record(key, 0), self._rng(key))
        if again.images[0].sha256 != sample.images[0].sha256:
            raise Unchecked("another_image")  # its sources have changed
        if grade_answer(sample.truth, sample.answer()).verdict != "correct":
            return "answer_fails_its_truth"
        question = question_of(sample)
        if country.name not in question:
            return "another_country"
        pieces = [_filled(ring, view) for ring in country.rings]
        largest = max(pieces, key=lambda piece: int(piece.sum()))
        box = box_of_mask(largest, view.size)
        if box is None:
            return "not_on_the_map"
        assert isinstance(sample.truth, (BoxTruth, PointTruth))
        label = Box(*sample.truth.boxes[0], "milli", view.size).to("pixels")
        off = max(abs(label.x1 - box.x1), abs(label.y1 - box.y1), abs(label.x2 - box.x2), abs(label.y2 - box.y2))
        if off > _EDGE and label.iou(box) < _SAME:
            return "another_box"
        if isinstance(sample.truth, BoxTruth):
            return None
        (point,) = parse_points(sample.answer())
        x, y = (round(value * side / 1000) for value, side in zip(point.milli(), view.size, strict=True))
        around = largest[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
        return None if around.any() else "point_elsewhere"

    def _rng(self, key: str) -> random.Random:
        return self._context.rng(self._step, key)


def _filled(ring: Sequence[Position], view: MapView) -> Mask:
    image = PILImage.new("1", view.size)
    ImageDraw.Draw(image).polygon([view.pixels(position) for position in ring], fill=1)
    return np.asarray(image)


DOMAIN = Domain(
    MapsEntry,
    steps=(BeamStep("build", version=1, worker=RenderMaps, output=Sample),),
    example={"count": 20, "image_size": [224, 224], "continents": ["Europe", "Africa"]},
    label_check=CheckMaps,
)
