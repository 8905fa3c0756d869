"""Which split and shard a sample belongs to, and how many shards a split gets.

All of it is fixed before a shard is written, so that every runner agrees.
"""

import re
from typing import Self

from pydantic import Field, model_validator

from step3vl.data.config import Config
from step3vl.data.dataset.manifest import Split
from step3vl.data.sample.canonical import row_json
from step3vl.data.sample.sample import Sample, TokenCount
from step3vl.data.storage.tar import BLOCK, padded

_PLACE = re.compile(r"-(\d+)-of-(\d+)\.tar$")


class ShardTarget(Config):
    """Upper bounds on the average size of shards; give one or both.

    Samples are assigned by hash, so single shards differ: of S samples by about 1 / sqrt(S).
    """

    bytes: int | None = Field(default=None, gt=0)
    """Bytes of the archive."""

    tokens: int | None = Field(default=None, gt=0)
    """Tokens of the samples."""

    @model_validator(mode="after")
    def _has_a_bound(self) -> Self:
        if self.bytes is None and self.tokens is None:
            raise ValueError("give the bytes of a shard, its tokens, or both")
        return self

    def count(self, size: int, tokens: int) -> int:
        """The smallest number of shards that meets the target, at least 1.

        Args:
            size: Bytes of all samples.
            tokens: Tokens of all samples.
        """
        counts = [-(-total // bound) for total, bound in ((size, self.bytes), (tokens, self.tokens)) if bound]
        return max(1, *counts)


def split_of(sample_id: str, heldout: float) -> Split:
    """The split of a sample by its id alone, so that it is the same in every build.

    Args:
        sample_id: 32 hexadecimal digits.
        heldout: Fraction of the samples that is held out.
    """
    return "heldout" if int(sample_id[:8], 16) < heldout * 2**32 else "train"


def shard_of(sample_id: str, shards: int) -> int:
    """The number of a sample's shard within its split, by its id alone."""
    return int(sample_id[8:16], 16) % shards


def shard_name(name: str, split: Split, index: int, count: int) -> str:
    """The file name of shard `index` of `count`."""
    return f"{name}-{split}-{index:05d}-of-{count:05d}.tar"


def may_hold(path: str, sample_id: str) -> bool:
    """Whether a sample can be in a shard, which follows from its id (docs/dataset-format.md).

    Args:
        path: Of the shard. One whose name is not that of `shard_name` may hold any.
        sample_id: 32 hexadecimal digits.
    """
    place = _PLACE.search(path)
    return place is None or shard_of(sample_id, int(place[2])) == int(place[1])


def archived_size(sample: Sample, tokens: TokenCount) -> int:
    """The bytes that a sample takes in its shard.

    Args:
        sample: Its images all have pointers.
        tokens: Its tokens.
    """
    parts = [len(row_json(sample, tokens).encode()), *(image.at.size for image in sample.images if image.at)]
    return sum(BLOCK + padded(part) for part in parts)
