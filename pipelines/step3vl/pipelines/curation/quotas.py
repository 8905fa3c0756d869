"""How much of each group of samples is kept: caps of sources, shares by temperature, the best by a score."""

import fnmatch
from collections.abc import Mapping
from itertools import pairwise
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from step3vl.data.config import Config
from step3vl.pipelines.curation.balance import BalanceConfig, balance
from step3vl.pipelines.curation.words import U64, mix

GroupKind = Literal["domain", "task", "licence", "host", "source", "cluster", "score"]
_MANY = ("host", "source")  # kinds with too many groups for one process to share tokens among


class Quota(Config):
    """A rule that samples of the training split pass in turn: of each group only so much is kept.

    What is kept is the best by a score, or, without one, a sample by the hash of the id. Held-out samples are neither
    counted nor dropped.
    """

    by: GroupKind
    """What makes a group: a field of the sample, the `host` of its source, its `cluster` of embeddings, or an interval
    of a score."""
    score: str = ""
    """The score whose intervals are groups, such as a measured difficulty; with `by: score`."""
    edges: tuple[float, ...] = ()
    """Where its intervals end, ascending: `[0.2, 0.8]` makes three. Samples without the score are a group, too."""
    unit: Literal["samples", "tokens"] = "samples"
    """What is counted."""
    cap: float | None = Field(default=None, ge=0)
    """The most of each group."""
    caps: dict[str, float] = Field(default_factory=dict)
    """The same of the groups that a pattern matches, such as `*.example.org`; the last one that matches counts."""
    total: float | None = Field(default=None, gt=0)
    """Of all groups together, shared by `temperature` and `shares`; a group that has less gives its rest to others."""
    temperature: float = Field(default=1.0, ge=0, le=1)
    """The power of the sizes that shares follow: 1 is proportional, 0 is uniform."""
    shares: dict[str, float] = Field(default_factory=dict)
    """The largest share of a group in `total`, 0..1, by its name."""
    prefer: str = ""
    """The score by which the best are kept; samples without it come last."""
    seed: int = 0
    """Decides which are kept where no score does."""

    @property
    def scores(self) -> tuple[str, ...]:
        """The scores that it looks at."""
        return tuple(name for name in (self.prefer, self.score) if name)

    @property
    def reason(self) -> str:
        """The word that the ledger counts its drops by."""
        return f"quota_{self.by}"

    def cap_of(self, group: str) -> float:
        """The most of a group by `cap` and `caps`; infinite without one."""
        matches = [cap for pattern, cap in self.caps.items() if fnmatch.fnmatchcase(group, pattern)]
        cap = matches[-1] if matches else self.cap
        return float("inf") if cap is None else cap

    def budgets(self, amounts: Mapping[str, int]) -> dict[str, float]:
        """The most of each group by `total` and by caps.

        Args:
            amounts: What there is of each.
        """
        if self.total is None or not amounts:
            return {name: self.cap_of(name) for name in amounts}
        shares = {name: share for name, share in self.shares.items() if name in amounts}
        for name in amounts:
            shares[name] = min(1.0, shares.get(name, 1.0), self.cap_of(name) / self.total)
        config = BalanceConfig(tokens=self.total, temperature=self.temperature, caps=shares, epochs=1)
        return {part.name: part.tokens for part in balance(amounts, config).domains}

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.cap is None and not self.caps and self.total is None:
            raise ValueError("give a cap, caps or a total")
        if self.total is not None and self.by in _MANY:
            raise ValueError(
                f"a total cannot be shared among groups by {self.by}, of which there are too many; use caps"
            )
        if self.total is None and (self.shares or self.temperature != 1):
            raise ValueError("shares and temperature divide a total; give one")
        if (self.by == "score") != bool(self.score and self.edges):
            raise ValueError("by: score needs the name of a score and edges, and nothing else has them")
        if list(self.edges) != sorted(set(self.edges)):
            raise ValueError(f"edges are {list(self.edges)}; give them ascending")
        for name, share in self.shares.items():
            if not 0 <= share <= 1:
                raise ValueError(f"shares.{name} is {share}; give a share from 0 to 1")
        return self


def intervals(values: NDArray[np.float32], score: str, edges: tuple[float, ...]) -> list[str]:
    """The names of the intervals that scores are in; NaN and minus infinity are no scores."""
    names = [f"{score} < {edges[0]:g}"]
    names += [f"{low:g} <= {score} < {high:g}" for low, high in pairwise(edges)]
    names += [f"{score} >= {edges[-1]:g}", f"no {score}"]
    places = np.searchsorted(np.array(edges), values, side="right")
    places[~np.isfinite(values)] = len(names) - 1
    return [names[place] for place in places.tolist()]


def priorities(ids: U64, scores: NDArray[np.float32] | None, seed: int) -> U64:
    """The order in which samples are kept, the lowest first.

    Args:
        ids: Of samples [n, 2].
        scores: The best comes first; what is not finite comes last. None: the order is random.
        seed: Of the order of equals.
    """
    hashes = mix(ids[:, 0] ^ mix(ids[:, 1] + np.uint64(seed)))
    if scores is None:
        return hashes
    bits = np.where(np.isfinite(scores), scores, np.float32(-np.inf)).astype("<f4").view("<u4")
    negative = bits >> np.uint32(31) == 1
    ascending = np.where(negative, ~bits, bits | np.uint32(1 << 31))
    return (~ascending).astype(np.uint64) << np.uint64(32) | hashes >> np.uint64(32)
