"""Phrases that refer to objects, as data, and the proof of which objects they fit.

A phrase is used only where exactly one object fits it. What an image does not tell is `Undecided`, never assumed: a
label that is not complete, two objects nearly as far left, a colour that one of them has no record of.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, Optional

from step3vl.data.sample import Box
from step3vl.pipelines.grounding.records import GroundedImage, GroundedObject

Place = Literal["leftmost", "rightmost", "topmost", "bottommost", "largest", "smallest"]
PLACES: tuple[Place, ...] = ("leftmost", "rightmost", "topmost", "bottommost", "largest", "smallest")

APART = 0.05
"""Of an image's side: centres that are less apart are not told left from right."""
LARGER = 1.4
"""Times the area of the next, from which one is clearly larger."""
_WRITTEN = ("text", "start")  # attributes that are what is written on an object
_LONGEST = 120  # characters of a text that is cited
_NEARER = 1.35  # times the distance of the nearest, from which another one is clearly further


class Undecided(Exception):
    """The image does not tell what a phrase fits."""


@dataclass(frozen=True)
class Phrase:
    """What refers to objects.

    Attributes:
        label: What they are.
        attributes: Kinds and values that they have.
        place: Which of those that are left.
        near: Which of those is nearest to another object.
        between: Which of those is between two others.
        written: Somebody's words for one object, in place of all this.
    """

    label: str
    attributes: tuple[tuple[str, str], ...] = ()
    place: Place | None = None
    near: Optional["Phrase"] = None
    between: tuple["Phrase", "Phrase"] | None = None
    written: str = ""


def referents(image: GroundedImage, phrase: Phrase) -> list[int]:
    """The objects that a phrase fits, by their index.

    Args:
        image: With its objects.
        phrase: Of them.

    Raises:
        Undecided: The image does not tell.
    """
    if phrase.written:
        words = _normal(phrase.written)
        return [i for i, item in enumerate(image.objects) if words in map(_normal, item.phrases)]
    fitting = _having(image, phrase)
    if phrase.between:
        first, second = (_boxed(image, _single(image, anchor)) for anchor in phrase.between)
        fitting = [i for i in fitting if _is_between(_boxed(image, i), first, second)]
    if phrase.near:
        anchor = _single(image, phrase.near)
        fitting = _nearest(image, [i for i in fitting if i != anchor], anchor)
    if phrase.place and fitting:
        fitting = _at(image, fitting, phrase.place)
    return fitting


def is_proven(image: GroundedImage, phrase: Phrase, target: int) -> bool:
    """Whether a phrase fits one object alone."""
    try:
        return referents(image, phrase) == [target]
    except Undecided:
        return False


def phrases_for(image: GroundedImage, target: int) -> Iterator[Phrase]:
    """The proven phrases for an object, the plainest first; none where nothing tells it from others."""
    item = image.objects[target]
    plain = Phrase(item.label)
    candidates = [Phrase(item.label, written=words) for words in item.phrases]
    candidates.append(plain)
    candidates += [Phrase(item.label, attributes) for attributes in _attributes_of(item)]
    # Nobody tells texts by how much room they take.
    places = [place for place in PLACES if "text" not in item.attributes or place not in ("largest", "smallest")]
    candidates += [Phrase(item.label, place=place) for place in places]
    if "colour" in item.attributes:
        colour = (("colour", item.attributes["colour"]),)
        candidates += [Phrase(item.label, colour, place=place) for place in PLACES]
    return (phrase for phrase in candidates if is_proven(image, phrase, target))


def related_phrases_for(image: GroundedImage, target: int, anchors: list[Phrase]) -> Iterator[Phrase]:
    """The proven phrases that tell an object from others of its label by what is near it, or on either side.

    Args:
        image: With its objects.
        target: The index of the object.
        anchors: Proven phrases for other objects.
    """
    label = image.objects[target].label
    if sum(1 for _ in image.of_label(label)) < 2:
        return  # the label alone would do
    for anchor in anchors:
        if anchor.label != label and is_proven(image, phrase := Phrase(label, near=anchor), target):
            yield phrase
    for pair in combinations((anchor for anchor in anchors if anchor.label != label), 2):
        if is_proven(image, phrase := Phrase(label, between=pair), target):
            yield phrase


def _attributes_of(item: GroundedObject) -> list[tuple[tuple[str, str], ...]]:
    known = item.attributes
    kinds = [kind for kind in ("colour", *_WRITTEN) if kind in known and can_be_cited(known[kind])]
    sets: list[tuple[tuple[str, str], ...]] = [((kind, known[kind]),) for kind in kinds]
    if "row" in known and "column" in known:
        sets.append((("row", known["row"]), ("column", known["column"])))
    return sets


def can_be_cited(text: str) -> bool:
    """Whether a text can stand in quotation marks within a question."""
    return 0 < len(text) <= _LONGEST and not set(text) & set('"“”')


def _having(image: GroundedImage, phrase: Phrase) -> list[int]:
    """The objects of a label with attributes."""
    if phrase.label not in image.complete:
        if phrase.label in image.absent:
            return []
        raise Undecided
    is_told_by_text = any(kind in _WRITTEN for kind, _ in phrase.attributes)
    if any(region.label == phrase.label for region in image.ignored) and not is_told_by_text:
        raise Undecided  # what cannot be read does not read so, but it is there
    if any(is_kind_of(item.label, phrase.label) for item in image.objects) or any(
        is_kind_of(region.label, phrase.label) for region in image.ignored
    ):
        raise Undecided
    fitting = [i for i, item in enumerate(image.objects) if item.label == phrase.label]
    for kind, value in phrase.attributes:
        if any(kind not in image.objects[i].attributes for i in fitting):
            raise Undecided
        fitting = [i for i in fitting if image.objects[i].attributes[kind] == value]
    return fitting


def is_kind_of(label: str, wider: str) -> bool:
    """Whether a label names a kind of what another one names, by its last words: a traffic light is a light."""
    return label != wider and label.endswith(f" {wider}")


def _single(image: GroundedImage, phrase: Phrase) -> int:
    fitting = referents(image, phrase)
    if len(fitting) != 1:
        raise Undecided
    return fitting[0]


def _boxed(image: GroundedImage, index: int) -> Box:
    if image.objects[index].box is None:
        raise Undecided
    return image.box(image.objects[index])


def _at(image: GroundedImage, fitting: list[int], place: Place) -> list[int]:
    """The one of some objects that is outermost, largest or smallest. Raises Undecided where two nearly are."""
    extent = _boxed if place in ("largest", "smallest") else _extent
    return [fitting[outermost([extent(image, index) for index in fitting], place)]]


def outermost(boxes: Sequence[Box], place: Place) -> int:
    """Which of some boxes of an image is outermost, largest or smallest.

    Args:
        boxes: In pixels.
        place: Which is looked for.

    Raises:
        Undecided: Two of them nearly are, or there is one alone: nobody says `the leftmost` of one.
    """
    if len(boxes) < 2:
        raise Undecided
    if place in ("largest", "smallest"):
        ranked = sorted(range(len(boxes)), key=lambda index: boxes[index].area, reverse=place == "largest")
        first, second = (boxes[index].area for index in ranked[:2])
        if max(first, second) < LARGER * min(first, second):
            raise Undecided
        return ranked[0]
    axis, sign = {"leftmost": (0, 1), "rightmost": (0, -1), "topmost": (1, 1), "bottommost": (1, -1)}[place]
    centres = sorted((sign * (box.centre.x, box.centre.y)[axis], index) for index, box in enumerate(boxes))
    if centres[1][0] - centres[0][0] < APART * boxes[0].size[axis]:
        raise Undecided
    # A long one may begin further left than the one whose centre is furthest left.
    sides = [sign * (box.x1, box.y1, box.x2, box.y2)[axis if sign > 0 else axis + 2] for box in boxes]
    target = centres[0][1]
    if any(side < sides[target] for side in sides):
        raise Undecided
    return target


def _extent(image: GroundedImage, index: int) -> Box:
    """The box of an object, or its point as one."""
    item = image.objects[index]
    return Box(*(item.box or (*item.point, *item.point)), "pixels", image.size)


def _nearest(image: GroundedImage, fitting: list[int], anchor: int) -> list[int]:
    """The one of some objects that is nearest to another, both by centres and by the gap between boxes."""
    if len(fitting) < 2:
        raise Undecided
    centres = {i: _extent(image, i).centre for i in (anchor, *fitting)}
    x, y = centres[anchor].x, centres[anchor].y
    distances = sorted((math.dist((x, y), (centres[i].x, centres[i].y)), i) for i in fitting)
    if distances[1][0] < _NEARER * distances[0][0]:
        raise Undecided
    target = distances[0][1]
    gaps = [(gap(_boxed(image, i), _boxed(image, anchor)), i) for i in fitting]
    if min(gaps)[0] < next(value for value, i in gaps if i == target):
        raise Undecided
    return [target]


def gap(first: Box, second: Box) -> float:
    """The shortest distance between two boxes in pixels; 0 where they touch or overlap."""
    across = max(first.x1 - second.x2, second.x1 - first.x2, 0.0)
    down = max(first.y1 - second.y2, second.y1 - first.y2, 0.0)
    return math.hypot(across, down)


def _is_between(box: Box, first: Box, second: Box) -> bool:
    """Whether a box lies in the corridor from one box to another, beside or below it.

    Raises:
        Undecided: It is not clearly there, and not clearly elsewhere.
    """
    for x1, x2, y1, y2 in (("x1", "x2", "y1", "y2"), ("y1", "y2", "x1", "x2")):
        before, after = sorted((first, second), key=lambda each: float(getattr(each, x1)))
        start, end = getattr(before, x2), getattr(after, x1)
        top, bottom = max(getattr(first, y1), getattr(second, y1)), min(getattr(first, y2), getattr(second, y2))
        middle = (getattr(box, y1) + getattr(box, y2)) / 2
        if start <= getattr(box, x1) and getattr(box, x2) <= end and top < middle < bottom:
            return True
    hull = Box(
        min(first.x1, second.x1), min(first.y1, second.y1), max(first.x2, second.x2), max(first.y2, second.y2),
        "pixels", first.size,
    )  # fmt: skip
    if gap(box, hull) == 0:
        raise Undecided
    return False


def _normal(words: str) -> str:
    return " ".join("".join(c if c.isalnum() else " " for c in words.casefold()).split())
