"""What the benchmarks of counting share: a number, compared exactly."""

from typing import Any

from step3vl.evaluation.benchmark import Benchmark, Rule
from step3vl.evaluation.extraction.counts import read_count
from step3vl.evaluation.item import Item, Score


class Counting(Benchmark):
    """A benchmark whose answers are counts. There is one rule: the number must be the same."""

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        number = read_count(response)
        if number is None:
            return Score.unparsable("no number")
        return Score.of(number == float(item.answer), f"{number:g}", "number")


def as_count(value: Any) -> int | None:
    """An official count as a number; None where it is none."""
    try:
        return int(float(str(value).strip().replace(",", "")))
    except ValueError:
        return None
