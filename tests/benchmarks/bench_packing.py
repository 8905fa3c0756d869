"""Packing: best fit decreasing beside the two packers that most loaders use, written out in plain Python."""

from collections.abc import Callable
from functools import partial

import numpy as np
from measure import Row, race

from step3vl.data.plan import WINDOW as PLANNED
from step3vl.data.plan import best_fit

CAPACITY = 4096
COUNT = 200_000
WINDOW = 1000
BINS = 64  # packs that the online packer keeps open

Packs = np.ndarray  # the pack of each sample


def vlm_lengths(count: int, seed: int = 0) -> list[int]:
    """Tokens of samples of a released-size model: text, and often a global view of 169 with crops of 81.

    The mean is 1,100.
    """
    rng = np.random.default_rng(seed)
    text = rng.lognormal(6.03, 0.9, count).astype(int) + 16
    crops = rng.choice([0, 2, 4, 6, 9, 12, 20], count, p=[0.25, 0.15, 0.15, 0.2, 0.1, 0.1, 0.05])
    with_images = rng.random(count) < 0.8
    return np.minimum(text + with_images * (169 + 81 * crops), CAPACITY).tolist()


def windowed(lengths: np.ndarray, window: int) -> Packs:
    packs, first = [], 0
    for start in range(0, len(lengths), window):
        packs.append(best_fit(lengths[start : start + window], CAPACITY) + first)
        first = int(packs[-1].max()) + 1
    return np.concatenate(packs)


def next_fit(lengths: np.ndarray) -> Packs:
    """One open pack; what does not fit opens the next."""
    packs, pack, free = [], 0, CAPACITY
    for length in lengths.tolist():
        if length > free:
            pack, free = pack + 1, CAPACITY
        packs.append(pack)
        free -= length
    return np.array(packs)


def first_fit(lengths: np.ndarray) -> Packs:
    """The oldest open pack with room; without one, a new pack is opened and, beyond `BINS`, the fullest closed."""
    packs, opened = [], 0
    numbers: list[int] = []
    free: list[int] = []
    for length in lengths.tolist():
        position = next((place for place, room in enumerate(free) if room >= length), None)
        if position is None:
            if len(free) == BINS:
                fullest = free.index(min(free))
                numbers.pop(fullest)
                free.pop(fullest)
            position = len(free)
            numbers.append(opened)
            free.append(CAPACITY)
            opened += 1
        packs.append(numbers[position])
        free[position] -= length
    return np.array(packs)


def rows(rounds: int) -> list[Row]:
    lengths = np.array(vlm_lengths(COUNT))
    packers: dict[str, Callable[[np.ndarray], Packs]] = {
        "ours": lambda lengths: windowed(lengths, WINDOW),
        "plan": lambda lengths: windowed(lengths, PLANNED),
        "whole": lambda lengths: best_fit(lengths, CAPACITY),
        "next fit": next_fit,
        "first fit": first_fit,
    }
    efficiency = {}
    for name, packer in packers.items():
        loads = np.bincount(packer(lengths), lengths)
        assert 0 < loads.min() <= loads.max() <= CAPACITY, name
        assert loads.sum() == lengths.sum(), name
        efficiency[name] = 100 * loads.sum() / (len(loads) * CAPACITY)

    def placed(packer: Callable[[np.ndarray], Packs]) -> int:
        return len(packer(lengths))

    timed = {name: partial(placed, packer) for name, packer in packers.items()}
    rates = {name: COUNT / seconds for name, seconds in race(timed, rounds).items()}
    contests = [
        (f"best_fit, windows of {WINDOW}", "ours", "next fit", "next fit, in order"),
        (f"best_fit, windows of {WINDOW}", "ours", "first fit", f"online first fit, {BINS} open packs"),
        (f"best_fit, windows of {PLANNED}, as Plan", "plan", "first fit", f"online first fit, {BINS} open packs"),
        ("best_fit, all at once", "whole", "first fit", f"online first fit, {BINS} open packs"),
    ]
    table = []
    for what, ours, peer, note in contests:
        table.append(Row(f"{what}: filled", efficiency[ours], efficiency[peer], "% of tokens", note))
        table.append(Row(what, rates[ours], rates[peer], "samples/cpu-s", note))
    return table
