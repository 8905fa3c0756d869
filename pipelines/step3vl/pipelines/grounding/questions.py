"""Questions about the objects of an image: which are asked, their answers, and the proof of both.

Every question is decided by `referring`, a second time by the coordinates as answers carry them, rounded to 0..1000,
and its answer is graded by its own truth. What any of these leaves open is not asked.
"""

import json
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from step3vl.data.sample import (
    Box,
    BoxTruth,
    CountTruth,
    OptionTruth,
    Point,
    PointsTruth,
    TextTruth,
    TranscriptTruth,
    Truth,
    format_boxes,
)
from step3vl.data.sample.truth import MilliBox
from step3vl.pipelines.core.phrasings import Language
from step3vl.pipelines.grounding.names import describe, name, plural, say
from step3vl.pipelines.grounding.records import GroundedImage, GroundedObject
from step3vl.pipelines.grounding.referring import (
    Phrase,
    Undecided,
    can_be_cited,
    phrases_for,
    referents,
    related_phrases_for,
)
from step3vl.pipelines.grounding.relations import RELATIONS
from step3vl.pipelines.grounding.wording import (
    COORDINATES,
    Asked,
    Draft,
    GroundingTask,
    absent_draft,
    ask_in_turn,
    box_draft,
    boxes_as_list,
    format_points,
    point_draft,
)

Weights = dict[GroundingTask, float]


_MAX_BOXES = 30  # in an answer
_MAX_POINTS = 100
_SMALLEST = 7  # thousandths of the image, such as a line of small print: less is lost in an image that is scaled down
_TRIES = 6  # targets that are tried for a question
_OF_THINGS = ("larger", "is_inside")  # relations that nobody asks about texts
_ANCHORS = 8  # objects that others are told by


def ask_about(
    image: GroundedImage, weights: Weights, languages: Sequence[Language], number: int, rng: random.Random
) -> list[Asked]:
    """Questions about an image, each about something else.

    Args:
        image: With its objects.
        weights: Relative weights of the tasks; all are as likely when empty.
        languages: Of the questions.
        number: How many, at most.
        rng: Chooses.
    """
    again = rounded(image)

    def make(task: GroundingTask) -> tuple[Language, Draft | None]:
        language = rng.choice(languages)
        return language, TASKS[task](Questions(image, again, language, rng))

    return ask_in_turn(weights or dict.fromkeys(TASKS, 1.0), number, make, rng)


class Questions:
    """Makes the questions of an image.

    Args:
        image: With its objects.
        again: The same, `rounded`.
        language: Of the questions.
        rng: Chooses what is asked.
    """

    def __init__(self, image: GroundedImage, again: GroundedImage, language: Language, rng: random.Random) -> None:
        self._image, self._rounded, self._language, self._rng = image, again, language, rng

    def single(self, kind: Literal["box", "point"]) -> Draft | None:
        """A phrase, and the box or a point of the one object that it fits."""
        for index in self._targets(boxed=kind == "box"):
            phrases = [phrase for phrase in phrases_for(self._image, index) if self._is_sure(phrase)]
            if phrases:
                return self._located(kind, self._rng.choice(phrases), index)
        return None

    def steps(self) -> Draft | None:
        """A phrase that names its object by others, which have to be found first."""
        anchors = self._anchors()
        for index in self._targets(boxed=True):
            phrases = [phrase for phrase in related_phrases_for(self._image, index, anchors) if self._is_sure(phrase)]
            if phrases:
                return self._located(self._rng.choice(("box", "point")), self._rng.choice(phrases), index)
        return None

    def every(self, kind: Literal["boxes", "points"]) -> Draft | None:
        """All instances of a label."""
        phrase, indices = self._several(_MAX_BOXES if kind == "boxes" else _MAX_POINTS)
        if phrase is None or not indices or self._is_piled(phrase.label):
            return None
        items = [self._image.objects[index] for index in indices]
        if kind == "boxes":
            if any(item.box is None for item in items):
                return None
            boxes = [self._image.box(item) for item in items]
            truth: Truth = BoxTruth(boxes=tuple(box.milli() for box in boxes))
            answer = format_boxes(boxes)
        else:
            truth = PointsTruth(boxes=tuple(map(self._spot, items)))
            answer = format_points([self._image.point(item) for item in items])
        return Draft(kind, self._names(phrase), truth, COORDINATES, {"json": answer}, "places", none=False)

    def absent(self) -> Draft | None:
        """What is not there: the right answer is that there is none."""
        phrase = self._missing(texts=True)
        if phrase is None:
            return None
        if any(kind == "text" for kind, _ in phrase.attributes):
            kind = self._rng.choice(("box", "point"))  # nobody asks for all lines that read so
            return absent_draft(kind, {"name": say(phrase, self._language)}, self._language)
        kind = self._rng.choice(("box", "point", "boxes", "points"))
        values = self._names(phrase) | {"name": say(phrase, self._language)}
        values = values if kind in ("boxes", "points") else {"name": self._indefinite(phrase)}
        return absent_draft(kind, values, self._language)

    def count(self, with_points: bool) -> Draft | None:
        """How many there are, of a label or of those of a colour; sometimes none."""
        phrase, indices = self._several(_MAX_POINTS if with_points else 10**6)
        if not with_points and (phrase is None or self._rng.random() < 0.12) and (missing := self._missing()):
            phrase, indices = missing, []
        if phrase is None or (with_points and (not indices or self._is_piled(phrase.label))):
            return None
        items = [self._image.objects[index] for index in indices]
        number = sum(item.count for item in items)
        if not with_points:
            return Draft(
                "count",
                self._names(phrase),
                CountTruth(count=number),
                ("number", "number", "sentence"),
                {"number": str(number), "count": str(number)},
                "number",
            )
        return Draft(
            "count_points",
            self._names(phrase),
            PointsTruth(boxes=tuple(map(self._spot, items))),
            ("sentence",),
            {"json": format_points([self._image.point(item) for item in items]), "count": str(number)},
            "number_places",
        )

    def description(self) -> Draft | None:
        """What a box holds: a label, a text, or somebody's description."""
        for index in self._targets(boxed=True):
            item, box = self._image.objects[index], self._image.box(self._image.objects[index])
            values = {"box": json.dumps(list(box.milli()))}
            if item.descriptions:
                text = self._rng.choice(item.descriptions)
                return Draft("region", values, TranscriptTruth(text=text), ("words",), {"words": text})
            if "text" in item.attributes:
                text = item.attributes["text"]
                return Draft("read", values, TextTruth(text=text), ("words",), {"words": text})
            if not self._is_alone_in_its_box(index):
                continue
            text = name(item.label, self._language).strip("“”")
            return Draft("describe", values, TextTruth(text=text), ("name",), {"name": text})
        return None

    def detect(self) -> Draft | None:
        """All objects of some classes, with their labels."""
        image, rng = self._image, self._rng
        labels = [label for label in image.complete if self._is_countable(label) and not self._is_piled(label)]
        labels = [label for label in labels if all(item.box is not None for item in image.of_label(label))]
        if not labels:
            return None
        chosen = rng.sample(labels, rng.randint(1, min(5, len(labels))))
        indices = [index for index, item in enumerate(image.objects) if item.label in chosen]
        if not 1 <= len(indices) <= _MAX_BOXES:
            return None
        asked = list(chosen)
        if image.absent and rng.random() < 0.3:
            asked.append(rng.choice(image.absent))
        rng.shuffle(asked)
        items = [image.objects[index] for index in self._in_order(indices)]
        # Labels are in English in both languages, as the question lists them.
        truth = BoxTruth(
            boxes=tuple(image.box(item).milli() for item in items), labels=tuple(item.label for item in items)
        )
        answer = boxes_as_list([image.box(item) for item in items], [item.label for item in items])
        classes = ("、" if self._language == "zh" else ", ").join(asked)
        return Draft("detect", {"classes": classes}, truth, ("json", "json", "fenced"), {"json": answer}, "places")

    def relation(self) -> Draft | None:
        """How two or three objects lie or compare."""
        anchors = self._anchors()
        for relation in self._rng.sample(list(RELATIONS), len(RELATIONS)):
            number, affirmed = RELATIONS[relation].objects, self._rng.random() < 0.5
            for _ in range(_TRIES if len(anchors) >= number else 0):
                draft = self._related(relation, self._rng.sample(anchors, number), affirmed)
                if draft is not None:
                    return draft
        return None

    def _related(self, relation: str, phrases: Sequence[Phrase], affirmed: bool) -> Draft | None:
        """The question of a relation; one that is answered by yes or no only where the answer is the wanted one."""
        decide = RELATIONS[relation].decide
        indices = [referents(self._image, phrase)[0] for phrase in phrases]
        if len(set(indices)) != len(indices):
            return None
        items = [self._image.objects[index] for index in indices]
        if relation in _OF_THINGS and any("text" in item.attributes for item in items):
            return None
        boxes = [self._image.box(item) for item in items]
        answer = decide(*boxes)
        again = decide(*(self._rounded.box(self._rounded.objects[index]) for index in indices))
        if answer is None or answer != again:
            return None
        names = [say(phrase, self._language) for phrase in phrases]
        values = dict(zip(("first", "second", "anchor"), names, strict=False))
        if isinstance(answer, bool):
            if answer != affirmed:
                return None
            options = ("是", "否") if self._language == "zh" else ("yes", "no")
            text = options[0] if answer else options[1]
            return Draft(relation, values, OptionTruth(option=text, options=options), ("yes_no",), {"yes_no": text})
        options = (names[0], names[1])
        truth = OptionTruth(option=options[answer], options=options)
        return Draft(relation, values, truth, ("choice",), {"choice": options[answer]})

    def _located(self, kind: Literal["box", "point"], phrase: Phrase, index: int) -> Draft:
        item, words = self._image.objects[index], say(phrase, self._language)
        if kind == "box":
            return box_draft(words, self._image.box(item))
        return point_draft(words, self._image.point(item), item.spots)

    def _targets(self, boxed: bool) -> list[int]:
        """Some objects, at random, that are large enough to be asked about."""
        fitting = [
            index
            for index, item in enumerate(self._image.objects)
            if (item.box is not None or not boxed)
            and not _is_tiny(self._spot(item))
            and not self._is_piled(item.label)
        ]
        return self._rng.sample(fitting, min(_TRIES, len(fitting)))

    def _anchors(self) -> list[Phrase]:
        """Phrases for some objects with boxes, in words that stand within a sentence."""
        anchors = []
        for index in self._targets(boxed=True)[:_ANCHORS]:
            phrases = [
                phrase for phrase in phrases_for(self._image, index) if not phrase.written and self._is_sure(phrase)
            ]
            if phrases:
                anchors.append(self._rng.choice(phrases))
        return anchors

    def _is_sure(self, phrase: Phrase) -> bool:
        """Whether rounded coordinates decide a phrase alike."""
        try:
            return referents(self._rounded, phrase) == referents(self._image, phrase)
        except Undecided:
            return False

    def _several(self, most: int) -> tuple[Phrase | None, list[int]]:
        """A label, or one with an attribute, and all that it fits, in the order of reading."""
        labels = [label for label in self._image.complete if self._is_countable(label)]
        if not labels:
            return None, []
        phrase = Phrase(self._rng.choice(labels))
        colours = sorted({item.attributes.get("colour", "") for item in self._image.of_label(phrase.label)})
        if all(colours) and len(colours) > 1 and self._rng.random() < 0.5:
            phrase = Phrase(phrase.label, (("colour", self._rng.choice(colours)),))
        try:
            indices = referents(self._image, phrase)
        except Undecided:
            return None, []
        return (phrase, self._in_order(indices)) if len(indices) <= most else (None, [])

    def _missing(self, *, texts: bool = False) -> Phrase | None:
        """What the image does not have: a label, one of its labels in a colour that none of them has, or a text."""
        image, rng = self._image, self._rng
        colours = {
            item.label: {each.attributes.get("colour", "") for each in image.of_label(item.label)}
            for item in image.objects
        }
        everywhere = sorted(set().union(*colours.values()) - {""}) if colours else []
        recoloured = [
            Phrase(label, (("colour", colour),))
            for label in sorted(colours)
            if "" not in colours[label] and label in image.complete
            for colour in everywhere
            if colour not in colours[label]
        ]
        plain = [Phrase(label) for label in image.absent]
        for label, written in image.absent_texts.items() if texts else ():
            plain += [Phrase(label, (("text", text),)) for text in written if can_be_cited(text)]
        phrase = rng.choice(recoloured) if recoloured and (not plain or rng.random() < 0.5) else None
        phrase = phrase or (rng.choice(plain) if plain else None)
        try:
            return phrase if phrase and referents(image, phrase) == [] else None
        except Undecided:
            return None

    def _is_countable(self, label: str) -> bool:
        try:
            return bool(referents(self._image, Phrase(label)))
        except Undecided:
            return False

    def _is_piled(self, label: str) -> bool:
        """Whether a box holds several of a label: then none of them can be told by itself."""
        return any(item.count > 1 for item in self._image.of_label(label))

    def _is_alone_in_its_box(self, index: int) -> bool:
        """Whether no other label's object, nor a region to ignore, could be meant by a box as well."""
        item = self._image.objects[index]
        box = self._image.box(item)
        others = [other.box for other in self._image.objects if other.label != item.label and other.box is not None]
        others += [region.box for region in self._image.ignored if region.label != item.label]
        return all(Box(*other, "pixels", self._image.size).iou(box) < 0.5 for other in others)

    def _in_order(self, indices: Sequence[int]) -> list[int]:
        """From the top, and from the left."""
        return sorted(indices, key=lambda index: self._image.objects[index].point[::-1])

    def _spot(self, item: GroundedObject) -> MilliBox:
        """Where a point counts, as a single box."""
        return self._image.box(item).milli() if item.box is not None else item.spots[0]

    def _names(self, phrase: Phrase) -> dict[str, str]:
        several = Phrase(phrase.label, phrase.attributes)
        text = describe(several, self._language)
        if self._language == "zh":
            return {"name": text}
        head = text[: len(text) - len(phrase.label)] if text.endswith(phrase.label) else ""
        return {"names": f"{head}{plural(phrase.label)}"}

    def _indefinite(self, phrase: Phrase) -> str:
        """`a red car`: what is not there has no definite article."""
        text = describe(phrase, self._language)
        if self._language == "zh":
            return text
        return f"{'an' if text[0] in 'aeiou' else 'a'} {text}"


TASKS: dict[GroundingTask, Callable[[Questions], Draft | None]] = {
    "grounding.box": lambda questions: questions.single("box"),
    "grounding.point": lambda questions: questions.single("point"),
    "grounding.boxes": lambda questions: questions.every("boxes"),
    "grounding.points": lambda questions: questions.every("points"),
    "grounding.absent": Questions.absent,
    "grounding.description": Questions.description,
    "grounding.detection": Questions.detect,
    "grounding.relation": Questions.relation,
    "grounding.steps": Questions.steps,
    "counting.objects": partial(Questions.count, with_points=False),
    "counting.points": partial(Questions.count, with_points=True),
}
"""What makes the question of each task: None where the image has none."""


def rounded(image: GroundedImage) -> GroundedImage:
    """The image with its boxes and points rounded as answers carry them."""
    objects = []
    for item in image.objects:
        point = Point(*image.point(item).milli(), "milli", image.size).to("pixels")
        update: dict[str, object] = {"point": (point.x, point.y)}
        if item.box is not None:
            box = Box(*image.box(item).milli(), "milli", image.size).to("pixels")
            update["box"] = (box.x1, box.y1, box.x2, box.y2)
        objects.append(item.model_copy(update=update))
    return image.model_copy(update={"objects": tuple(objects)})


def _is_tiny(box: MilliBox) -> bool:
    return min(box[2] - box[0], box[3] - box[1]) < _SMALLEST
