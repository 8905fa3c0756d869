"""What a run is trained on: slices of datasets, their shares of the tokens, and the stretches in which these hold."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.manifest import Split

# What becomes of a sample longer than a pack. `split` cuts a document into pieces that are all trained on, and leaves
# out a conversation, whose answer would lose its question; `truncate` keeps the beginning of either.
Oversize = Literal["drop", "truncate", "split"]


class MixtureSource(Config):
    """A slice of a dataset and its share of the tokens.

    `task` is a shell pattern. After `epochs` passes the source is spent, and its share goes to the others.
    """

    dataset: str
    weight: float = Field(default=1.0, gt=0)
    split: Split = "train"
    kind: Literal["document", "conversation"] | None = None
    task: str | None = None
    modality: Literal["text", "image"] | None = None
    epochs: int | None = Field(default=None, ge=1)
    oversize: Oversize = "drop"

    def __str__(self) -> str:
        parts = [f"{name}={value}" for name in ("split", "kind", "task", "modality") if (value := getattr(self, name))]
        return f"{self.dataset} ({', '.join(parts)})"


class Mixture(Config):
    sources: tuple[MixtureSource, ...] = Field(min_length=1)


class Stretch(NamedTuple):
    """A part of a plan with its own mixture, until it has taken so many tokens or packs; without either, for ever."""

    mixture: Mixture
    tokens: int | None = None
    packs: int | None = None


def choose(shares: Sequence[float], drawn: Sequence[int], lengths: Sequence[int], capacity: int) -> int:
    """The source of the next pack, which keeps the tokens `drawn` of each within one pack of its share at any moment.

    `shares` add up to 1; `lengths` are those of each source's next pack, at most `capacity`. This is Tijdeman's rule
    for the chairman assignment problem (Discrete Mathematics 32, 1980), over tokens: of the sources that would not run
    too far ahead, the one that is first to fall too far behind. There is always one of the former: leads add up to 0,
    and n sources that all lead by more than slack - capacity * (1 - share) would add up to more.
    """
    slack = capacity * (1 - 1 / max(2 * len(shares) - 2, 2))
    total = sum(drawn)

    def turn(source: int) -> tuple[bool, float]:
        share, tokens, length = shares[source], drawn[source], lengths[source]
        return tokens + length - share * (total + length) > slack, (tokens + slack) / share

    return min(range(len(shares)), key=turn)
