"""Packing: which samples share a sequence, and how a sample longer than a sequence is cut."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


def best_fit(lengths: Sequence[int] | np.ndarray, capacity: int) -> np.ndarray:
    """Assign samples to packs by best fit decreasing.

    Longest first, each sample goes into the open pack that it fills best. Bit `s` of one big integer says that a pack
    with `s` free tokens exists, so the best fit is the lowest set bit at or above the need. Samples of one length are
    placed together: a pack that was the best fit for one of them remains it for the next. The result is a pure
    function of the input.

    Args:
        lengths: Tokens of each sample, int [n].
        capacity: Tokens that fit a pack.

    Returns:
        The pack of each sample, int64 [n], numbered from 0.

    Raises:
        ValueError: A length is not in 1..`capacity`.
    """
    needs = np.asarray(lengths, np.int64)
    if not len(needs):
        return np.empty(0, np.int64)
    for extreme in (int(needs.min()), int(needs.max())):
        if not 0 < extreme <= capacity:
            raise ValueError(f"length {extreme} does not fit a capacity of {capacity}")
    order = np.argsort(-needs, kind="stable")
    falling = needs[order]
    starts = np.flatnonzero(np.diff(falling, prepend=0))
    counts = np.diff(starts, append=len(falling))
    placed: list[int] = []  # packs of the samples in falling order
    by_free: dict[int, list[int]] = {}
    free, packs = 0, 0
    for need, count in zip(falling[starts].tolist(), counts.tolist(), strict=True):
        while count:
            fitting = free >> need
            if fitting:
                space = need + (fitting & -fitting).bit_length() - 1
                group = by_free[space]
            else:
                space, each = capacity, capacity // need
                group = list(range(packs, packs + -(-count // each)))
                packs += len(group)
            if count == 1:  # most lengths of a small window
                used, taken = [group.pop()], 1
                placed.append(used[0])
            else:
                taken = min(space // need, count)
                number = min(len(group), count // taken)
                used = group[-number:]
                del group[-number:]
                placed += used if taken == 1 else [pack for pack in used for _ in range(taken)]
            count -= taken * len(used)
            left = space - taken * need
            if fitting and not group:
                free &= ~(1 << space)
            elif not fitting and group:  # opened for more of this length than are left over now
                by_free.setdefault(space, []).extend(group)
                free |= 1 << space
            if left:
                by_free.setdefault(left, []).extend(used)
                free |= 1 << left
    result = np.empty(len(needs), np.int64)
    result[order] = placed
    return result


class PackPiece(NamedTuple):
    """A slice of a sample that is longer than a pack: its tokens from `begin` to `end`, at most `length` of them.

    An end that falls inside an image moves to the front of it, so a piece may be a little shorter than planned.
    """

    begin: int
    end: int
    length: int


def cut(length: int, image: int, capacity: int) -> list[PackPiece]:
    """Cut a long sample into pieces, none of which exceeds a pack wherever the images are.

    Args:
        length: Tokens of the sample.
        image: Tokens of its largest image, 0 without images.
        capacity: Tokens that fit a pack.

    Returns:
        The pieces in order; none when an image takes more than half of a pack.
    """
    slack = max(image - 1, 0)  # how far an end can move to the front
    stride = capacity - slack
    if image > stride:
        return []
    pieces = []
    for begin in range(0, length, stride):
        longest = min(begin + stride, length) - begin + (slack if begin else 0)
        pieces.append(PackPiece(begin, min(begin + stride, length), longest))
    return pieces
