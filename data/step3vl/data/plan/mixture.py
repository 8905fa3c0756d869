"""What a run is trained on: slices of datasets, their shares of the tokens, and the phases in which these apply."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from pydantic import Field, field_validator

from step3vl.data.config import Config
from step3vl.data.dataset.manifest import Split
from step3vl.data.dataset.row_filter import RowFilter
from step3vl.data.errors import UserError

Oversize = Literal["drop", "truncate", "split"]
"""How to treat a sample longer than a pack.

`split` cuts a document into pieces that are all trained on and drops a conversation, whose answer would lose its
question; `truncate` keeps the beginning of either.
"""


class MixtureSource(Config):
    """A slice of a dataset and its share of the tokens."""

    dataset: str
    """Path or URL of a committed dataset."""

    weight: float = Field(default=1.0, gt=0)
    """Share of the mixture's tokens, relative to the other weights."""

    split: Split = "train"
    """The split to read."""

    kind: Literal["document", "conversation"] | None = None
    """Restricts the slice to samples of one kind. Preferences are no training text, and never in it."""

    task: str | None = None
    """Restricts the slice to the tasks that match this shell pattern, such as `ocr.*`."""

    modality: Literal["text", "image"] | None = None
    """Restricts the slice to samples without images (`text`) or with images (`image`)."""

    # Left out where it is not used, so that what was recorded without it compares as equal.
    where: str | None = Field(default=None, exclude_if=lambda value: value is None)
    """Restricts the slice to samples whose index rows an expression selects, such as `tokens < 4096 and images > 0`;
    see `step3vl.data.dataset.row_filter`."""

    epochs: int | None = Field(default=None, ge=1)
    """Passes over the slice after which it is exhausted and its share goes to the others. None repeats it forever."""

    oversize: Oversize = "drop"
    """How to treat samples that are longer than a pack."""

    @field_validator("where")
    @classmethod
    def _is_filter(cls, value: str | None) -> str | None:
        try:
            return None if value is None else RowFilter(value).expression
        except UserError as error:
            raise ValueError(str(error)) from None

    def __str__(self) -> str:
        names = ("split", "kind", "task", "modality", "where")
        parts = [f"{name}={value}" for name in names if (value := getattr(self, name))]
        return f"{self.dataset} ({', '.join(parts)})"


class Mixture(Config):
    """Weighted slices of datasets."""

    sources: tuple[MixtureSource, ...] = Field(min_length=1)
    """The slices; a slice that is listed twice has the sum of both weights."""


class PlanPhase(NamedTuple):
    """A part of a plan with its own mixture, bounded by tokens or packs; unbounded without either."""

    mixture: Mixture
    tokens: int | None = None
    packs: int | None = None


def choose_source(shares: Sequence[float], consumed: Sequence[int], lengths: Sequence[int], capacity: int) -> int:
    """Choose the source of the next pack, so that the tokens of each source stay within one pack of its share.

    This is Tijdeman's rule for the chairman assignment problem (Discrete Mathematics 32, 1980), over tokens: of the
    sources that would not run too far ahead, take the one that is first to fall too far behind. There is always one of
    the former: leads add up to 0, and n sources that all lead by more than slack - capacity * (1 - share) would add up
    to more.

    Args:
        shares: Share of each source; they add up to 1.
        consumed: Tokens taken from each source so far.
        lengths: Tokens of the next pack of each source, at most `capacity`.
        capacity: Tokens that fit a pack.

    Returns:
        The index of the chosen source.
    """
    slack = capacity * (1 - 1 / max(2 * len(shares) - 2, 2))
    total = sum(consumed)

    def priority(source: int) -> tuple[bool, float]:
        share, tokens, length = shares[source], consumed[source], lengths[source]
        return tokens + length - share * (total + length) > slack, (tokens + slack) / share

    return min(range(len(shares)), key=priority)
