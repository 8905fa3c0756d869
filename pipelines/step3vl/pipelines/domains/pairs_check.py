"""Whether names on an image have the values of a label beside or above them, as OCR reads it at two sizes."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

from PIL import Image as PILImage
from rapidfuzz import fuzz

from step3vl.pipelines.core.domain import Unchecked
from step3vl.pipelines.domains.rows_check import enlarged, words_of
from step3vl.pipelines.models.ocr import OcrLine

_NAME = 85  # of 100: a name is read
_ABOVE = 5.0  # heights of a name, within which its value is above it
_UNREAD = 0.35  # of the pairs of a label: with more of them, nothing is known of it
_SOME_DIGIT = re.compile(r"\d")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")

_SHOWN_ABOVE = re.compile(r"- \*\*(.+?)\*\* (.+)")
_SHOWN_BESIDE = (
    re.compile(r"\d+\. \*\*(?P<name>.+?)\*\*: (?P<value>.+)"),
    re.compile(r"\d+\. (?P<name>.+) \((?P<value>[^()]+)\)"),
    re.compile(r"- (?P<name>[^*].*): (?P<value>\d+ out of 10)"),
    re.compile(r"\| (?P<name>.+?) \| (?P<value>[^|]*\d[^|]*) \|"),
)


class Pair(NamedTuple):
    """A name, its value as a number without commas, and where the value stands."""

    name: str
    value: str
    place: Literal["above", "beside"]


def pairs_of(markdown: str) -> list[Pair]:
    """The names and values of an infographic.

    Args:
        markdown: Its label: large numbers, rankings, time lines, shares out of ten and tables of two columns.
    """
    pairs = []
    for line in markdown.splitlines():
        if match := _SHOWN_ABOVE.fullmatch(line):
            pairs.append(_pair(match[2], match[1], "above"))
        elif beside := next((match for pattern in _SHOWN_BESIDE if (match := pattern.fullmatch(line))), None):
            pairs.append(_pair(beside["name"], beside["value"], "beside"))
    return [pair for pair in pairs if pair.value]


def _pair(name: str, value: str, place: Literal["above", "beside"]) -> Pair:
    return Pair(_joined(name), next(iter(_NUMBER.findall(_joined(value))), ""), place)


def _joined(text: str) -> str:
    return " ".join(words_of([text]))


def check_pairs(
    pairs: Sequence[Pair], image: PILImage.Image, read: Callable[[PILImage.Image], list[OcrLine]]
) -> str | None:
    """What is wrong with the values of a label; None where they are right.

    A value is wrong only where both readings agree on another number in its place, and a name with digits, such as a
    year, where it is not there and both have one with others.

    Args:
        pairs: Of the label.
        image: Upright.
        read: The OCR.

    Raises:
        Unchecked: Too few of them can be read.
    """
    lines = read(image)
    first = [set(values_of(pair, lines)) for pair in pairs]
    if all(pair.value in values for pair, values in zip(pairs, first, strict=True)):
        return None
    larger = read(enlarged(image))
    second = [set(values_of(pair, larger)) for pair in pairs]
    names, unread = {pair.name for pair in pairs}, 0
    for pair, values, again in zip(pairs, first, second, strict=True):
        if pair.value in values | again:
            continue
        if values & again:
            return "value_differs"
        if not values | again and (_like(pair.name, lines) & _like(pair.name, larger)) - names:
            return "name_differs"
        unread += 1
    if unread > _UNREAD * len(pairs):
        raise Unchecked("not_read")
    return None


def _like(name: str, lines: Sequence[OcrLine]) -> set[str]:
    """The texts on an image that have other digits than a name, and are as long."""
    count = len(name.split())
    runs = set()
    for line in lines:
        words = _joined(line.text).split()
        runs |= {" ".join(words[start : start + count]) for start in range(len(words) - count + 1)}
    return {run for run in runs if run != name and _SOME_DIGIT.sub("0", run) == _SOME_DIGIT.sub("0", name)}


def values_of(pair: Pair, lines: Sequence[OcrLine]) -> Iterator[str]:
    """The number in the place of a value, at each place where its name is read."""
    for line in lines:
        rest = _after_name(pair.name, _joined(line.text))
        if rest is None:
            continue
        if pair.place == "beside" and (numbers := _NUMBER.findall(rest)):
            yield numbers[0]
            continue
        others = _beside(line, lines) if pair.place == "beside" else _above(line, lines)
        numbers = [number for other in others for number in _NUMBER.findall(_joined(other.text))]
        yield from numbers[:1]


def _after_name(name: str, text: str) -> str | None:
    """What follows a name in a line; None where the name is not in it."""
    place = text.find(name)
    if place >= 0:
        before, after = text[:place][-1:], text[place + len(name) :]
        whole = not (before.isdigit() and name[0].isdigit()) and not (after[:1].isdigit() and name[-1].isdigit())
        return after if whole else None
    if any(character.isdigit() for character in name):
        return None  # another year is another name
    alignment = fuzz.partial_ratio_alignment(name, text)
    if alignment is None or alignment.score < _NAME or len(text) < len(name) - 2:
        return None
    return text[alignment.dest_end :]


def _beside(line: OcrLine, lines: Sequence[OcrLine]) -> list[OcrLine]:
    """The lines to the right of a line, nearest first."""
    height = line.box.y2 - line.box.y1
    right = [
        other
        for other in lines
        if other.box.x1 > line.box.centre.x and abs(other.box.centre.y - line.box.centre.y) < 0.6 * height
    ]
    return sorted((other for other in right if other is not line), key=lambda other: other.box.x1)[:1]


def _above(line: OcrLine, lines: Sequence[OcrLine]) -> list[OcrLine]:
    """The lines above a line, nearest first."""
    height = line.box.y2 - line.box.y1
    over = [
        other
        for other in lines
        if other.box.centre.y < line.box.y1
        and line.box.y1 - other.box.y2 < _ABOVE * height
        and abs(other.box.centre.x - line.box.centre.x) < max(height, 0.25 * (other.box.x2 - other.box.x1))
    ]
    return sorted(over, key=lambda other: -other.box.centre.y)[:1]
