"""What makes an answer verifiable: one model for each kind of truth.

A truth is data. How an answer is graded by it is `step3vl.grading`, which holds a line for each kind.
"""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from step3vl.data.config import FrozenModel
from step3vl.data.sample.action import NEEDS, Action
from step3vl.data.sample.checks import ChecksTruth


def _in_order(box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = box
    if not (0 <= x1 <= x2 <= 1000 and 0 <= y1 <= y2 <= 1000):
        raise ValueError(f"box {list(box)} is not x1, y1, x2, y2 in 0..1000, top left first")
    return box


MilliBox = Annotated[tuple[int, int, int, int], AfterValidator(_in_order)]


class TextTruth(FrozenModel):
    """One exact text, compared without regard to case, white space and a closing full stop."""

    kind: Literal["text"] = "text"
    text: str


class TranscriptTruth(FrozenModel):
    """A longer text, of which every character that is copied correctly counts."""

    kind: Literal["transcript"] = "transcript"
    text: str


class NumberTruth(FrozenModel):
    """A number, within the greater of an absolute and a relative tolerance."""

    kind: Literal["number"] = "number"
    value: float
    tolerance: float = 1e-6
    relative_tolerance: float = Field(default=0.0, ge=0, exclude_if=lambda tolerance: tolerance == 0)
    """As a fraction of the value: 0.05 is the relaxed accuracy of chart questions."""


class CountTruth(FrozenModel):
    """How many there are, exactly."""

    kind: Literal["count"] = "count"
    count: int


class OptionTruth(FrozenModel):
    """One of several options.

    An option is a text (`red`), a label (`A`), or a label with a text (`A. a dog`); an answer may name either of the
    two.
    """

    kind: Literal["option"] = "option"
    option: str
    options: tuple[str, ...]


class PointTruth(FrozenModel):
    """A point anywhere inside one of the boxes (0..1000)."""

    kind: Literal["point"] = "point"
    boxes: Annotated[tuple[MilliBox, ...], Field(min_length=1)]


class PointsTruth(FrozenModel):
    """A point inside each of the boxes (0..1000), and none besides."""

    kind: Literal["points"] = "points"
    boxes: Annotated[tuple[MilliBox, ...], Field(min_length=1)]


class BoxTruth(FrozenModel):
    """Boxes (0..1000); with `labels`, one for each of them, an answer must label its boxes alike."""

    kind: Literal["boxes"] = "boxes"
    boxes: Annotated[tuple[MilliBox, ...], Field(min_length=1)]
    labels: tuple[str, ...] = Field(default=(), exclude_if=lambda labels: not labels)

    @model_validator(mode="after")
    def _labels_fit(self) -> Self:
        if self.labels and len(self.labels) != len(self.boxes):
            raise ValueError(f"{len(self.boxes)} boxes have {len(self.labels)} labels; give one for each box, or none")
        return self


class ActionTruth(FrozenModel):
    """One GUI action.

    Its point must lie in `boxes`, those of the element that is meant (for a slide: where it begins), and the end of a
    slide in `end_boxes`. A point that the true action has no box for is not compared.
    """

    kind: Literal["action"] = "action"
    action: Action
    boxes: tuple[MilliBox, ...] = ()
    end_boxes: tuple[MilliBox, ...] = Field(default=(), exclude_if=lambda boxes: not boxes)

    @model_validator(mode="after")
    def _points_have_boxes(self) -> Self:
        needed = NEEDS[self.action.action]
        if "point_2d" in needed and not self.boxes:
            raise ValueError(f"the truth of a {self.action.action} needs boxes: where its point may lie")
        if "end_point_2d" in needed and not self.end_boxes:
            raise ValueError(f"the truth of a {self.action.action} needs end_boxes: where it may end")
        return self


class MathTruth(FrozenModel):
    """An expression in LaTeX; any expression that is equal to it is correct."""

    kind: Literal["math"] = "math"
    expression: str


_Single = (
    TextTruth | TranscriptTruth | NumberTruth | CountTruth | OptionTruth | PointTruth | PointsTruth | BoxTruth
    | ActionTruth | MathTruth | ChecksTruth
)  # fmt: skip
SingleTruth = Annotated[_Single, Field(discriminator="kind")]


class AnyTruth(FrozenModel):
    """A set of acceptable answers: the best grade counts."""

    kind: Literal["any"] = "any"
    truths: Annotated[tuple[SingleTruth, ...], Field(min_length=1)]


Truth = Annotated[_Single | AnyTruth, Field(discriminator="kind")]
