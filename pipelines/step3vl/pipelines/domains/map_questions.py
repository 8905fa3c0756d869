"""Questions about the regions of a rendered map; masks, contacts, names and the legend prove the answers."""

import json
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np

from step3vl.data.sample import CountTruth, OptionTruth, TextTruth
from step3vl.pipelines.core.phrasings import Language
from step3vl.pipelines.grounding.masks import spots_of_mask
from step3vl.pipelines.grounding.names import colour_name
from step3vl.pipelines.grounding.wording import Draft, absent_draft, box_draft, point_draft
from step3vl.pipelines.render.scenes.region_map import PlacedRegion
from step3vl.pipelines.sources.region_maps import Owners, RegionMap, contacts

MapTask = Literal[
    "grounding.point", "grounding.box", "grounding.absent", "grounding.description", "grounding.relation",
    "counting.objects",
]  # fmt: skip
_SMALLEST = 12  # thousandths of the image's side: less cannot be pointed at
_TOUCH = 6  # pixels of border or more that neighbours share; with fewer, but some, nobody can count them
_APART = 120  # thousandths of the image's side between two regions that are compared
_TRIES = 6  # regions, or pairs of them, that are tried for a question


class MapQuestions:
    """Makes the questions of a rendered map.

    Args:
        region_map: As it was rendered.
        placed: Its regions that have a name.
        names: Their names in the language; no two are the same.
        elsewhere: Names of regions that the map does not have.
        language: Of the questions.
        rng: Chooses what is asked.
    """

    def __init__(
        self,
        region_map: RegionMap,
        placed: Mapping[int, PlacedRegion],
        names: Mapping[int, str],
        elsewhere: Sequence[str],
        language: Language,
        rng: random.Random,
    ) -> None:
        self.language = language
        self._map, self._placed, self._names, self._elsewhere, self._rng = region_map, placed, names, elsewhere, rng
        regions = region_map.regions
        capitals = Counter(regions[number].capitals.get(language, "").casefold() for number in placed)
        self._capitals = {
            number: capital
            for number in placed
            if (capital := regions[number].capitals.get(language, ""))
            and capitals[capital.casefold()] == 1
            and capital.casefold() != names[number].casefold()
        }

    def point(self) -> Draft | None:
        """A region, and a point on it."""
        for number in self._targets():
            region = self._placed[number]
            origin = int(region.box.x1), int(region.box.y1)
            spots = spots_of_mask(region.mask, region.box.size, origin)
            return point_draft(self._reference(number), region.point, spots)
        return None

    def box(self) -> Draft | None:
        """A region, and the box of what the map shows of it."""
        for number in self._targets():
            return box_draft(self._reference(number), self._placed[number].box)
        return None

    def absent(self) -> Draft | None:
        """A region of another map: the right answer is that there is none."""
        if not self._elsewhere:
            return None
        kind = self._rng.choice(("point", "box"))
        return absent_draft(kind, {"name": self._rng.choice(self._elsewhere)}, self.language)

    def name(self) -> Draft | None:
        """The name of a region that is told by its place, its capital or its mark in the legend."""
        for number in self._targets():
            reference = self._rng.choice((self._place(number), *self._other_references(number)))
            name = self._names[number]
            return Draft("region_name", {"name": reference}, TextTruth(text=name), ("words",), {"words": name})
        return None

    def relation(self) -> Draft | None:
        """Which of two regions lies higher, or further left."""
        targets = self._targets(2 * _TRIES)
        for first, second in map(sorted, zip(targets[::2], targets[1::2], strict=False)):
            kind = self._rng.choice(("higher", "further_left"))
            axis = 1 if kind == "higher" else 0
            a, b = (self._placed[number].box.milli() for number in (first, second))
            # The edges must agree, so that no reading of "higher" gives the other answer.
            gaps = (b[axis] - a[axis], b[axis + 2] - a[axis + 2])
            if min(map(abs, gaps)) < _APART or gaps[0] * gaps[1] < 0:
                continue
            options = (self._names[first], self._names[second])
            answer = options[0] if gaps[0] > 0 else options[1]
            values = {"first": options[0], "second": options[1]}
            return Draft(kind, values, OptionTruth(option=answer, options=options), ("choice",), {"choice": answer})
        return None

    def borders(self) -> Draft | None:
        """How many regions share a border with one."""
        touching = contacts(self._map.owners)
        cut = {int(number) for edge in _edges(self._map.owners) for number in np.unique(edge)}
        for number in self._targets():
            if number in cut:  # it may have neighbours beyond
                continue
            shared = [count for pair, count in touching.items() if number in pair]
            if not shared or min(shared) < _TOUCH:
                continue
            answer = {"number": str(len(shared)), "count": str(len(shared))}
            values, truth = {"name": self._reference(number)}, CountTruth(count=len(shared))
            return Draft("borders", values, truth, ("number", "number", "sentence"), answer, "number")
        return None

    def _targets(self, most: int = _TRIES) -> list[int]:
        """Some regions, at random, that are large enough to be asked about."""
        fitting = [
            number for number, region in sorted(self._placed.items()) if min(_sides(region.box.milli())) >= _SMALLEST
        ]
        return self._rng.sample(fitting, min(most, len(fitting)))

    def _reference(self, number: int) -> str:
        """What a region is told by: mostly its name."""
        return self._rng.choice((self._names[number], self._names[number], *self._other_references(number)))

    def _other_references(self, number: int) -> list[str]:
        zh, mark = self.language == "zh", self._placed[number].mark
        references = []
        if number in self._capitals:
            capital = self._capitals[number]
            references.append(f"首府为{capital}的地区" if zh else f"the region whose capital is {capital}")
        if mark.isdigit():
            references.append(f"编号为 {mark} 的地区" if zh else f"the region with the number {mark}")
        elif mark:
            colour = colour_name(mark, self.language)
            references.append(f"{colour}的地区" if zh else f"the {colour} region")
        return references

    def _place(self, number: int) -> str:
        region = self._placed[number]
        if self._rng.random() < 0.5:
            where = json.dumps(list(region.point.milli()))
            return f"{where} 处的地区" if self.language == "zh" else f"the region at {where}"
        where = json.dumps(list(region.box.milli()))
        return f"方框 {where} 内的地区" if self.language == "zh" else f"the region that fills the box {where}"


def unique_names(region_map: RegionMap, language: Language) -> dict[int, str]:
    """The names of a map's regions in a language, without those that two regions share."""
    names = {
        number: region.names[language] for number, region in enumerate(region_map.regions) if language in region.names
    }
    counts = Counter(name.casefold() for name in names.values())
    return {number: name for number, name in names.items() if counts[name.casefold()] == 1}


def _edges(owners: Owners) -> tuple[Owners, ...]:
    return owners[0], owners[-1], owners[:, 0], owners[:, -1]


def _sides(box: tuple[int, int, int, int]) -> tuple[int, int]:
    return box[2] - box[0], box[3] - box[1]


TASKS: dict[MapTask, Callable[[MapQuestions], Draft | None]] = {
    "grounding.point": MapQuestions.point,
    "grounding.box": MapQuestions.box,
    "grounding.absent": MapQuestions.absent,
    "grounding.description": MapQuestions.name,
    "grounding.relation": MapQuestions.relation,
    "counting.objects": MapQuestions.borders,
}
"""What makes the question of each task: None where the map has none."""
