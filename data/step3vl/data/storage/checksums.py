"""Checksums of the samples that are being read, from the index, in bounded memory."""

from array import array
from bisect import bisect_left
from collections.abc import Callable
from threading import Lock
from typing import NamedTuple

import numpy as np
import pyarrow as pa

_MAX_ROWS = 1 << 21  # 24 bytes each


class ShardChecksums(NamedTuple):
    """The samples of a shard in its order: first byte, bytes and XXH3 of each."""

    offsets: "array[int]"
    sizes: "array[int]"
    checksums: "array[int]"


class ChecksumCache:
    """Checksums of the shards that were loaded last, up to two million rows together. Threads may share it.

    Args:
        load: Returns the columns offset, size and xxh3 of the index of a shard.
    """

    def __init__(self, load: Callable[[int], pa.Table]) -> None:
        self._load = load
        self._shards: dict[int, ShardChecksums] = {}
        self._lock = Lock()

    def checksum(self, shard: int, offset: int, size: int) -> int | None:
        """The XXH3 of a sample; None when the index has no sample of this size at this offset."""
        offsets, sizes, checksums = self.of(shard)
        row = bisect_left(offsets, offset)
        if row == len(offsets) or offsets[row] != offset or sizes[row] != size:
            return None
        return checksums[row]

    def of(self, shard: int) -> ShardChecksums:
        """The checksums of a shard. What `load` raises is raised."""
        return self._shards.get(shard) or self._add(shard)

    def _add(self, shard: int) -> ShardChecksums:
        with self._lock:
            if shard not in self._shards:
                table = self._load(shard)
                types = {"offset": ("q", np.int64), "size": ("q", np.int64), "xxh3": ("Q", np.uint64)}
                columns = [
                    array(code, table[name].to_numpy().astype(dtype).tobytes())
                    for name, (code, dtype) in types.items()
                ]
                added = self._shards[shard] = ShardChecksums(*columns)
                while len(self._shards) > 1 and sum(len(held.offsets) for held in self._shards.values()) > _MAX_ROWS:
                    del self._shards[next(iter(self._shards))]
                return added
            return self._shards[shard]
