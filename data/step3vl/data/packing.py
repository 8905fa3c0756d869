"""Packing: which samples share a sequence. Best fit decreasing, with a bitmap of free space."""

from collections.abc import Sequence

import numpy as np


def best_fit(lengths: Sequence[int] | np.ndarray, capacity: int) -> list[list[int]]:
    """Group the indices of `lengths` into packs of at most `capacity`.

    Longest first, each into the open pack that it fills best. Bit `s` of one big integer says that a pack with `s`
    free exists, so the best fit is the lowest set bit at or above the need. Ties keep the order of arrival, so the
    result is a pure function of the input. Raises ValueError for a length that can never fit.
    """
    order = np.argsort(-np.asarray(lengths, np.int64), kind="stable").tolist()
    packs: list[list[int]] = []
    by_free: dict[int, list[int]] = {}
    free = 0
    for index in order:
        need = int(lengths[index])
        if not 0 < need <= capacity:
            raise ValueError(f"length {need} does not fit a capacity of {capacity}")
        fitting = free >> need
        if fitting:
            space = need + (fitting & -fitting).bit_length() - 1
            group = by_free[space]
            pack = group.pop()
            if not group:
                free &= ~(1 << space)
        else:
            space, pack = capacity, len(packs)
            packs.append([])
        packs[pack].append(index)
        left = space - need
        if left:
            by_free.setdefault(left, []).append(pack)
            free |= 1 << left
    return packs
