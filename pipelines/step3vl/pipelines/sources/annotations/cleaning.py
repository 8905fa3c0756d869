"""From annotations to objects that can be asked about: every box proven, every label cleaned, all losses counted."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np

from step3vl.data.sample import Box, Image, Point, Size
from step3vl.data.sample.truth import MilliBox
from step3vl.grading.boxes import iou
from step3vl.pipelines.grounding.conventions import (
    MISREAD,
    GeometryError,
    Polygon,
    box_of_polygons,
    check_size,
    inside,
    point_in_pixels,
    polygon_area,
    polygon_in_pixels,
    require_convention,
)
from step3vl.pipelines.grounding.masks import box_of_mask, mask_of_polygons, point_in_mask, spots_of_mask
from step3vl.pipelines.grounding.records import GroundedImage, GroundedObject, IgnoredRegion, Subject
from step3vl.pipelines.sources.annotations.raw import RawImage, RawObject

UNREADABLE = "unreadable"
"""Why a text is ignored: the others are complete as far as texts can be told by what they say."""
_SAME = 0.9  # overlap of two boxes of one label, from which they are one object annotated twice
_AGREE = 0.6  # overlap of a box with that of the object's own polygons
_POINT_REACH = 0.01  # of the image's longer side, within which a point counts, where nothing else is known
_LONGEST = 60  # characters of a label
_RESIDUAL = re.compile(r"(other|misc|miscellaneous|unknown|background|object|thing|stuff)\b", re.IGNORECASE)
_ARTICLE = re.compile(r"^(the|an|a)\s+", re.IGNORECASE)
_BRACKETS = re.compile(r"\s*[(\[].*?[)\]]")


class _LeftOut(Exception):
    """An object is left out."""


def clean_label(label: str) -> str | None:
    """A label as a question can name it; None for one that names nothing.

    `Traffic_Light` is a traffic light, `barrel/bucket` a barrel, `cup (container)` a cup; `Other Shoes` and numbers
    name nothing.
    """
    text = unicodedata.normalize("NFKC", label).replace("_", " ").replace("-other", "")
    text = _BRACKETS.sub("", text).split("/")[0].split(",")[0].split(";")[0]
    text = _ARTICLE.sub("", " ".join(text.split()).strip(" .:-"), count=1)
    if not any(character.isalpha() for character in text) or len(text) > _LONGEST or _RESIDUAL.match(text):
        return None
    return text if text.isupper() and len(text) <= 4 else text.lower()  # TV


def clean(raw: RawImage, image: Image, subject: Subject, licence: str, origin: str) -> GroundedImage:
    """The objects of an image, in pixels of the image as it is.

    Args:
        raw: Its annotations.
        image: Its bytes, whose size may be that of another resolution than the annotations'.
        subject: What it is.
        licence: Of the set.
        origin: The key of the record.

    Raises:
        ValueError: The image is not the one that was annotated, or most of its boxes are no boxes in it, as they are
            when a file is read by another convention than it was written in.
    """
    size = raw.size or (image.width, image.height)
    check_size(size, (image.width, image.height))
    dropped: Counter[str] = Counter()
    objects: list[GroundedObject] = []
    known = _KnownBoxes(len(raw.objects))
    ignored: list[IgnoredRegion] = []
    incomplete: set[str | None] = set()
    for item in raw.objects:
        label = clean_label(item.label)
        try:
            if label is None:
                raise _LeftOut("no_label")
            made = _object(item, label, raw, size, (image.width, image.height))
            if item.ignored:
                # Its box is kept, so that nothing is asked which depends on what is in it.
                if made.box is not None:
                    ignored.append(IgnoredRegion(label=label, box=made.box, reason=item.ignored))
                raise _LeftOut(item.ignored)
            if known.has(made):
                dropped["duplicate"] += 1  # of an object that is here: its label stays complete
                continue
            objects.append(made)
            known.add(made)
        except (_LeftOut, GeometryError) as reason:
            dropped[str(reason)] += 1
            if item.ignored != UNREADABLE:
                incomplete.add(label)
    refused = sum(dropped[reason] for reason in MISREAD)
    require_convention(refused, len(raw.objects), "image", size, raw.order, raw.unit)
    present = {item.label for item in objects} | incomplete
    return GroundedImage(
        image=image,
        subject=subject,
        objects=tuple(objects),
        ignored=tuple(ignored),
        complete=_labels(raw.complete, incomplete),
        absent=_labels(raw.absent, present),
        dropped=dict(sorted(dropped.items())),
        licence=licence,
        origin=origin,
    )


def _labels(labels: Sequence[str], without: set[str | None]) -> tuple[str, ...]:
    cleaned = {clean_label(label) for label in labels} - without
    return tuple(sorted(label for label in cleaned if label is not None))


def _object(item: RawObject, label: str, raw: RawImage, annotated: Size, size: Size) -> GroundedObject:
    """An object in pixels of the image as it is.

    Args:
        item: Its annotation.
        label: Cleaned.
        raw: What it belongs to.
        annotated: The size that coordinates refer to.
        size: Of the image as it is.

    Raises:
        GeometryError: Its coordinates are none.
        _LeftOut: They are not plausible.
    """
    polygons = [polygon_in_pixels(polygon, raw.unit, annotated) for polygon in item.polygons]
    polygons = [_resized(polygon, annotated, size) for polygon in polygons if polygon_area(polygon) > 0]
    if item.polygons and not polygons:
        raise GeometryError("no_area")
    box: Box | None = None
    spots: tuple[MilliBox, ...]
    if item.box:
        box = raw.box_format.read(item.box, annotated).resized(size)
    elif polygons:
        box = box_of_polygons(polygons, size)
    if box is not None:
        box = inside(box, size)
    if polygons and box is not None:
        mask, origin = mask_of_polygons(polygons, size)
        traced = box_of_mask(mask, size, origin)
        if traced is None or traced.iou(box) < _AGREE:
            raise _LeftOut("box_and_polygons_differ")
        point, spots = point_in_mask(mask, size, origin), spots_of_mask(mask, size, origin)
    elif box is not None:
        point, spots = box.centre, (box.milli(),)
    elif len(item.point) == 2:
        point = point_in_pixels(item.point[0], item.point[1], raw.unit, annotated).resized(size)
        if not (0 <= point.x <= size[0] and 0 <= point.y <= size[1]):
            raise _LeftOut("outside")
        spots = (_around(point, raw, annotated, size),)
    else:
        raise _LeftOut("no_geometry")
    return GroundedObject(
        label=label,
        box=None if box is None else (box.x1, box.y1, box.x2, box.y2),
        point=(point.x, point.y),
        spots=spots,
        attributes=item.attributes,
        phrases=tuple(dict.fromkeys(" ".join(phrase.split()) for phrase in item.phrases if phrase.strip())),
        descriptions=item.descriptions,
        count=item.count,
    )


def _resized(polygon: Polygon, annotated: Size, size: Size) -> Polygon:
    across, down = size[0] / annotated[0], size[1] / annotated[1]
    return tuple(value * (down if index % 2 else across) for index, value in enumerate(polygon))


def _around(point: Point, raw: RawImage, annotated: Size, size: Size) -> MilliBox:
    """Where a point counts as that one: within the set's reach, or a hundredth of the longer side."""
    reach = point_in_pixels(raw.reach, raw.reach, raw.unit, annotated).resized(size)
    least = _POINT_REACH * max(size)
    across, down = max(reach.x, least), max(reach.y, least)
    x1, y1 = max(point.x - across, 0.0), max(point.y - down, 0.0)
    return Box(x1, y1, min(point.x + across, size[0]), min(point.y + down, size[1]), "pixels", size).milli()


class _KnownBoxes:
    """The boxes of the objects so far, in one array: an image may have thousands.

    Args:
        most: How many there may be.
    """

    def __init__(self, most: int) -> None:
        self._boxes = np.empty((most, 4))
        self._labels = np.empty(most, np.int64)
        self._numbers: dict[str, int] = {}
        self._count = 0

    def has(self, item: GroundedObject) -> bool:
        """Whether a box of its label is nearly that of an object. Who wrote phrases looked at its object."""
        if item.box is None or item.phrases or item.label not in self._numbers:
            return False
        alike = self._labels[: self._count] == self._numbers[item.label]
        return bool(iou([item.box], self._boxes[: self._count][alike]).max() >= _SAME)

    def add(self, item: GroundedObject) -> None:
        """Add the box of an object, if it has one."""
        if item.box is not None:
            self._boxes[self._count] = item.box
            self._labels[self._count] = self._numbers.setdefault(item.label, len(self._numbers))
            self._count += 1
