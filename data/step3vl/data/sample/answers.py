"""Formatting and parsing of answers with coordinates and actions: JSON objects in 0..1000, anywhere in a text.

Parsing never raises and is linear in the length of the text, because the text is untrusted.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from step3vl.data.sample.action import Action
from step3vl.data.sample.geometry import Box, Point

_UNIT_SQUARE = (1000, 1000)
_MAX_DEPTH = 16
"""Limit of nesting; deeper objects are ignored."""
_MAX_PARSED = 8
"""The search ends when the JSON parser has read this multiple of the text, because malformed objects may nest."""
_MAX_BROKEN = 1000
"""The search ends after this many malformed objects."""
_DECODER = json.JSONDecoder()

_OPENING = re.compile(r'\{\s*"')


def format_point(point: Point) -> str:
    """The answer that carries a point."""
    return json.dumps({"point_2d": list(point.milli())})


def format_boxes(boxes: Sequence[Box], labels: Sequence[str] = ()) -> str:
    """The answer that carries one box, or a list of several.

    Args:
        boxes: Boxes in any space; they are written in 0..1000.
        labels: A label for each box, or none.
    """
    items: list[dict[str, Any]] = [{"bbox_2d": list(box.milli())} for box in boxes]
    for item, label in zip(items, labels, strict=bool(labels)):
        item["label"] = label
    return json.dumps(items[0] if len(items) == 1 else items, ensure_ascii=False)


def parse_points(answer: str) -> list[Point]:
    """Every `{"point_2d": [x, y]}` of an answer, in 0..1000, in order."""
    return [Point(x, y, "milli", _UNIT_SQUARE) for _, (x, y) in _coordinates(answer, "point_2d", 2)]


def parse_labelled_boxes(answer: str) -> list[tuple[Box, str]]:
    """Every `{"bbox_2d": [x1, y1, x2, y2], "label": …}` of an answer, in 0..1000; corners in any order are sorted.

    The label is "" where the answer gives none.
    """
    boxes = []
    for item, (x1, y1, x2, y2) in _coordinates(answer, "bbox_2d", 4):
        label = item.get("label")
        box = Box(min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2), "milli", _UNIT_SQUARE)
        boxes.append((box, label if isinstance(label, str) else ""))
    return boxes


def parse_boxes(answer: str) -> list[Box]:
    """Every box of an answer, whatever its label."""
    return [box for box, _ in parse_labelled_boxes(answer)]


def parse_action(answer: str) -> Action | None:
    """The last action that an answer holds, its coordinates rounded to integers; None without one."""
    for item in reversed(list(json_objects(answer))):
        if "action" in item and (action := Action.from_value(_rounded(item))) is not None:
            return action
    return None


def last_object(text: str, *names: str) -> dict[str, Any]:
    """The last JSON object of a text that has one of some fields, as judges are read; empty without one.

    Args:
        text: The text.
        names: The fields. The object may be a part of another one.
    """
    last: dict[str, Any] = {}
    for value in json_objects(text):
        if any(name in value for name in names):
            last = value
    return last


def json_objects(text: str) -> Iterator[dict[str, Any]]:
    """Every JSON object that stands in a text, also inside another one, in the order in which they begin.

    Braces that belong to no object, and objects that are no JSON, do not hide what follows or what they contain.
    """
    position, budget, broken = 0, _MAX_PARSED * len(text), _MAX_BROKEN
    for opening in _OPENING.finditer(text):
        start = opening.start()
        if start < position:
            continue  # read as a part of the object before
        try:
            value, position = _DECODER.raw_decode(text, start)
            budget -= position - start
        except (ValueError, RecursionError) as error:  # integers of more digits than Python reads are ValueErrors too
            budget -= error.pos - start if isinstance(error, json.JSONDecodeError) else len(text) - start
            broken -= 1
        else:
            yield from _nested_objects(value)
        if budget <= 0 or broken <= 0:
            return


def _nested_objects(value: object, depth: int = 0) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    items: Iterable[object] = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if depth < _MAX_DEPTH:
        for item in items:
            if isinstance(item, dict | list):
                yield from _nested_objects(item, depth + 1)


def _is_coordinate(value: object) -> bool:
    # JSON reads NaN, and integers that no float can hold: neither passes the comparison.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9


def _coordinates(answer: str, key: str, length: int) -> Iterator[tuple[dict[str, Any], tuple[float, ...]]]:
    """The objects of an answer that carry `length` numbers under `key`, and the numbers."""
    for item in json_objects(answer):
        numbers = item.get(key)
        if isinstance(numbers, list) and len(numbers) == length and all(map(_is_coordinate, numbers)):
            yield item, tuple(float(number) for number in numbers)


def _rounded(item: dict[str, Any]) -> dict[str, Any]:
    """An action's object with integers for coordinates such as 512.4."""
    return {
        key: [round(number) for number in value]
        if key in ("point_2d", "end_point_2d") and isinstance(value, list) and all(map(_is_coordinate, value))
        else value
        for key, value in item.items()
    }
