"""The ledger of a build."""

import json

from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.dataset.ledger import Ledger, LedgerStep


def test_steps_of_equal_name_are_added_up() -> None:
    ledger = Ledger.merge(
        [
            LedgerStep(name="b", read=3, kept=1, dropped={"x": 1}, failed={"ValueError": 1}),
            LedgerStep(name="a", read=1, kept=1),
            LedgerStep(name="b", read=2, kept=1, dropped={"x": 1}),
        ]
    )
    ledger.check()
    assert ledger.steps[1] == LedgerStep(name="b", read=5, kept=2, dropped={"x": 2}, failed={"ValueError": 1})


COUNTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 9), max_size=6)


@given(counts=st.lists(st.tuples(COUNTS, COUNTS), min_size=1, max_size=5), data=st.data())
def test_equal_counts_are_equal_bytes_in_whatever_order_they_arrive(
    counts: list[tuple[dict[str, int], dict[str, int]]], data: st.DataObject
) -> None:
    def step(dropped: dict[str, int], failed: dict[str, int]) -> LedgerStep:
        read = sum(dropped.values()) + sum(failed.values())
        return LedgerStep(name="s", read=read, kept=0, dropped=dropped, failed=failed)

    def shuffled(values: dict[str, int]) -> dict[str, int]:
        return dict(data.draw(st.permutations(list(values.items()))))

    steps = [step(*pair) for pair in counts]
    others = [step(*map(shuffled, pair)) for pair in data.draw(st.permutations(counts))]
    assert json.dumps(Ledger.merge(steps).to_json()) == json.dumps(Ledger.merge(others).to_json())
    assert steps[0].model_dump_json() == step(*map(shuffled, counts[0])).model_dump_json()
