"""How many shards a split gets: fixed from its totals before a shard is written, so that every runner agrees."""

from typing import Any, Self

from pydantic import Field, model_validator

from step3vl.data.config import Config
from step3vl.data.index import row_json
from step3vl.data.tar import BLOCK, padded


class ShardTarget(Config):
    """How large shards should be, on average, at most: `bytes` of the archive, `tokens` of the samples, or both.

    Samples are dealt by hash, so that single shards differ: of S samples by about 1 / sqrt(S).
    """

    bytes: int | None = Field(default=None, gt=0)
    tokens: int | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _aims_at_something(self) -> Self:
        if self.bytes is None and self.tokens is None:
            raise ValueError("give the bytes of a shard, its tokens, or both")
        return self

    def count(self, size: int, tokens: int) -> int:
        """The fewest shards that meet the target with `size` bytes and `tokens` altogether; at least one."""
        wanted = [-(-total // aim) for total, aim in ((size, self.bytes), (tokens, self.tokens)) if aim is not None]
        return max(1, *wanted)


def archived_size(row: dict[str, Any]) -> int:
    """The bytes that a sample takes in its shard, from its row with all pictures pointed to."""
    parts = [len(row_json(row)), *(picture["at"]["size"] for picture in row.get("images", []))]
    return sum(BLOCK + padded(part) for part in parts)
