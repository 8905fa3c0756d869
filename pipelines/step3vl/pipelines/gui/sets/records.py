"""What a set says, with the convention of its coordinates, before an image is opened."""

import math
from typing import Any, Literal

from pydantic import Field, model_validator

from step3vl.data.config import Config
from step3vl.data.sample import Box, Image, Point, Size
from step3vl.data.sample.action import ActionType, Direction
from step3vl.pipelines.grounding.conventions import (
    BoxFormat,
    GeometryError,
    Unit,
    box_of_polygons,
    check_size,
    inside,
    point_in_pixels,
    polygon_in_pixels,
)

PlaceOrder = Literal["xyxy", "xywh", "cxcywh", "xxyy", "yxyx", "yxhw", "xy", "yx", "polygon"]
"""The order of a box, of a point (`xy`, or `yx` as in AITW), or x and y of each corner of a polygon."""
Phrase = Literal["instruction", "name", "function"]
"""How a target is told: by what is to be done, by its name, or by what it is for."""
_ROUNDING = 1e-6  # pixels by which the conversion of a point at the edge may carry it out of the image


class Place(Config):
    """Where something is: numbers, and what they mean."""

    values: tuple[float, ...]
    order: PlaceOrder
    unit: Unit
    size: tuple[int, int] | None = None
    """Width and height that the numbers refer to, where the set says: its image may have another resolution."""

    @model_validator(mode="before")
    @classmethod
    def _say_what_they_mean(cls, value: Any) -> Any:
        if isinstance(value, dict) and not {"order", "unit"} <= set(value):
            raise ValueError("a place says neither order nor unit of its numbers: give both")
        return value

    def box(self, image: Size) -> Box:
        """The part of it that lies in the image, in the image's pixels.

        Args:
            image: Width and height of the image as it is.

        Raises:
            GeometryError: The numbers are no box, or one outside of the image.
            ValueError: The image is not the one that they refer to.
        """
        size = self._size(image)
        if self.order == "xy" or self.order == "yx":
            raise GeometryError("point_without_box")
        if self.order == "polygon":
            box = box_of_polygons([polygon_in_pixels(self.values, self.unit, size)], size)
        else:
            box = BoxFormat(self.order, self.unit).read(self.values, size)
        return inside(box.resized(image), image)

    def point(self, image: Size) -> Point:
        """It, or the centre of its part in the image, in the image's pixels; raises as `box` does."""
        if self.order not in ("xy", "yx"):
            return self.box(image).centre
        if len(self.values) != 2:
            raise GeometryError("not_two_numbers")
        x, y = self.values if self.order == "xy" else self.values[::-1]
        point = point_in_pixels(x, y, self.unit, self._size(image)).resized(image)
        inner = Point(min(max(point.x, 0.0), image[0]), min(max(point.y, 0.0), image[1]), "pixels", image)
        if math.dist((point.x, point.y), (inner.x, inner.y)) > _ROUNDING:
            raise GeometryError("outside")
        return inner

    def _size(self, image: Size) -> Size:
        if self.size is None:
            return image
        check_size(self.size, image)
        return self.size


def point(x: float, y: float, unit: Unit, size: Size | None = None) -> Place:
    """The place of a point, x then y."""
    return Place(values=(x, y), order="xy", unit=unit, size=size)


class ScreenImage(Config):
    """The image of a screen: what the set calls it, or its bytes."""

    name: str = ""
    image: Image | None = None


class RawTarget(Config):
    """Something on a screen, or something that is not there."""

    text: str
    """What tells it."""
    phrase: Phrase = "instruction"
    place: Place | None
    """None where there is no such thing on the screen."""
    role: str = ""
    """`text` or `icon`, or what the set calls it, for the record."""


class RawScreen(Config):
    """A screen and what is asked for on it."""

    screen: ScreenImage
    targets: tuple[RawTarget, ...]
    platform: str = ""


class RawAction(Config):
    """An action whose places are not yet in 0..1000."""

    action: ActionType
    point: Place | None = None
    end: Place | None = None
    """Where a slide ends."""
    text: str | None = None
    direction: Direction | None = None
    targets: tuple[Place, ...] = ()
    """Boxes of the elements that it is meant for, where the set says."""


class RawStep(Config):
    """What was done on a screen."""

    screen: ScreenImage
    action: RawAction | None
    """None where it has no place among our actions."""
    loss: str = ""
    """What of the original the action does not say, a key of `actions.LOSSES`."""
    instruction: str = ""
    """What this step is for, in words."""
    reasoning: str = ""


class RawEpisode(Config):
    """A task and what was done."""

    goal: str
    steps: tuple[RawStep, ...] = Field(min_length=1)
    platform: str = ""
    problem: str = ""
    """Why the steps are no whole trajectory, such as `incomplete`; each of them may be right nonetheless."""
