"""The independent check of questions about the regions of maps: answered once more from the pixels that each owns.

The map is rendered again, and must be the image of the sample. The question is read back from its words; of what made
it, only the map and what its legend says are used.
"""

import json
import re
from collections.abc import Callable, Iterable
from functools import lru_cache

import numpy as np

from step3vl.data.sample import (
    Box,
    BoxTruth,
    CountTruth,
    OptionTruth,
    Sample,
    TextTruth,
    parse_points,
)
from step3vl.grading import grade_answer
from step3vl.pipelines.core.domain import Unchecked
from step3vl.pipelines.core.samples import encode_jpeg, question_of
from step3vl.pipelines.grounding.masks import Mask, box_of_mask
from step3vl.pipelines.grounding.names import colour_name
from step3vl.pipelines.grounding.question_reading import fields_of
from step3vl.pipelines.render.scenes.region_map import MapScene

_RECENT = 32  # maps that are kept, for a map has several questions
_SAME = 0.9  # intersection over union of a box with that of the pixels
_CAPITAL = re.compile(r"(?:the region whose capital is (.+)|首府为(.+)的地区)")
_NUMBER = re.compile(r"(?:the region with the number (\d+)|编号为 (\d+) 的地区)")
_PLACE = re.compile(r"(?:the region (?:at|that fills the box) |方框 )?(\[[\d, ]+\])(?: 处的地区| 内的地区)?")


class CheckRegions:
    """The label check of `maps.regions`.

    Args:
        render: The map of a record, by its key.
    """

    def __init__(self, render: Callable[[str], MapScene]) -> None:
        self._scene = lru_cache(_RECENT)(render)

    def __call__(self, sample: Sample) -> str | None:
        """None for a right label, or what is wrong with it. Raises Unchecked where the question is not understood."""
        if sample.messages is None or sample.truth is None:
            raise Unchecked("document")
        scene, traits, truth = self._scene(sample.source.uri), sample.source.traits, sample.truth
        if encode_jpeg(scene.image).sha256 != sample.images[0].sha256:
            raise Unchecked("another_image")
        if grade_answer(truth, sample.answer()).verdict != "correct":
            return "answer_fails_its_truth"
        question = question_of(sample)
        readings = fields_of(question, traits["question"], traits["answer"], scene.language)
        results = set()
        for fields in readings:
            try:
                results.add(Regions(scene).reason(traits["question"], fields, sample))
            except KeyError:  # a reading that names no region
                continue
        if len(results) != 1:
            raise Unchecked("ambiguous" if results else "not_understood")
        return results.pop()


class Regions:
    """A map as pixels and names, from which questions are answered.

    Args:
        scene: The map.
    """

    def __init__(self, scene: MapScene) -> None:
        self._scene, self._owners, self._language = scene, scene.region_map.owners, scene.language
        self._named = {name.casefold(): number for number, name in scene.names.items()}

    def reason(self, kind: str, fields: dict[str, str], sample: Sample) -> str | None:
        """What is wrong with a truth. Raises KeyError where a field names no region."""
        truth = sample.truth
        if isinstance(truth, TextTruth) and kind in ("point", "box"):
            return self._absent(fields["name"])
        if kind in ("higher", "further_left"):
            assert isinstance(truth, OptionTruth)
            names = (fields["first"].casefold(), fields["second"].casefold())
            axis = 0 if kind == "higher" else 1
            first, second = (float(np.nonzero(self._mask(self._named[name]))[axis].mean()) for name in names)
            return None if (truth.option.casefold() == names[0]) == (first < second) else "the_opposite"
        number = self._number(fields["name"])
        mask = self._mask(number)
        if kind == "region_name":
            assert isinstance(truth, TextTruth)
            return None if self._scene.names.get(number) == truth.text else "another_name"
        if isinstance(truth, CountTruth):
            return None if truth.count == len(self._neighbours(mask) - {number}) else "another_number"
        if isinstance(truth, BoxTruth):
            box = box_of_mask(mask, self._scene.image.size)
            same = box is not None and Box(*truth.boxes[0], "milli", box.size).iou(box) >= _SAME
            return None if same else "another_box"
        (point,) = parse_points(sample.answer())
        x, y = self._pixel(*point.milli())
        return None if mask[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].any() else "point_elsewhere"

    def _absent(self, name: str) -> str | None:
        here = {int(number) for number in np.unique(self._owners) if number >= 0}
        names = {each.casefold() for number in here for each in self._scene.region_map.regions[number].names.values()}
        return "is_there" if name.casefold() in names else None

    def _number(self, reference: str) -> int:
        """The region that a reference tells. Raises KeyError for none or several."""
        lowered = reference[:1].lower() + reference[1:]
        if match := _NUMBER.fullmatch(lowered):
            return self._marked(match[1] or match[2])
        if match := _PLACE.fullmatch(lowered):
            return self._at(json.loads(match[1]))
        if match := _CAPITAL.fullmatch(lowered):
            capital, language = match[1] or match[2], self._language
            regions = self._scene.region_map.regions
            return _only(n for n in self._named.values() if regions[n].capitals.get(language) == capital)
        for mark in {region.mark for region in self._scene.placed.values()} - {""}:
            colour = colour_name(mark, self._language)
            if lowered in (f"the {colour} region", f"{colour}的地区"):
                return self._marked(mark)
        return self._named[reference.casefold()]

    def _marked(self, mark: str) -> int:
        return _only(number for number, region in self._scene.placed.items() if region.mark == mark)

    def _at(self, place: list[int]) -> int:
        """The region at a point, or with a box."""
        if len(place) == 2:
            x, y = self._pixel(*place)
            return int(self._owners[y, x])
        size = self._scene.image.size
        expected = Box(place[0], place[1], place[2], place[3], "milli", size)
        boxes = {number: box_of_mask(self._mask(number), size) for number in self._named.values()}
        return _only(number for number, box in boxes.items() if box is not None and box.iou(expected) >= _SAME)

    def _mask(self, number: int) -> Mask:
        return np.asarray(self._owners == number)

    def _pixel(self, x: int, y: int) -> tuple[int, int]:
        width, height = self._scene.image.size
        rows, columns = self._owners.shape
        return min(int(x * width / 1000), columns - 1), min(int(y * height / 1000), rows - 1)

    def _neighbours(self, mask: Mask) -> set[int]:
        """The regions of the pixels beside a mask."""
        wide = np.pad(mask, 1)
        beside = (wide[:-2, 1:-1] | wide[2:, 1:-1] | wide[1:-1, :-2] | wide[1:-1, 2:]) & ~mask
        return {int(number) for number in np.unique(self._owners[beside]) if number >= 0}


def _only(numbers: Iterable[int]) -> int:
    regions = list(numbers)
    if len(regions) != 1:
        raise KeyError(len(regions))
    return regions[0]
