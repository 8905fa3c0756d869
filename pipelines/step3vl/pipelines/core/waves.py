"""The segments of all entries in order, and which pipeline runs them.

A model on Ray runs between two pipelines. So a build is a number of waves: the first runs each entry up to its first
model, the next one from there to its second one, and so on. An entry without models is done after the first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from step3vl.pipelines.core.segment import Segment


class Wave(NamedTuple):
    """The segments that one pipeline runs, and the names of what it writes under `control`.

    Attributes:
        levels: Numbers of segments, by how many of the pipeline's segments come before them in their entry.
        samples: The work list of the fragments of samples.
        dead_letters: The work list of the fragments that have dead letters.
        report: The file of its `Report`.
    """

    levels: tuple[tuple[int, ...], ...]
    samples: str
    dead_letters: str
    report: str

    @property
    def numbers(self) -> tuple[int, ...]:
        """Of all its segments."""
        return tuple(number for level in self.levels for number in level)


@dataclass(frozen=True)
class Chains:
    """The segments of all entries, numbered.

    Attributes:
        segments: Those of an entry follow one another.
        models_on_ray: Whether models run on Ray, between pipelines, or in Beam's own workers.
    """

    segments: tuple[Segment, ...]
    models_on_ray: bool

    def entries(self) -> list[list[int]]:
        """The numbers of the segments of each entry."""
        entries: list[list[int]] = []
        for number, segment in enumerate(self.segments):
            if segment.first == 0:
                entries.append([])
            entries[-1].append(number)
        return entries

    def step_names(self) -> list[list[str]]:
        """For each entry its name, and the names of its steps in the ledger, in order."""
        return [
            [
                self.segments[numbers[0]].entry.name,
                *(
                    f"{self.segments[number].entry.name}.{step.name}"
                    for number in numbers
                    for step in self.segments[number].steps
                ),
            ]
            for numbers in self.entries()
        ]

    def following(self, number: int) -> int | None:
        """The segment that reads what this one emits; None after samples."""
        return None if self.segments[number].emits_samples else number + 1

    def with_retries(self, retries: Mapping[str, int]) -> "Chains":
        """The same segments, of which some are to try their failed records again.

        Args:
            retries: Rounds of retries, by the folder of a segment; a missing one has none.
        """
        segments = (replace(segment, retries=retries.get(segment.folder, 0)) for segment in self.segments)
        return replace(self, segments=tuple(segments))

    def is_on_ray(self, number: int) -> bool:
        """Whether the segment is a model that runs between pipelines."""
        return self.models_on_ray and self.segments[number].is_model

    def work_list(self, number: int) -> str:
        """The work list of a segment on Ray."""
        return self.segments[number].name

    def waves(self) -> list[Wave]:
        """What each pipeline runs; every one but the first begins with what Ray has committed."""
        waves: list[list[list[int]]] = [[]]
        for numbers in self.entries():
            wave, level = 0, 0
            for number in numbers:
                if self.is_on_ray(number):
                    wave, level = wave + 1, 0
                while len(waves) <= wave:
                    waves.append([])
                while len(waves[wave]) <= level:
                    waves[wave].append([])
                waves[wave][level].append(number)
                level += 1
        return [_wave(index, levels) for index, levels in enumerate(waves)]


def _wave(index: int, levels: Sequence[Sequence[int]]) -> Wave:
    # Work lists of segments are named `{entry}.{step}`, and no step is a number.
    numbers = tuple(tuple(level) for level in levels)
    return Wave(numbers, f"samples.{index}", f"dead_letters.{index}", f"control/report.{index}.json")
