"""How contenders are timed, and the row that a comparison becomes."""

import operator
import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any, NamedTuple


class Row(NamedTuple):
    """One comparison; `ours` and `peer` are in `unit`, more is better. `peer` is None where nothing does the same."""

    what: str
    ours: float
    peer: float | None
    unit: str
    note: str

    @property
    def ratio(self) -> float | None:
        """How many times more we do than the peer."""
        return None if self.peer is None else self.ours / self.peer


def race(
    contenders: Mapping[str, Callable[[], Any]],
    rounds: int,
    same: Callable[[Any, Any], bool] = operator.eq,
) -> dict[str, float]:
    """The median CPU seconds, user and system, of each contender, after one run that does not count.

    Contenders alternate and change places from round to round, so that what else runs on the machine meets them
    all. In every round all must return the same as the first one does: counts, or whatever `same` compares.
    """
    names = list(contenders)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + 1):
        results = {}
        for name in names if number % 2 else reversed(names):
            start = time.process_time()
            results[name] = contenders[name]()
            seconds[name].append(time.process_time() - start)
        for name in names[1:]:
            result, expected = results[name], results[names[0]]
            assert same(result, expected), f"{name} gives {result}, {names[0]} gives {expected}"
    return {name: median(times[1:]) for name, times in seconds.items()}
