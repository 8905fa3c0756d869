"""Questions about objects: every answer is graded correct, and is the same when it is computed in another way."""

import json
import random
import re
from collections import Counter
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest

from step3vl.data.sample import BoxTruth, CountTruth, OptionTruth, PointsTruth, PointTruth, TextTruth
from step3vl.grading import grade_answer
from step3vl.pipelines.core.steps import rng_for
from step3vl.pipelines.grounding.answer_phrasings import HINTS, NONE
from step3vl.pipelines.grounding.map_phrasings import MAP_BODIES
from step3vl.pipelines.grounding.names import plural, say
from step3vl.pipelines.grounding.phrasings import BODIES
from step3vl.pipelines.grounding.questions import TASKS, Questions, ask_about, rounded
from step3vl.pipelines.grounding.records import GroundedImage
from step3vl.pipelines.grounding.referring import Phrase
from step3vl.pipelines.grounding.wording import Asked, GroundingTask, to_sample

Grounded = Callable[..., GroundedImage]
LABELS, COLOURS = ("star", "fish", "car", "key"), ("red", "blue", "green")
PHRASE = re.compile(
    r"the (?P<place>leftmost|rightmost|topmost|bottommost|largest|smallest)? ?(?P<colour>red|blue|green)? ?"
    r"(?P<label>star|fish|car|key)(?: nearest to (?P<near>the .*)| between (?P<a>the .*) and (?P<b>the .*))?"
)


@pytest.fixture
def images(grounded: Grounded) -> list[GroundedImage]:
    """Images of random boxes."""
    images = []
    for seed in range(60):
        rng = random.Random(seed)
        objects = []
        for _ in range(rng.randint(1, 12)):
            side, x, y = rng.randint(12, 90), rng.randint(0, 300), rng.randint(0, 300)
            objects.append((rng.choice(LABELS), x, y, x + side, y + side + 5, {"colour": rng.choice(COLOURS)}))
        present = {item[0] for item in objects}
        images.append(grounded(objects, absent=[label for label in LABELS if label not in present]))
    return images


class Scene:
    """A second way to answers: from rounded boxes, by plain minima, without margins."""

    def __init__(self, image: GroundedImage) -> None:
        self.objects = image.objects
        self.boxes = np.array([image.box(item).milli() for item in image.objects], float)
        self.centres = (self.boxes[:, :2] + self.boxes[:, 2:]) / 2
        self.areas = (self.boxes[:, 2] - self.boxes[:, 0]) * (self.boxes[:, 3] - self.boxes[:, 1])

    def find(self, words: str) -> int:
        """The object of an English phrase."""
        match = PHRASE.fullmatch(words)
        assert match, words
        fits = [
            i
            for i, item in enumerate(self.objects)
            if item.label == match["label"] and match["colour"] in (None, item.attributes["colour"])
        ]
        if match["near"]:
            anchor = self.centres[self.find(match["near"])]
            return min(fits, key=lambda i: np.linalg.norm(self.centres[i] - anchor))
        if match["a"]:
            between = [i for i in fits if self._is_between(i, *(self.find(match[each]) for each in "ab"))]
            assert len(between) == 1, words
            return between[0]
        keys = {
            "leftmost": lambda i: self.centres[i, 0], "rightmost": lambda i: -self.centres[i, 0],
            "topmost": lambda i: self.centres[i, 1], "bottommost": lambda i: -self.centres[i, 1],
            "largest": lambda i: -self.areas[i], "smallest": lambda i: self.areas[i],
        }  # fmt: skip
        if match["place"]:
            return min(fits, key=keys[match["place"]])
        assert len(fits) == 1, words
        return fits[0]

    def _is_between(self, index: int, first: int, second: int) -> bool:
        """Whether a centre lies within what two boxes span, and its foot on the line of their centres between them."""
        start, end = self.centres[first], self.centres[second]
        along = (self.centres[index] - start) @ (end - start) / ((end - start) @ (end - start))
        low = np.minimum(self.boxes[first, :2], self.boxes[second, :2])
        high = np.maximum(self.boxes[first, 2:], self.boxes[second, 2:])
        return 0 < along < 1 and bool(((low <= self.centres[index]) & (self.centres[index] <= high)).all())

    def relation(self, kind: str, names: dict[str, str]) -> Any:
        first, second = self.find(names["first"]), self.find(names["second"])
        match kind:
            case "is_left":
                return self.centres[first, 0] < self.centres[second, 0]
            case "is_above":
                return self.centres[first, 1] < self.centres[second, 1]
            case "is_inside":
                low = np.maximum(self.boxes[first, :2], self.boxes[second, :2])
                high = np.minimum(self.boxes[first, 2:], self.boxes[second, 2:])
                return np.prod(np.clip(high - low, 0, None)) > 0.8 * self.areas[first]
            case "larger":
                return names["first"] if self.areas[first] > self.areas[second] else names["second"]
        anchor = self.centres[self.find(names["anchor"])]
        first_is_nearer = np.linalg.norm(self.centres[first] - anchor) < np.linalg.norm(self.centres[second] - anchor)
        return names["first"] if first_is_nearer else names["second"]


@pytest.mark.parametrize("task", ["grounding.box", "grounding.point", "grounding.steps"])
def test_a_phrase_fits_the_object_of_the_answer(images: list[GroundedImage], task: GroundingTask) -> None:
    asked = 0
    for number, image in enumerate(images):
        for seed in range(4):
            draft = TASKS[task](Questions(image, rounded(image), "en", rng_for(task, number, seed)))
            if draft is None:
                continue
            asked += 1
            item = image.objects[Scene(image).find(draft.values["name"])]
            assert isinstance(draft.truth, BoxTruth | PointTruth)
            assert draft.truth.boxes == (image.box(item).milli(),)
    assert asked > 40


def test_relations_are_those_of_the_boxes(images: list[GroundedImage]) -> None:
    kinds: Counter[tuple[str, object]] = Counter()
    for number, image in enumerate(images):
        for seed in range(8):
            draft = TASKS["grounding.relation"](
                Questions(image, rounded(image), "en", rng_for("relation", number, seed))
            )
            if draft is None:
                continue
            assert isinstance(draft.truth, OptionTruth)
            answer = Scene(image).relation(draft.kind, draft.values)
            expected = answer if isinstance(answer, str) else ("yes" if answer else "no")
            assert draft.truth.option == expected
            kinds[draft.kind, draft.truth.option if draft.kind.startswith("is") else ""] += 1
    assert {kind for kind, _ in kinds} == {"is_left", "is_above", "is_inside", "larger", "nearer"}
    for kind in ("is_left", "is_above"):
        yes, no = kinds[kind, "yes"], kinds[kind, "no"]
        assert 0.5 < yes / no < 2


def test_counts_and_lists_are_those_of_the_objects(images: list[GroundedImage]) -> None:
    zeros = counts = 0
    for number, image in enumerate(images):
        for seed in range(6):
            rng = rng_for("count", number, seed)
            for task in ("counting.objects", "counting.points", "grounding.boxes", "grounding.points"):
                draft = TASKS[task](Questions(image, rounded(image), "en", rng))
                if draft is None:
                    continue
                colour, _, noun = draft.values["names"].rpartition(" ")
                fits = [
                    item
                    for item in image.objects
                    if plural(item.label) == noun and colour in ("", item.attributes["colour"])
                ]
                if isinstance(draft.truth, CountTruth):
                    assert draft.truth.count == len(fits)
                    zeros += not fits
                else:
                    assert isinstance(draft.truth, BoxTruth | PointsTruth)
                    assert Counter(draft.truth.boxes) == Counter(image.box(item).milli() for item in fits)
                counts += 1
    assert zeros > 5
    assert counts > 300


def ask_everything(images: list[GroundedImage]) -> list[Asked]:
    return [
        asked
        for number, image in enumerate(images)
        for asked in ask_about(image, {}, ("en", "zh"), 8, rng_for("ask", number))
    ]


def test_every_answer_is_graded_correct_and_another_one_is_not(images: list[GroundedImage]) -> None:
    asked = ask_everything(images)
    assert {each.task for each in asked} == set(get_args(GroundingTask))
    assert {each.form for each in asked} >= {"json", "fenced", "sentence", "number", "yes_no", "choice", "name"}
    for each in asked:
        assert grade_answer(each.truth, each.answer).verdict == "correct"
        assert "{" not in re.sub(r'[{\[]"(bbox|point)_2d".*', "", each.question, flags=re.DOTALL)
        if isinstance(each.truth, BoxTruth | PointTruth | PointsTruth):
            assert grade_answer(each.truth, NONE[each.language]).verdict != "correct"


def test_what_is_absent_is_none_and_the_offer_of_it_does_not_tell(images: list[GroundedImage]) -> None:
    offers = [hint for hints in HINTS["none"].values() for hint in hints]
    offered: Counter[bool] = Counter()
    for each in ask_everything(images):
        if any(hint in each.question for hint in offers):
            offered[each.task == "grounding.absent"] += 1
        if each.task == "grounding.absent":
            assert each.truth == TextTruth(text=NONE[each.language])
    assert offered[True] > 10
    assert offered[False] > 0.4 * offered[True]


def test_nothing_is_asked_twice_of_an_image(images: list[GroundedImage]) -> None:
    for number, image in enumerate(images):
        asked = ask_about(image, {"counting.objects": 1.0}, ("en",), 6, rng_for("twice", number))
        assert len({(each.kind, str(each.truth), each.question.partition("?")[0]) for each in asked}) == len(asked)


def test_a_label_that_is_not_complete_is_only_described(grounded: Grounded) -> None:
    image = grounded([("dog", 10, 10, 100, 100), ("cat", 200, 200, 300, 300)], complete=())
    asked = ask_about(image, {}, ("en",), 20, random.Random(0))
    assert {each.task for each in asked} == {"grounding.description"}
    assert {each.answer for each in asked} == {"dog", "cat"}


def test_a_pile_is_counted_and_never_pointed_to(grounded: Grounded) -> None:
    image = grounded([("tin", 10, 10, 100, 100), ("tin", 200, 200, 300, 300)])
    piled = image.objects[0].model_copy(update={"count": 5})
    image = image.model_copy(update={"objects": (piled, image.objects[1])})
    asked = ask_about(image, {}, ("en",), 20, random.Random(0))
    assert {each.task for each in asked} <= {"counting.objects", "grounding.description"}
    assert CountTruth(count=6) in [each.truth for each in asked]


def test_a_box_that_two_labels_share_is_not_described(grounded: Grounded) -> None:
    image = grounded([("man", 10, 10, 100, 200), ("person", 10, 12, 100, 200)], complete=())
    assert ask_about(image, {}, ("en",), 5, random.Random(0)) == []


@pytest.mark.parametrize("kind", sorted(BODIES | MAP_BODIES))
def test_each_kind_has_fifty_wordings_in_both_languages(kind: str) -> None:
    wordings = (BODIES | MAP_BODIES)[kind]
    fields = {field: set(re.findall(r"\{(\w+)\}", bodies[0])) for field, bodies in wordings.items()}
    for language, bodies in wordings.items():
        assert len(set(bodies)) >= 50
        assert all(set(re.findall(r"\{(\w+)\}", body)) == fields[language] for body in bodies)


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("person", "people"), ("wine glass", "wine glasses"), ("bus", "buses"), ("knife", "knives"), ("mouse", "mice"),
        ("fire hydrant", "fire hydrants"), ("cherry", "cherries"), ("toy", "toys"), ("sheep", "sheep"),
        ("fireman", "firemen"), ("sea shells", "sea shells"), ("couch", "couches"), ("tooth", "teeth"),
        ("star", "stars"), ("fish", "fish"), ("leaf", "leaves"), ("trophy", "trophies"),
        ("clownfish", "clownfish"), ("black mantis", "black mantises"), ("bison", "bison"),
    ],
)  # fmt: skip
def test_plurals(label: str, expected: str) -> None:
    assert plural(label) == expected


def test_phrases_in_both_languages() -> None:
    anchor = Phrase("car", place="leftmost")
    red = Phrase("star icon", (("colour", "red"),), near=anchor)
    assert say(red, "en") == "the red star icon nearest to the leftmost car"
    assert say(red, "zh") == "离最左边的汽车最近的红色的星星图标"
    cell = Phrase("cell", (("row", "2"), ("column", "1")))
    assert say(cell, "en") == "the cell in row 2, column 1"
    assert say(cell, "zh") == "第2行第1列的单元格"


def test_a_sample_says_what_was_asked(images: list[GroundedImage]) -> None:
    (asked,) = ask_about(images[0], {"grounding.detection": 1.0}, ("en",), 1, random.Random(0))
    sample = to_sample(images[0], asked, "conversation", "e")
    assert sample.task == "grounding.detection"
    assert sample.source.traits == {"language": "en", "question": "detect", "answer": asked.form, "subject": "photo"}
    listed = json.loads(asked.answer.strip("`json\n"))
    assert isinstance(listed, list)
    assert all(set(item) == {"bbox_2d", "label"} for item in listed)
