"""Which split and shard a sample belongs to, and how many shards a split gets."""

import pytest
from pydantic import ValidationError

from step3vl.data.dataset.sharding import ShardTarget, shard_name, shard_of, split_of


@pytest.mark.parametrize(
    ("target", "size", "tokens", "count"),
    [
        ({"bytes": 100}, 0, 0, 1),
        ({"bytes": 100}, 100, 0, 1),
        ({"bytes": 100}, 101, 0, 2),
        ({"tokens": 10}, 5000, 95, 10),
        ({"bytes": 100, "tokens": 10}, 450, 95, 10),
    ],
)
def test_count_is_the_fewest_that_meets_both_bounds(
    target: dict[str, int], size: int, tokens: int, count: int
) -> None:
    assert ShardTarget(**target).count(size, tokens) == count


def test_target_without_a_bound_is_refused() -> None:
    with pytest.raises(ValidationError, match="give the bytes of a shard, its tokens, or both"):
        ShardTarget()


def test_split_and_shard_follow_from_the_id() -> None:
    assert split_of("00000000" + "0" * 24, 0.1) == "heldout"
    assert split_of("ffffffff" + "0" * 24, 0.99) == "train"
    assert split_of("00000000" + "0" * 24, 0.0) == "train"
    assert shard_of("00000000" + "0000000a" + "0" * 16, 4) == 2
    assert shard_name("tiny", "train", 3, 16) == "tiny-train-00003-of-00016.tar"
