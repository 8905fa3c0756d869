"""The names that a finished question cites, read back from its words."""

import re
from collections.abc import Sequence
from typing import TypeVar

from step3vl.pipelines.core.domain import Unchecked

_QUOTED = re.compile(r"\"([^\"]+)\"|“([^”]+)”")
_NUMBER = re.compile(r"(-?\d[\d.,]*\d|-?\d)")

MatchT = TypeVar("MatchT")


def names_in(names: Sequence[str], asked: str) -> list[str]:
    """The names that a question has, in its order.

    A question that quotes any of them quotes all that it means. A name that is a part of another one counts by itself
    only.
    """
    quoted = [first or second for first, second in _QUOTED.findall(asked)]
    if cited := [text for text in quoted if text in names]:
        return cited
    rest, places = _QUOTED.sub(lambda match: " " * len(match[0]), asked), []  # other names, or words to answer with
    for name in sorted(names, key=len, reverse=True):
        match = re.search(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", rest)
        if match:
            places.append((match.start(), name))
            rest = rest[: match.start()] + " " * len(match[0]) + rest[match.end() :]
    return [name for _, name in sorted(places)]


def numbers_in(asked: str, names: Sequence[str] = ()) -> list[str]:
    """The numbers in a question that are no part of the names in it, as they are written."""
    for name in sorted(names, key=len, reverse=True):
        asked = asked.replace(name, " ")
    return [number.rstrip(".,") for number in _NUMBER.findall(asked)]


def single(matches: Sequence[MatchT]) -> MatchT:
    """The only match. Raises Unchecked where there are none or several."""
    if len(matches) != 1:
        raise Unchecked("not_named")
    return matches[0]


def two_of(names: Sequence[str], asked: str) -> tuple[str, str]:
    """The two names in a question, in its order. Raises Unchecked where it has another number of them."""
    cited = names_in(names, asked)
    if len(cited) != 2:
        raise Unchecked("not_named")
    return cited[0], cited[1]
