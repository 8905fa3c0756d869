"""An image and the objects in it, checked: what every question about objects is computed from."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.sample import Box, Image, Point, Size
from step3vl.data.sample.truth import MilliBox

Subject = Literal["photo", "page", "table", "scene", "map", "figure"]
Quad = tuple[float, float, float, float]


class GroundedObject(Config):
    """One object. All coordinates are in pixels of the image, boxes as x1, y1, x2, y2."""

    label: str
    """What it is: a noun in the singular, in English."""
    box: Quad | None = None
    """Of what is visible; None where only a point is known."""
    point: tuple[float, float]
    """Lies on the object."""
    spots: tuple[MilliBox, ...] = Field(min_length=1)
    """Where a point counts as on the object, in 0..1000: the parts of its mask, or its box."""
    attributes: dict[str, str] = Field(default_factory=dict)
    """By kind, such as `colour` or `text`. An object without a kind that others have is not known to differ in it."""
    phrases: tuple[str, ...] = ()
    """Written by people so that they fit this object alone."""
    descriptions: tuple[str, ...] = ()
    """Written by people about it, which may fit others as well."""
    count: int = Field(default=1, ge=1)
    """How many of the label there are in its box, where a box holds a pile of them."""


class IgnoredRegion(Config):
    """Where objects of a label are not told apart: a crowd, or what annotators were unsure of."""

    label: str
    box: Quad
    reason: str


class GroundedImage(Config):
    """An image with its objects."""

    image: Image
    subject: Subject
    objects: tuple[GroundedObject, ...]
    ignored: tuple[IgnoredRegion, ...] = ()
    complete: tuple[str, ...] = ()
    """Labels of which every instance in the image is an object here."""
    absent: tuple[str, ...] = ()
    """Labels of which there is none in the image."""
    absent_texts: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """By label, texts that none of it has."""
    dropped: dict[str, int] = Field(default_factory=dict)
    """How many of its objects were left out, by reason."""
    traits: dict[str, str] = Field(default_factory=dict)
    """What else was chosen of it, for the samples' provenance."""
    licence: str
    origin: str
    """The key of the record."""

    @property
    def size(self) -> Size:
        """Width and height in pixels."""
        return self.image.width, self.image.height

    def box(self, item: GroundedObject) -> Box:
        """The typed box of an object. Raises ValueError for one of which only a point is known."""
        if item.box is None:
            raise ValueError(f"a {item.label} has no box")
        return Box(*item.box, "pixels", self.size)

    def point(self, item: GroundedObject) -> Point:
        """The typed point of an object."""
        return Point(*item.point, "pixels", self.size)

    def of_label(self, label: str) -> Iterator[GroundedObject]:
        """The objects of a label."""
        return (item for item in self.objects if item.label == label)
