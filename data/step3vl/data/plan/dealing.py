"""Which node reads which packs: canonical partitions of a plan, shared out to the nodes that are there.

Pack n of a plan comes from one of P canonical partitions of its source, each of which has shards of its own. P belongs
to the plan, so the sequence of packs is the same for any number of nodes, ranks and workers; the nodes only decide who
reads what. The rule:

- `partition_order` says from which partition each pack comes. P packs that follow each other have every partition
  once, and so has every aligned part of them its share: with P = 64, packs 8k to 8k + 7 come from partitions with
  different remainders by 8. Within that the order is seeded by the position, or else two sources that take turns would
  go to two nodes.
- Of N nodes, node j is home of the partitions whose remainder by N is j. Where there are more nodes than partitions,
  those with the same remainder by P share one.
- `deal` gives each node the same number of the packs that are next: those that it is home of, in order, and what
  exceeds its part goes to nodes that have too few. Where N divides P, and is a product of its smallest prime factors
  (for 64 any power of two), nothing ever exceeds. Otherwise some packs are read away from home: of 64 partitions, with
  eight ranks a node, 3 % at 3 or 6 nodes and 17 % at 48.
"""

from collections.abc import Sequence
from functools import cache, lru_cache

import numpy as np

PARTITIONS = 64
"""Canonical partitions of a plan, by default."""


@lru_cache(maxsize=256)
def partition_order(number: int, partitions: int) -> tuple[int, ...]:
    """The partitions of packs `number` * P to `number` * P + P - 1: each of 0 to P - 1 once.

    It is a nested permutation: of the digits of a pack's number in the prime factors of P, each is shifted by a hash
    of the digits above it.
    """
    rest = np.arange(number * partitions, (number + 1) * partitions, dtype=np.uint64)
    order, unit = np.zeros(partitions, np.uint64), 1
    for factor in _prime_factors(partitions):
        rest, digit = np.divmod(rest, np.uint64(factor))
        order += np.uint64(unit) * ((digit + _hash(rest, unit)) % np.uint64(factor))
        unit *= factor
    return tuple(order.tolist())


def partition_of(pack: int, partitions: int) -> int:
    """The partition that a pack of the plan comes from."""
    number, position = divmod(pack, partitions)
    return partition_order(number, partitions)[position]


def homes(partition: int, partitions: int, nodes: int) -> range:
    """The nodes that are home of a partition: one, or those that share it."""
    return range(partition % nodes, nodes, partitions)


def deal(packs: Sequence[int], partitions: int, nodes: int) -> list[list[int]]:
    """Share the next packs of a plan among nodes, each of which gets the same number.

    Args:
        packs: The partition of each pack.
        partitions: Canonical partitions of the plan.
        nodes: Number of nodes; it divides the number of packs.

    Returns:
        For each node the positions of its packs, ascending.
    """
    part, remainder = divmod(len(packs), nodes)
    if remainder:
        raise ValueError(f"{len(packs)} packs cannot be shared equally among {nodes} nodes")
    dealt: list[list[int]] = [[] for _ in range(nodes)]
    left = []
    for position, partition in enumerate(packs):
        node = min(homes(partition, partitions, nodes), key=lambda node: len(dealt[node]))
        if len(dealt[node]) < part:
            dealt[node].append(position)
        else:
            left.append(position)
    if left:
        few = (node for node in range(nodes) for _ in range(part - len(dealt[node])))
        for node, position in zip(list(few), left, strict=True):
            dealt[node].append(position)
    return [sorted(positions) for positions in dealt]


def divided(partitions: int, samples: int, least: int) -> int:
    """Into how many partitions so many samples are divided: the largest divisor of P that leaves `least` for each.

    Partition q of the plan then reads part q mod this number.
    """
    divisors = (parts for parts in range(partitions, 1, -1) if partitions % parts == 0)
    return next((parts for parts in divisors if parts * least <= samples), 1)


def _hash(values: np.ndarray, unit: int) -> np.ndarray:
    """32 bits that look random for each value, uint64 [n], in the manner of splitmix64: products wrap."""
    mixed = values * np.uint64(0x9E3779B97F4A7C15) + np.uint64(unit * 0xBF58476D1CE4E5B9 % 2**64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0x94D049BB133111EB)
    return mixed >> np.uint64(32)


@cache
def _prime_factors(number: int) -> tuple[int, ...]:
    """The prime factors, ascending."""
    factors, factor = [], 2
    while number > 1:
        while number % factor == 0:
            factors.append(factor)
            number //= factor
        factor += 1
    return tuple(factors)
