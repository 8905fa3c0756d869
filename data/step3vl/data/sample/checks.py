"""Checks of a transcribed page: unit tests of what a reading must contain, in which order, and in which cell.

After the unit tests of olmOCR-Bench: each is decided on its own, so a reading may differ in what nobody minds.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from step3vl.data.config import FrozenModel

NonEmpty = Annotated[str, Field(min_length=1)]


class PresentCheck(FrozenModel):
    """A text that is there."""

    check: Literal["present"] = "present"
    text: NonEmpty


class AbsentCheck(FrozenModel):
    """A text that is left out, such as a running header."""

    check: Literal["absent"] = "absent"
    text: NonEmpty


class OrderCheck(FrozenModel):
    """Two texts, of which the first comes first."""

    check: Literal["order"] = "order"
    first: NonEmpty
    second: NonEmpty


class CellCheck(FrozenModel):
    """A cell of a table with its neighbours; at least one is given."""

    check: Literal["cell"] = "cell"
    cell: NonEmpty
    left: str | None = Field(default=None, exclude_if=lambda text: text is None)
    right: str | None = Field(default=None, exclude_if=lambda text: text is None)
    above: str | None = Field(default=None, exclude_if=lambda text: text is None)
    below: str | None = Field(default=None, exclude_if=lambda text: text is None)

    @model_validator(mode="after")
    def _has_a_neighbour(self) -> Self:
        if all(text is None for text in (self.left, self.right, self.above, self.below)):
            raise ValueError(f"the cell {self.cell!r} has no neighbour: give left, right, above or below")
        return self


PageCheck = Annotated[PresentCheck | AbsentCheck | OrderCheck | CellCheck, Field(discriminator="check")]


class ChecksTruth(FrozenModel):
    """Checks of a page, of which each counts the same."""

    kind: Literal["checks"] = "checks"
    checks: Annotated[tuple[PageCheck, ...], Field(min_length=1)]
