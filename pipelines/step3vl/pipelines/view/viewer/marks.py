"""Boxes, points and actions of a sample as marks on its images, in pixels.

The truth, the answers and the questions carry coordinates of 0 to 1000; which image they are of follows from the order
of the conversation. Points and boxes refer to the first image of the last message with images before them, and actions
of a user interface to the last one: the screen that they are performed on.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from step3vl.data.sample import ActionTruth, AnyTruth, BoxTruth, ImagePart, PointsTruth, PointTruth, Sample, TextPart
from step3vl.data.sample.answers import parse_action, parse_labelled_boxes, parse_points
from step3vl.data.sample.geometry import Box, Point, Size

Author = Literal["truth", "answer", "question"]
_UNIT = (1000, 1000)


class Mark(NamedTuple):
    """A mark on an image.

    Attributes:
        image: Number of the image.
        author: What the coordinates are from.
        label: What is written beside it.
        box: Its corners in pixels, of a box.
        points: In pixels: of a point, or the start and the end of a slide.
    """

    image: int
    author: Author
    label: str
    box: tuple[float, float, float, float] | None = None
    points: tuple[tuple[float, float], ...] = ()


class _Images(NamedTuple):
    """The images of the last message that has any: those that coordinates may refer to."""

    first: int
    last: int


def marks_of(sample: Sample) -> list[Mark]:
    """The marks of a sample; steps of a trajectory are numbered."""
    sizes = [(image.width, image.height) for image in sample.images]
    return list(_document(sample, sizes) if sample.messages is None else _conversation(sample, sizes))


def _document(sample: Sample, sizes: Sequence[Size]) -> Iterator[Mark]:
    image = None
    for part in sample.parts():
        if isinstance(part, ImagePart):
            image = part.image
        elif image is not None:
            yield from _places(part.text, image, sizes[image], "answer")


def _conversation(sample: Sample, sizes: Sequence[Size]) -> Iterator[Mark]:
    images, step = None, 0
    for message in sample.messages or ():
        numbers = [part.image for part in message.content if isinstance(part, ImagePart)]
        if numbers:
            images = _Images(numbers[0], numbers[-1])
        if images is None:
            continue
        text = "\n".join(part.text for part in message.content if isinstance(part, TextPart))
        if message.role != "assistant":
            yield from _places(text, images.first, sizes[images.first], "question")
            continue
        action = parse_action(text)
        if action is None:
            yield from _places(text, images.first, sizes[images.first], "answer")
            continue
        step += 1
        name = f"{step} {action.action}" + (f" {action.direction}" if action.direction else "")
        ends = [point for point in (action.point_2d, action.end_point_2d) if point is not None]
        label = f"{name} {action.text}" if action.text else name
        yield Mark(images.last, "answer", label, points=tuple(_point(x, y, sizes[images.last]) for x, y in ends))
    if images is not None:
        yield from _truth(sample, images, sizes)


def _places(text: str, image: int, size: Size, author: Author) -> Iterator[Mark]:
    """The boxes and points that a text names."""
    for box, label in parse_labelled_boxes(text):
        yield Mark(image, author, label, box=_pixels(box, size))
    for point in parse_points(text):
        yield Mark(image, author, "", points=(_point(point.x, point.y, size),))


def _truth(sample: Sample, images: _Images, sizes: Sequence[Size]) -> Iterator[Mark]:
    for truth in sample.truth.truths if isinstance(sample.truth, AnyTruth) else (sample.truth,):
        if not isinstance(truth, PointTruth | PointsTruth | BoxTruth | ActionTruth):
            continue
        image = images.last if isinstance(truth, ActionTruth) else images.first
        labels = truth.labels if isinstance(truth, BoxTruth) else ()
        for number, corners in enumerate(truth.boxes):
            box = Box(*corners, "milli", _UNIT)
            yield Mark(image, "truth", labels[number] if labels else "", box=_pixels(box, sizes[image]))
        for corners in truth.end_boxes if isinstance(truth, ActionTruth) else ():
            yield Mark(image, "truth", "end", box=_pixels(Box(*corners, "milli", _UNIT), sizes[image]))


def _pixels(box: Box, size: Size) -> tuple[float, float, float, float]:
    moved = box.resized(size).to("pixels")
    return moved.x1, moved.y1, moved.x2, moved.y2


def _point(x: float, y: float, size: Size) -> tuple[float, float]:
    moved = Point(x, y, "milli", _UNIT).resized(size).to("pixels")
    return moved.x, moved.y
