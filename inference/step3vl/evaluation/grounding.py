"""GUI grounding: whether the point of a response lies in the target. One base for all such benchmarks.

Every coordinate has its convention in the code that reads it: answers are typed JSON in 0..1000, and each official
file states how its boxes are written. Four numbers are never told apart by their size.
"""

import io
import json
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from PIL import Image as PILImage

from step3vl.data.errors import UserError
from step3vl.data.sample import Box, Message, Point, Size, parse_boxes, parse_points
from step3vl.data.sample.answers import json_objects
from step3vl.evaluation.benchmark import Benchmark, Rule
from step3vl.evaluation.files import find, image_bytes, read_records, require_fields
from step3vl.evaluation.item import Item, Metrics, Score, Scored, mean_percent
from step3vl.evaluation.prompts import user_message
from step3vl.grading import marked_answer

FAMILY = "grounding-point"
_PROMPT = (
    "Locate the target of the following instruction on the screen and output its coordinate as a point in JSON, "
    '{{"point_2d": [x, y]}} with integers from 0 to 1000: {instruction}'
)
_ALIASES = ("point", "coordinate", "coordinates", "position")
_PAIR = re.compile(
    r"\s*(?:```(?:json)?\s*)?[\[(]\s*(-?\d{1,6}(?:\.\d{1,9})?)\s*,\s*(-?\d{1,6}(?:\.\d{1,9})?)\s*[\])]\s*(?:```\s*)?"
)
_SCALE = (1000, 1000)

BoxOrder = Literal["corners", "corner and size"]
"""How a file writes a box: `x1, y1, x2, y2` or `x, y, width, height`."""


def grounding_prompt(instruction: str) -> tuple[Message, ...]:
    """The question for the point of an instruction's target."""
    return (user_message(_PROMPT.format(instruction=instruction), images=1),)


def unit_box(values: Sequence[float], order: BoxOrder, size: Size) -> list[float]:
    """The corners in 0..1 of a box in pixels.

    Args:
        values: Four numbers.
        order: How they are written.
        size: Width and height of the image in pixels.

    Raises:
        ValueError: they are no box.
    """
    x1, y1, x2, y2 = map(float, values)
    if order == "corner and size":
        x2, y2 = x1 + x2, y1 + y2
    box = Box(x1, y1, x2, y2, "pixels", size).to("unit")
    return [box.x1, box.y1, box.x2, box.y2]


def image_size(path: Path | bytes) -> Size:
    """Width and height in pixels, from the file's header. Raises UserError where it is missing or no image."""
    try:
        with PILImage.open(path if isinstance(path, Path) else io.BytesIO(path)) as image:
            return image.size
    except (OSError, ValueError) as error:
        raise UserError(f"{path if isinstance(path, Path) else 'an image'}: not readable: {error}") from None


def read_point(response: str) -> tuple[Point | None, str]:
    """The point that a response answers, in 0..1000, and how it was read.

    Read are `{"point_2d": [x, y]}`, the same under `point`, `coordinate`, `coordinates` or `position`, the centre of
    `{"bbox_2d": [x1, y1, x2, y2]}`, and a response (or its marked answer) that is nothing but `[x, y]` or `(x, y)`.
    The first of the surest kind counts.
    """
    if points := parse_points(response):
        return points[0], "point_2d"
    for values in json_objects(response):
        for name in _ALIASES:
            if (point := _point(values.get(name))) is not None:
                return point, name
    if boxes := parse_boxes(response):
        return boxes[0].centre, "centre of bbox_2d"
    marked = marked_answer(response)
    for text in (response, marked or ""):
        if pair := _PAIR.fullmatch(text):
            return _point([float(pair[1]), float(pair[2])]), "a pair alone"
    return None, "no point"


def _point(value: Any) -> Point | None:
    if not isinstance(value, list) or len(value) != 2:
        return None
    if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in value):
        return None
    return Point(float(value[0]), float(value[1]), "milli", _SCALE) if all(map(_is_sane, value)) else None


def _is_sane(number: float) -> bool:
    return abs(number) < 1e9 and math.isfinite(number)


def in_box(point: tuple[float, float], box: Sequence[float]) -> bool:
    """Whether a point lies in a box of corners, borders included."""
    return box[0] <= point[0] <= box[2] and box[1] <= point[1] <= box[3]


def in_polygon(point: tuple[float, float], corners: Sequence[Sequence[float]]) -> bool:
    """Whether a point lies in a polygon, by the crossings of a ray to the right."""
    x, y = point
    inside = False
    for (x1, y1), (x2, y2) in zip(corners, [corners[-1], *corners[:-1]], strict=True):
        if (y1 > y) != (y2 > y) and x < (x2 - x1) * (y - y1) / (y2 - y1) + x1:
            inside = not inside
    return inside


class Grounding(Benchmark):
    """Benchmarks whose items hold a target in 0..1: `box`, `polygon`, or neither where there is nothing to find.

    An item's category is what results are broken down by; its field `kind` (text, icon) gives shares as well.
    """

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        point, trace = read_point(response)
        fields = item.fields
        refuses = _refuses(point, response)
        if point is None and not refuses:
            return Score.unparsable(trace)
        text, trace = None if point is None else _text(point), "refused" if refuses else trace
        if fields.get("box") is None and fields.get("polygon") is None:
            return Score.of(refuses, text, trace)
        if point is None:
            return Score.of(False, None, trace)
        unit = point.to("unit")
        return Score.of(is_hit((unit.x, unit.y), fields), text, trace)

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        """The share of hits, that of each kind of target, and by category."""
        metrics = super().summarise(scored)
        kinds: dict[str, list[Scored]] = defaultdict(list)
        for each in scored:
            kinds[str(each.item.fields.get("kind", ""))].append(each)
        values, counts = dict(metrics.values), dict(metrics.counts)
        for kind, group in sorted(kinds.items()):
            if kind:
                values[kind] = mean_percent(group)
                counts[f"{kind} correct"] = sum(each.score.verdict == "correct" for each in group)
                counts[f"{kind} items"] = len(group)
        return Metrics(metrics.headline, values, counts, metrics.categories)


class ScreenSpotFiles(Grounding):
    """The files of ScreenSpot and of its second version, an array for each kind of device."""

    def read_parts(self, data: Path, parts: Sequence[str], name: str, folder: str, images: bool) -> Iterator[Item]:
        """The items of all parts.

        Args:
            data: The benchmark's folder.
            parts: The kinds of device.
            name: Of a part's file, with `{part}`.
            folder: Of the images.
            images: Whether they are needed.

        Raises:
            UserError: a file is missing or lacks a field; or an image, where its size is not in the file.
        """
        for part in parts:
            path = find(data, name.format(part=part), self.about)
            for number, record in enumerate(read_records(path)):
                require_fields(record, ("img_filename", "bbox", "instruction"), path)
                has_size = "img_size" in record  # GUI-Actor's layout, with corners
                require_fields(record, ("ui_type",) if has_size else ("data_type",), path)
                image = image_bytes(record["img_filename"], data / folder) if images or not has_size else b""
                size = tuple(record["img_size"]) if has_size else image_size(image)
                kind = record["ui_type"] if has_size else record["data_type"]
                yield Item(
                    id=f"{part}-{number}",
                    messages=grounding_prompt(record["instruction"]),
                    answer=record["bbox"],
                    images=(image,) if images else (),
                    group=record["img_filename"],
                    category=f"{part}, {kind}",
                    fields={
                        "box": unit_box(record["bbox"], "corners" if has_size else "corner and size", size),
                        "kind": kind,
                    },
                )


def is_hit(point: tuple[float, float], target: Mapping[str, Any]) -> bool:
    """Whether a point in 0..1 lies in the `box` or the `polygon` of a target in 0..1."""
    if target.get("polygon") is not None:
        return in_polygon(point, target["polygon"])
    return in_box(point, target["box"])


def _refuses(point: Point | None, response: str) -> bool:
    """Whether a response says that there is nothing to find: a null point, or one left and above of the screen."""
    if point is not None:
        return point.x < 0 and point.y < 0
    return any(
        name in values and values[name] is None
        for values in json_objects(response)
        for name in ("point_2d", *_ALIASES)
    )


def _text(point: Point) -> str:
    return json.dumps([point.x, point.y])
