"""Packing: best fit decreasing beside the two packers that most loaders use, written out in plain Python."""

from collections.abc import Callable
from functools import partial

import numpy as np
from measure import Row, race

from step3vl.data.packing import best_fit

CAPACITY = 4096
COUNT = 30_720  # a whole number of windows
WINDOW = 1024  # what `Plan` packs at a time
BINS = 64  # packs that the online packer keeps open

Packs = list[list[int]]


def vlm_lengths(count: int, seed: int = 0) -> list[int]:
    """Tokens of samples of a released-size model: text, and often a global view of 169 with crops of 81."""
    rng = np.random.default_rng(seed)
    text = rng.lognormal(5.6, 0.9, count).astype(int) + 16
    crops = rng.choice([0, 2, 4, 6, 9, 12, 20], count, p=[0.25, 0.15, 0.15, 0.2, 0.1, 0.1, 0.05])
    pictured = rng.random(count) < 0.8
    return np.minimum(text + pictured * (169 + 81 * crops), CAPACITY).tolist()


def windowed(lengths: list[int]) -> Packs:
    packs = []
    for start in range(0, len(lengths), WINDOW):
        packs += [[start + i for i in pack] for pack in best_fit(lengths[start : start + WINDOW], CAPACITY)]
    return packs


def next_fit(lengths: list[int]) -> Packs:
    """One open pack; what does not fit opens the next."""
    packs: Packs = [[]]
    free = CAPACITY
    for index, length in enumerate(lengths):
        if length > free:
            packs.append([])
            free = CAPACITY
        packs[-1].append(index)
        free -= length
    return packs


def first_fit(lengths: list[int]) -> Packs:
    """The oldest open pack with room; without one, a new pack is opened and, beyond `BINS`, the fullest closed."""
    closed: Packs = []
    packs: Packs = []
    free: list[int] = []
    for index, length in enumerate(lengths):
        position = next((place for place, room in enumerate(free) if room >= length), None)
        if position is None:
            if len(packs) == BINS:
                fullest = free.index(min(free))
                closed.append(packs.pop(fullest))
                free.pop(fullest)
            packs.append([index])
            free.append(CAPACITY - length)
        else:
            packs[position].append(index)
            free[position] -= length
    return closed + packs


def rows(rounds: int) -> list[Row]:
    lengths = vlm_lengths(COUNT)
    packers: dict[str, Callable[[list[int]], Packs]] = {
        "ours": windowed,
        "whole": lambda all_of_them: best_fit(all_of_them, CAPACITY),
        "next fit": next_fit,
        "first fit": first_fit,
    }
    efficiency = {}
    for name, packer in packers.items():
        packs = packer(lengths)
        assert sorted(i for pack in packs for i in pack) == list(range(COUNT)), name
        assert all(sum(lengths[i] for i in pack) <= CAPACITY for pack in packs), name
        efficiency[name] = 100 * sum(lengths) / (len(packs) * CAPACITY)

    def placed(packer: Callable[[list[int]], Packs]) -> int:
        return sum(map(len, packer(lengths)))

    timed = {name: partial(placed, packer) for name, packer in packers.items()}
    rates = {name: COUNT / seconds for name, seconds in race(timed, rounds).items()}
    contests = [
        (f"best_fit, windows of {WINDOW}", "ours", "next fit", "next fit, in order"),
        (f"best_fit, windows of {WINDOW}", "ours", "first fit", f"online first fit, {BINS} open packs"),
        ("best_fit, all at once", "whole", "first fit", f"online first fit, {BINS} open packs"),
    ]
    found = []
    for what, ours, peer, note in contests:
        found.append(Row(f"{what}: filled", efficiency[ours], efficiency[peer], "% of tokens", note))
        found.append(Row(what, rates[ours], rates[peer], "samples/cpu-s", note))
    return found
