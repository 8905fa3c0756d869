"""Wrong answers that one could take for the right one."""

import random
from collections.abc import Sequence
from decimal import Decimal

from step3vl.pipelines.sources.tables.data_tables import format_decimal


def shuffled(texts: Sequence[str], rng: random.Random) -> tuple[str, ...]:
    """Texts in another order."""
    return tuple(rng.sample(texts, len(texts)))


def near_counts(count: int, rng: random.Random) -> tuple[str, ...]:
    """Other counts, one to three away."""
    return shuffled([str(count + shift) for shift in (-2, -1, 1, 2, 3) if count + shift >= 0], rng)


def near_numbers(number: Decimal, rng: random.Random) -> tuple[str, ...]:
    """Other numbers of the same sign and of as many decimals, not far away."""
    exponent = number.normalize().as_tuple().exponent
    unit = Decimal(10) ** min(exponent if isinstance(exponent, int) else 0, 1)
    spread = max(unit, (abs(number) / 10).quantize(unit))
    shifts = [spread, -spread, 2 * spread, -2 * spread, unit * rng.randint(1, 3), -unit * rng.randint(1, 3)]
    near = [number + shift for shift in rng.sample(shifts, len(shifts))]
    return tuple(format_decimal(value) for value in near if (value >= 0) == (number >= 0) and value != number)
