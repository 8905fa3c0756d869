"""The independent check of questions about screens, from the finished images alone: it knows nothing of the page.

PaddleOCR reads where a label says that a text is. Boxes of recorded elements must follow what is seen: `outlines`
finds those that are shifted, though not one that is exactly another element's. Two screenshots must differ as the
action between them makes them: a view moves the right way, and what was typed stands where something changed.
That a click on a box reaches its element is measured in the live page by `tests/benchmarks/gui_recordings.py`.
"""

import re
from collections.abc import Sequence
from functools import cached_property

from step3vl.data.sample import (
    ActionTruth,
    Box,
    BoxTruth,
    OptionTruth,
    PointTruth,
    Sample,
    TextTruth,
    TranscriptTruth,
    Truth,
)
from step3vl.data.sample.truth import MilliBox
from step3vl.grading import grade_answer
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import DomainEntry, Unchecked
from step3vl.pipelines.core.samples import question_of
from step3vl.pipelines.domains.gui_action_check import reason_of_change, reason_of_steps
from step3vl.pipelines.domains.gui_entry import EpisodeQuestions
from step3vl.pipelines.gui.outlines import unclear_sides
from step3vl.pipelines.models.text_finder import TextFinder

_QUOTED = re.compile(r"“([^”]+)”")
_BOX = re.compile(r"\[(\d+), (\d+), (\d+), (\d+)\]")
_OUTLINED = frozenset({
    "gui.grounding.point", "gui.grounding.box", "gui.grounding.all", "gui.action.single", "gui.knowledge.name",
})  # fmt: skip
_CUT = 2  # sides of a box that cut through what is seen, from which it is wrong; one may be an icon that sticks out
_SAYS = "text"  # the style of a phrase that tells an element by what it shows
_NAMED = ("name", "container")  # ... by a name, which it may show


class CheckScreens:
    """The label check of domains that ask about screens.

    Args:
        entry: Whose samples are checked.
        context: Of the build.
    """

    def __init__(self, entry: DomainEntry, context: StepContext) -> None:
        # Of other sets, boxes are as loose as people made them, or only the surroundings of a tap.
        self._is_recorded = isinstance(entry, EpisodeQuestions)

    @cached_property
    def _reader(self) -> TextFinder:
        return TextFinder()

    def __call__(self, sample: Sample) -> str | None:
        """None for a right label, or what is wrong with it. Raises Unchecked where nothing can be read of it."""
        truth = sample.truth
        if sample.messages is None or truth is None or not sample.images:
            raise Unchecked("nothing_to_read")
        if grade_answer(truth, sample.answer()).verdict != "correct":
            return "answer_fails_its_truth"
        if sample.task == "gui.knowledge.happened":
            return reason_of_change(sample, self._reader)
        if sample.task in ("gui.trajectory.operation", "gui.trajectory.retrieval"):
            return reason_of_steps(sample, self._reader)
        if len(sample.images) != 1:
            raise Unchecked("nothing_to_read")
        is_outlined = self._is_outlined(sample)
        if is_outlined is False:
            return "box_cuts_through"
        try:
            return self._read(sample, truth)
        except Unchecked:
            if is_outlined:
                return None
            raise

    def _is_outlined(self, sample: Sample) -> bool | None:
        """Whether the boxes of recorded elements follow what is seen; None for none, or where one side is unclear."""
        if not self._is_recorded or sample.task not in _OUTLINED:
            return None
        boxes: Sequence[MilliBox] = getattr(sample.truth, "boxes", ()) or _boxes_in(question_of(sample))
        image = sample.images[0].open().convert("RGB")
        most = max((unclear_sides(image, Box(*box, "milli", image.size)) for box in boxes), default=1)
        return None if most == 1 else most < _CUT

    def _read(self, sample: Sample, truth: Truth) -> str | None:
        """What is wrong by what is read. Raises Unchecked where nothing can be."""
        question = question_of(sample)
        quoted = _QUOTED.findall(question)
        match truth:
            case TranscriptTruth() if boxes := _boxes_in(question):
                return self._stands(sample, boxes[0], truth.text)
            case BoxTruth() if sample.task == "gui.ocr.place" and quoted:
                return self._stands(sample, truth.boxes[0], quoted[0])
            case BoxTruth() | PointTruth() | ActionTruth() if len(truth.boxes) == 1 and quoted:
                return self._is_named(sample, truth.boxes[0], quoted)
            case OptionTruth() if sample.task == "gui.grounding.exists" and quoted:
                return self._exists(sample, quoted[0], truth.option in ("yes", "是"))
            case TextTruth() if sample.task == "gui.knowledge.value":
                if self._reader.is_on(sample.images[0].open().convert("RGB"), truth.text):
                    return None
                raise Unchecked("not_read")
        raise Unchecked("nothing_to_read")

    def _stands(self, sample: Sample, box: MilliBox, text: str) -> str | None:
        image = sample.images[0].open().convert("RGB")
        place = Box(*box, "milli", image.size)
        return None if self._reader.is_at(image, place, text) else "text_not_in_place"

    def _is_named(self, sample: Sample, box: MilliBox, quoted: list[str]) -> str | None:
        """An element that is told by what it says; one that is told by its name need not show it."""
        style = sample.source.traits.get("phrase")
        if style == _SAYS:
            # An instruction may name what is to be typed first.
            return self._stands(sample, box, quoted[-1])
        if style not in _NAMED:
            raise Unchecked("told_by_other_means")
        image = sample.images[0].open().convert("RGB")
        place = Box(*box, "milli", image.size)
        if any(self._reader.reads(image, place, text) for text in quoted):
            return None
        raise Unchecked("name_not_shown")

    def _exists(self, sample: Sample, name: str, expected: bool) -> str | None:
        image = sample.images[0].open().convert("RGB")
        if self._reader.has_line(image, name):
            return None if expected else "is_there"
        if expected:
            raise Unchecked("name_not_shown")
        return None


def _boxes_in(question: str) -> list[MilliBox]:
    return [(int(x1), int(y1), int(x2), int(y2)) for x1, y1, x2, y2 in _BOX.findall(question)]
