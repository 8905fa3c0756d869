"""Which of several options a number of a row names."""

from collections.abc import Sequence
from typing import Any


def whole(value: Any) -> Any:
    """3 for 3.0, which pandas writes in a column that has gaps; all else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def options_of_number(value: Any, options: Sequence[Any]) -> set[int]:
    """The options that an integer may name: by its index from 0, and as the number that an option is.

    Args:
        value: What the row says, see `whole`; nothing but an integer names an option here.
        options: As the row has them: only those that are numbers are named by one.
    """
    named: set[int] = set()
    if isinstance(value, int) and not isinstance(value, bool):
        if 0 <= value < len(options):
            named.add(value)
        if value in options:
            named.add(options.index(value))
    return named
