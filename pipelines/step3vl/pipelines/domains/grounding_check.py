"""The independent check of questions about objects: each finished answer is computed once more from the geometry.

The objects are those of the image that the entry's steps make of the same record again, which must be the image of the
sample. The question is read back from its words and decided by plain definitions: the leftmost is the one whose centre
is furthest left. What made the sample asks only where that is clear, by `referring` and `relations`; none of their
code runs here. A text that is asked for must also be read at its place by an OCR. The objects of a scan are themselves
read, so there a third reading must have their extent as well.
"""

import json
import math
from collections import Counter
from collections.abc import Sequence
from functools import cached_property, lru_cache

from PIL import Image as PILImage

from step3vl.data.sample import (
    Box,
    BoxTruth,
    CountTruth,
    OptionTruth,
    PointsTruth,
    PointTruth,
    Sample,
    TextTruth,
    TranscriptTruth,
    Truth,
    parse_points,
)
from step3vl.data.sample.truth import MilliBox
from step3vl.grading import grade_answer
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import DomainEntry, Unchecked
from step3vl.pipelines.core.phrasings import Language
from step3vl.pipelines.core.replay import Replay
from step3vl.pipelines.core.samples import question_of
from step3vl.pipelines.domains.grounding_scan_check import ScanCheck
from step3vl.pipelines.grounding.names import name
from step3vl.pipelines.grounding.question_reading import Description, descriptions_of, fields_of
from step3vl.pipelines.grounding.records import GroundedImage, GroundedObject
from step3vl.pipelines.models.ocr import OcrModel
from step3vl.pipelines.models.text_finder import TextFinder

_SAME = 0.85  # intersection over union of a box with itself, when its corners are rounded
_RECENT = 64  # images that are kept, for an image has several questions
_INSIDE = 0.8  # of a box's area that another one holds
_YES = ("yes", "是")


class CheckObjects:
    """The label check of the domains whose images have objects.

    Args:
        entry: Whose samples are checked.
        context: Of the build.
    """

    def __init__(self, entry: DomainEntry, context: StepContext) -> None:
        self._image = lru_cache(_RECENT)(Replay(entry, context, GroundedImage))

    @cached_property
    def _reader(self) -> TextFinder:
        return TextFinder()

    @cached_property
    def _scans(self) -> ScanCheck:
        return ScanCheck(OcrModel.shared())

    def __call__(self, sample: Sample) -> str | None:
        """None for a right label, or what is wrong with it. Raises Unchecked where the question is not understood."""
        if sample.messages is None or sample.truth is None:
            raise Unchecked("document")
        image = self._image(sample.source.uri)
        if image.image.sha256 != sample.images[0].sha256:
            raise Unchecked("another_image")  # its sources have changed
        if grade_answer(sample.truth, sample.answer()).verdict != "correct":
            return "answer_fails_its_truth"
        traits = sample.source.traits
        language: Language = "zh" if traits["language"] == "zh" else "en"
        question = question_of(sample)
        kind, answer = traits["question"], sample.answer()
        reasons: set[str | None] = set()
        texts: list[tuple[Box, str]] = []
        absent: list[str] = []
        for fields in fields_of(question, kind, traits["answer"], language):
            decision = Decision(image, language, fields)
            try:
                reasons.add(decision.reason(kind, sample.truth, answer))
            except NotUnderstood:
                continue
            texts, absent = decision.texts, decision.absent
        if not reasons:
            raise Unchecked("not_understood")
        if len(reasons) > 1:
            raise Unchecked("ambiguous")
        (reason,) = reasons
        if reason is None and image.subject != "photo":
            pixels = sample.images[0].open().convert("RGB")
            if not all(self._is_at(pixels, box, text) for box, text in texts):
                return "text_not_in_place"
        if reason is None and image.traits.get("text_layer") == "no":
            lines = [image.box(item) for item in image.of_label("text line")]
            return self._scans.reason(sample.images[0], sample.truth, lines, absent)
        return reason

    def _is_at(self, image: PILImage.Image, box: Box, text: str) -> bool:
        """Whether a text is read in a box, also upwards or downwards where the box is higher than wide."""
        pixels = box.to("pixels")
        is_high = pixels.y2 - pixels.y1 > pixels.x2 - pixels.x1
        return any(self._reader.is_at(image, box, text, turns) for turns in ((3, 1, 0) if is_high else (0,)))


class NotUnderstood(Exception):
    """A reading of a question that names nothing of the image."""


class Decision:
    """Decides a question that was read in one way.

    Args:
        image: With its objects.
        language: Of the question.
        fields: What stands in the places of its wording.
    """

    def __init__(self, image: GroundedImage, language: Language, fields: dict[str, str]) -> None:
        self._image, self._language, self._fields = image, language, fields
        self._labels = {item.label for item in image.objects} | set(image.absent) | set(image.complete)
        self._colours = {colour for item in image.objects if (colour := item.attributes.get("colour"))}
        self.texts: list[tuple[Box, str]] = []
        """Texts that the question or its answer is about, and the boxes in which they must be."""
        self.absent: list[str] = []
        """Texts that the question asks for and no object has."""

    def reason(self, kind: str, truth: Truth, answer: str) -> str | None:
        """None where the truth is what the geometry says.

        Raises:
            NotUnderstood: The question, read so, says nothing about the image.
            Unchecked: The kind of question has no second way.
        """
        match kind:
            case "box" | "point" | "boxes" | "points" if isinstance(truth, TextTruth):
                return None if not self._named("name" if "name" in self._fields else "names") else "is_there"
            case "box" | "point":
                return self._located(self._one("name"), truth, answer)
            case "boxes" | "points" | "count" | "count_points":
                return self._all(self._named("name" if "name" in self._fields else "names"), truth)
            case "detect":
                return self._detected(truth)
            case "describe" | "read" | "region":
                return self._described(kind, truth)
            case "is_left" | "is_above" | "is_inside" | "larger" | "nearer":
                return self._related(kind, truth)
        raise Unchecked(kind)

    def _located(self, item: GroundedObject, truth: Truth, answer: str) -> str | None:
        if isinstance(truth, BoxTruth):
            return None if len(truth.boxes) == 1 and self._is_same(truth.boxes[0], item) else "another_box"
        points = parse_points(answer)
        if not isinstance(truth, PointTruth) or len(points) != 1:
            return "no_point"
        if item.box is None:
            return None if _holds(truth.boxes, self._image.point(item).milli()) else "another_point"
        x, y = points[0].milli()
        x1, y1, x2, y2 = self._image.box(item).milli()
        return None if x1 <= x <= x2 and y1 <= y <= y2 else "another_point"

    def _all(self, items: Sequence[GroundedObject], truth: Truth) -> str | None:
        if isinstance(truth, CountTruth):
            return None if truth.count == sum(item.count for item in items) else "another_number"
        if isinstance(truth, BoxTruth):
            return None if self._match(truth.boxes, items) else "other_boxes"
        assert isinstance(truth, PointsTruth)
        points = [self._image.point(item).milli() for item in items]
        if len(truth.boxes) != len(points):
            return "another_number"
        return None if all(_holds(truth.boxes, point) for point in points) else "other_points"

    def _detected(self, truth: Truth) -> str | None:
        assert isinstance(truth, BoxTruth)
        classes = self._fields["classes"].split("、" if self._language == "zh" else ", ")
        if not set(classes) <= self._labels:
            raise NotUnderstood
        items = [item for item in self._image.objects if item.label in classes]
        if Counter(truth.labels) != Counter(item.label for item in items):
            return "another_number"
        for label in set(truth.labels):
            boxes = [box for box, of in zip(truth.boxes, truth.labels, strict=True) if of == label]
            if not self._match(boxes, [item for item in items if item.label == label]):
                return "other_boxes"
        return None

    def _described(self, kind: str, truth: Truth) -> str | None:
        try:
            values = json.loads(self._fields["box"])
            box = (int(values[0]), int(values[1]), int(values[2]), int(values[3]))
        except (ValueError, TypeError, IndexError):
            raise NotUnderstood from None
        items = [item for item in self._image.objects if item.box is not None and self._is_same(box, item)]
        assert isinstance(truth, (TextTruth, TranscriptTruth))
        if kind == "region":
            return None if any(truth.text in item.descriptions for item in items) else "another_description"
        if kind == "read":
            self.texts += [(Box(*box, "milli", self._image.size), truth.text)]
            return None if any(item.attributes.get("text") == truth.text for item in items) else "another_text"
        names = {name(item.label, self._language).strip("“”") for item in items}
        return None if names == {truth.text} else "another_label"

    def _related(self, kind: str, truth: Truth) -> str | None:
        first, second = (self._image.box(self._one(field)) for field in ("first", "second"))
        assert isinstance(truth, OptionTruth)
        match kind:
            case "is_left":
                holds = first.centre.x < second.centre.x
            case "is_above":
                holds = first.centre.y < second.centre.y
            case "is_inside":
                holds = _shared(first, second) > _INSIDE * first.area
            case _:
                if kind == "larger":
                    is_first = first.area > second.area
                else:
                    anchor = self._image.box(self._one("anchor"))
                    is_first = _apart(first, anchor) < _apart(second, anchor)
                chosen = truth.option.casefold() == self._fields["first"].casefold()
                other = truth.option.casefold() == self._fields["second"].casefold()
                if chosen == other:
                    raise NotUnderstood
                return None if chosen == is_first else "the_opposite"
        return None if holds == (truth.option in _YES) else "the_opposite"

    def _one(self, field: str) -> GroundedObject:
        """The one object that a phrase fits. Raises NotUnderstood for none, Unchecked for several."""
        items = self._named(field)
        if len(items) > 1:
            raise Unchecked("fits_several")
        if not items:
            raise NotUnderstood
        return items[0]

    def _named(self, field: str) -> list[GroundedObject]:
        """The objects that a phrase fits. Raises NotUnderstood where it is no phrase."""
        written = {words for item in self._image.objects for words in map(_plain, item.phrases)}
        read = descriptions_of(self._fields[field], self._labels, self._colours, written, self._language)
        results = [self._fitting(each) for each in read]
        results = [items for place, items in enumerate(results) if items not in results[:place]]
        if not results:
            raise NotUnderstood
        if len(results) > 1:
            raise Unchecked("ambiguous")
        for each in read:
            if not results[0]:
                self.absent += [value for attribute, value in each.attributes if attribute == "text"]
            self.texts += [
                (self._image.box(item), value)
                for item in results[0]
                for attribute, value in each.attributes
                if attribute == "text" and item.box is not None
            ]
        return results[0]

    def _fitting(self, description: Description) -> list[GroundedObject]:
        image = self._image
        if description.written:
            return [item for item in image.objects if description.written in map(_plain, item.phrases)]
        items = [
            item
            for item in image.objects
            if item.label == description.label
            and all(item.attributes.get(kind) == value for kind, value in description.attributes)
        ]
        if description.between:
            ends = [self._single(each) for each in description.between]
            items = [item for item in items if _is_between(image.box(item), *map(image.box, ends))]
        if description.near:
            anchor = self._single(description.near)
            others = [item for item in items if item is not anchor]
            items = sorted(others, key=lambda item: math.dist(_centre(item), _centre(anchor)))[:1]
        if description.place:
            items = sorted(items, key=_ORDERS[description.place])[:1]
        return items

    def _single(self, description: Description) -> GroundedObject:
        items = self._fitting(description)
        if len(items) != 1:
            raise Unchecked("fits_several")
        return items[0]

    def _match(self, boxes: Sequence[MilliBox], items: Sequence[GroundedObject]) -> bool:
        """Whether boxes are those of objects, one each."""
        left = list(items)
        for box in boxes:
            match = next((item for item in left if self._is_same(box, item)), None)
            if match is None:
                return False
            left.remove(match)
        return not left

    def _is_same(self, box: MilliBox, item: GroundedObject) -> bool:
        if item.box is None:
            return False
        rounded = self._image.box(item).milli()
        size = self._image.size
        return box == rounded or Box(*box, "milli", size).iou(Box(*rounded, "milli", size)) >= _SAME


def _plain(words: str) -> str:
    return words.strip().rstrip(".")


def _centre(item: GroundedObject) -> tuple[float, float]:
    return item.point if item.box is None else ((item.box[0] + item.box[2]) / 2, (item.box[1] + item.box[3]) / 2)


def _area(item: GroundedObject) -> float:
    return 0.0 if item.box is None else (item.box[2] - item.box[0]) * (item.box[3] - item.box[1])


_ORDERS = {
    "leftmost": lambda item: _centre(item)[0],
    "rightmost": lambda item: -_centre(item)[0],
    "topmost": lambda item: _centre(item)[1],
    "bottommost": lambda item: -_centre(item)[1],
    "largest": lambda item: -_area(item),
    "smallest": _area,
}


def _holds(boxes: Sequence[MilliBox], point: tuple[int, int]) -> bool:
    return any(x1 <= point[0] <= x2 and y1 <= point[1] <= y2 for x1, y1, x2, y2 in boxes)


def _shared(first: Box, second: Box) -> float:
    width, height = (
        min(first.x2, second.x2) - max(first.x1, second.x1),
        min(first.y2, second.y2) - max(first.y1, second.y1),
    )
    return max(width, 0.0) * max(height, 0.0)


def _apart(first: Box, second: Box) -> float:
    return math.dist((first.centre.x, first.centre.y), (second.centre.x, second.centre.y))


def _is_between(box: Box, first: Box, second: Box) -> bool:
    """Whether the centre of a box is on the way from one box to another, at most as far off it as they reach."""
    a, b, c = ((each.centre.x, each.centre.y) for each in (first, second, box))
    length = math.dist(a, b)
    if not length:
        return False
    along = ((c[0] - a[0]) * (b[0] - a[0]) + (c[1] - a[1]) * (b[1] - a[1])) / length
    off = abs((c[0] - a[0]) * (b[1] - a[1]) - (c[1] - a[1]) * (b[0] - a[0])) / length
    reach = max(math.hypot(each.x2 - each.x1, each.y2 - each.y1) for each in (first, second)) / 2
    return 0 < along < length and off < reach
