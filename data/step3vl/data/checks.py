"""The checks of the samples that are being read, from the index, in bounded memory."""

from array import array
from bisect import bisect_left
from collections.abc import Callable
from threading import Lock
from typing import NamedTuple

import numpy as np
import pyarrow as pa

_ROWS = 1 << 21  # 24 bytes each


class _Shard(NamedTuple):
    offsets: "array[int]"
    sizes: "array[int]"
    checks: "array[int]"


class Checks:
    """Those of the shards that came last, as many as have two million rows together. Threads may share it.

    `load` gives the columns offset, size and xxh3 of the index of a shard.
    """

    def __init__(self, load: Callable[[int], pa.Table]) -> None:
        self._load = load
        self._held: dict[int, _Shard] = {}
        self._lock = Lock()

    def of(self, shard: int, offset: int, size: int) -> int | None:
        """The check of a sample; None when the index knows none of this place."""
        offsets, sizes, checks = self._held.get(shard) or self._keep(shard)
        row = bisect_left(offsets, offset)
        if row == len(offsets) or offsets[row] != offset or sizes[row] != size:
            return None
        return checks[row]

    def _keep(self, shard: int) -> _Shard:
        with self._lock:
            if shard not in self._held:
                table = self._load(shard)
                types = {"offset": ("q", np.int64), "size": ("q", np.int64), "xxh3": ("Q", np.uint64)}
                columns = [
                    array(code, table[name].to_numpy().astype(kind).tobytes()) for name, (code, kind) in types.items()
                ]
                found = self._held[shard] = _Shard(*columns)
                while len(self._held) > 1 and sum(len(one.offsets) for one in self._held.values()) > _ROWS:
                    del self._held[next(iter(self._held))]
                return found
            return self._held[shard]
