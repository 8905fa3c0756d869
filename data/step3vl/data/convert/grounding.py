"""Grounding as ms-swift writes it: tags in the texts that stand for the names, boxes and points of `objects`.

`<ref-object>` is the next of `objects.ref`, `<bbox>` the next of `objects.bbox` (two numbers are a point) and
`<point>` the next of `objects.point`. The numbers are pixels of the image of `objects.image_id`, or fractions of it
where `bbox_type` is `norm1`, or thousandths where it is `norm1000`. Here they become JSON in thousandths; adjacent
boxes become one list.
"""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from step3vl.data.convert.fields import Fields, excerpt
from step3vl.data.sample.answers import format_boxes, format_point
from step3vl.data.sample.geometry import Box, Point, Space
from step3vl.data.sample.parts import Image, Part, TextPart, text
from step3vl.data.sample.sample import Message
from step3vl.data.sample.truth import BoxTruth, Truth

_TAGS = re.compile(r"<ref-object>|<point>|<bbox>(?:\s*<bbox>)*")
_SPACES: dict[str, Space] = {
    "real": "pixels", "norm1": "unit", "norm_1": "unit", "norm1000": "milli", "norm_1000": "milli",
}  # fmt: skip
_TOLERANCE = 1.0  # pixels by which an annotation may be outside of its image


class Grounding:
    """Replaces the tags of a record.

    Args:
        record: The record, with `objects`.
        images: Its images in the order in which they are shown.

    Raises:
        ValueError: The objects are malformed.
    """

    def __init__(self, record: Fields, images: Sequence[Image]) -> None:
        objects = record.child(record.get("objects"), "objects")
        space = objects.get("bbox_type") or "real"
        if space not in _SPACES:
            raise ValueError(f"its bbox_type is {excerpt(repr(space))}; known are {', '.join(_SPACES)}")
        self._space, self._images = _SPACES[space], images
        self._names = iter(objects.get_list("ref"))
        boxes, points = objects.get_list("bbox"), objects.get_list("point")
        numbers = iter(objects.get_list("image_id") or [0] * (len(boxes) + len(points)))
        self._boxes = iter([(box, next(numbers, 0)) for box in boxes])
        self._points = iter([(point, next(numbers, 0)) for point in points])
        self._last: list[Box] = []
        self.truth: Truth | None = None

    def messages(self, messages: Sequence[Message]) -> list[Message]:
        """The messages without tags; `truth` then holds the boxes where the last answer is nothing but boxes.

        Raises:
            ValueError: There are more tags than objects or more objects than tags, or a box is outside of its image.
        """
        replaced = [
            message.model_copy(update={"content": tuple(map(self._part, message.content))}) for message in messages
        ]
        for name, rest in (("ref", self._names), ("bbox", self._boxes), ("point", self._points)):
            if remaining := sum(1 for _ in rest):
                raise ValueError(f"{remaining} of its objects.{name} have no tag in the texts")
        answer = messages[-1].content if messages else ()
        if len(answer) == 1 and isinstance(answer[0], TextPart) and _TAGS.fullmatch(answer[0].text.strip()):
            self.truth = BoxTruth(boxes=tuple(box.milli() for box in self._last)) if self._last else None
        return replaced

    def _part(self, part: Part) -> Part:
        return text(_TAGS.sub(self._replace, part.text)) if isinstance(part, TextPart) else part

    def _replace(self, match: re.Match[str]) -> str:
        tag = match[0]
        self._last = []
        if tag == "<ref-object>":
            return str(_next(self._names, "ref"))
        if tag == "<point>":
            return format_point(self._point(*_next(self._points, "point")))
        items = [_next(self._boxes, "bbox") for _ in range(tag.count("<bbox>"))]
        if all(isinstance(numbers, list) and len(numbers) == 2 for numbers, _ in items):
            return ", ".join(format_point(self._point(*item)) for item in items)
        self._last = [self._box(*item) for item in items]
        return format_boxes(self._last)

    def _point(self, numbers: Any, image: Any) -> Point:
        size = self._size(image)
        x, y = self._coordinates(numbers, 2, size)
        return Point(x, y, "pixels", size)

    def _box(self, numbers: Any, image: Any) -> Box:
        size = self._size(image)
        x1, y1, x2, y2 = self._coordinates(numbers, 4, size)
        return Box(x1, y1, x2, y2, "pixels", size)

    def _size(self, image: Any) -> tuple[int, int]:
        if not isinstance(image, int) or not 0 <= image < len(self._images):
            raise ValueError(f"its objects name image {excerpt(repr(image))}, but it has {len(self._images)} images")
        return self._images[image].width, self._images[image].height

    def _coordinates(self, numbers: Any, count: int, size: tuple[int, int]) -> list[float]:
        """Coordinates in pixels, moved to the image's edge where they are hardly outside."""
        if not isinstance(numbers, list) or len(numbers) != count or not all(map(_is_number, numbers)):
            raise ValueError(f"an object has {excerpt(repr(numbers))} where {count} numbers are expected")
        pixels: list[float] = []
        for x, y in zip(numbers[::2], numbers[1::2], strict=True):
            point = Point(x, y, self._space, size).to("pixels")
            pixels += [point.x, point.y]
        for value, limit in zip(pixels, size * 2, strict=False):
            if not -_TOLERANCE <= value <= limit + _TOLERANCE:
                raise ValueError(
                    f"an object at {numbers} is outside of its image of {size[0]} x {size[1]} pixels: is bbox_type "
                    "right?"
                )
        return [min(max(value, 0.0), float(limit)) for value, limit in zip(pixels, size * 2, strict=False)]


def _next(items: Iterator[Any], name: str) -> Any:
    try:
        return next(items)
    except StopIteration:
        raise ValueError(f"its texts have more tags than it has objects.{name}") from None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
