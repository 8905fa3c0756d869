"""The ledger of a build."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from step3vl.data.dataset.ledger import DeadLetter, Ledger, LedgerStep


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


def test_steps_of_several_datasets_stay_in_the_order_of_their_records() -> None:
    def steps(*names: str) -> list[LedgerStep]:
        return [LedgerStep(name=name, read=1, kept=1) for name in names]

    converted, built = steps("convert", "tokens", "shards"), steps("pages.read", "tokens", "shards")
    ledger = Ledger.join([converted, built])
    assert [(step.name, step.read) for step in ledger.steps] == [
        ("pages.read", 1), ("convert", 1), ("tokens", 2), ("shards", 2),
    ]  # fmt: skip
    twice = steps("convert", "curate.read", "curate.near", "curate.read", "curate.near")
    assert Ledger.join([twice]).steps == tuple(twice)
    assert [step.read for step in Ledger.join([twice, twice[:3]]).steps] == [2, 2, 2, 1, 1]


def test_step_emits_what_it_keeps_unless_it_says_otherwise() -> None:
    kept = LedgerStep(name="s", read=3, kept=2, dropped={"x": 1})
    assert kept.emitted == 2 and kept == LedgerStep(name="s", read=3, kept=2, dropped={"x": 1}, emitted=2)
    assert LedgerStep.model_validate({"name": "s", "read": 3, "kept": 2, "dead": {"ValueError": 1}}).emitted == 2
    pages = LedgerStep(name="s", read=1, kept=1, emitted=40)
    assert (kept + pages).emitted == 42 and (kept + pages).balance == 0
    assert LedgerStep.model_validate_json(pages.model_dump_json()) == pages
    with pytest.raises(ValidationError, match="kept"):
        LedgerStep.model_validate({"name": "s", "read": 3})


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


def test_a_failed_record_whose_text_is_not_unicode_has_an_account_that_is() -> None:
    dead_letter = DeadLetter.from_error(ValueError("bad \ud800"), step="s", source="\udcff.pdf")
    assert (dead_letter.reason, dead_letter.source) == ("bad \\ud800", "\\udcff.pdf")
    assert DeadLetter.model_validate_json(dead_letter.model_dump_json()) == dead_letter
