import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.dataset import DROPPED, DeadLetter, Ledger, LedgerStep
from step3vl.data.errors import UserError
from step3vl.pipelines.core.accounts import (
    InputTotal,
    Report,
    check_early,
    check_failures,
    check_ledger,
    first_examples,
)


def dead(source: str, error: str = "TypeError", step: str = "a.build") -> DeadLetter:
    return DeadLetter(step=step, error=error, reason=f"cannot read {source}", source=source)


def step(name: str, read: int, emitted: int, **failed: int) -> LedgerStep:
    return LedgerStep(name=name, read=read, kept=read - sum(failed.values()), failed=failed, emitted=emitted)


REPORTS = st.builds(
    Report,
    accounts=st.lists(st.builds(step, st.sampled_from("ab"), st.integers(0, 9), st.integers(0, 9)), max_size=2),
    examples=st.lists(st.builds(dead, st.sampled_from("xyz"), st.sampled_from(["E", "F"])), max_size=1),
    inputs=st.dictionaries(
        st.sampled_from("ab"),
        st.builds(InputTotal, count=st.integers(0, 9), content=st.sampled_from(["", "1", "f" * 32])),
        max_size=2,
    ),
    text_bytes=st.integers(0, 9),
)


@given(st.lists(REPORTS, max_size=6), st.randoms(use_true_random=False), st.integers(0, 6))
def test_the_sum_of_reports_does_not_depend_on_order_or_grouping(
    reports: list[Report], random: object, cut: int
) -> None:
    total = Report.merge(reports)
    shuffled = list(reports)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert (Report.merge(shuffled[:cut]) + Report.merge(shuffled[cut:])).model_dump_json() == total.model_dump_json()


def test_the_examples_are_of_failed_records_one_of_each_type() -> None:
    records = [dead("b"), dead("a"), dead("c", "ImageError"), dead("0", DROPPED)]
    assert [(example.error, example.source) for example in first_examples(records)] == [
        ("ImageError", "c"),
        ("TypeError", "a"),
    ]


def test_a_step_beyond_its_budget_is_refused_with_every_reason() -> None:
    report = Report(
        accounts=(step("a.build", 100, 94, TypeError=4, ImageError=2), step("b.build", 100, 100)),
        examples=(dead("a/1"), dead("a/2", "ImageError")),
    )
    check_failures(report, 0.06)
    message = r"a\.build: 6 of 100 records failed, and failure_budget allows 0\.05"
    with pytest.raises(UserError, match=message) as raised:
        check_failures(report, 0.05)
    assert "4 TypeError, such as a/1: cannot read a/1; 2 ImageError, such as a/2: cannot read a/2" in str(raised.value)


def test_a_step_all_of_whose_records_failed_says_so() -> None:
    report = Report(accounts=(step("a.build", 3, 0, TypeError=3),), examples=(dead("a/0"),))
    with pytest.raises(UserError, match=r"a\.build: all 3 records failed.*TypeError, such as a/0: cannot read a/0"):
        check_failures(report, 0.05)


def test_a_step_that_mostly_fails_is_stopped_early_but_not_at_its_first_records() -> None:
    check_early(Report(accounts=(step("a", 199, 0, E=199),)), 0.05)
    check_early(Report(accounts=(step("a", 400, 200, E=200),)), 0.05)
    with pytest.raises(UserError, match="201 of 400"):
        check_early(Report(accounts=(step("a", 400, 199, E=201),)), 0.05)
    check_early(Report(accounts=(step("a", 400, 50, E=350),)), 0.9)


CHAIN = [["pages", "pages.open", "pages.build"], ["sums", "sums.build"]]
INPUTS = {"pages": InputTotal(count=2), "sums": InputTotal(count=5)}
SOUND = {
    "pages.open": step("pages.open", 2, 7),
    "pages.build": step("pages.build", 7, 9, E=1),
    "sums.build": step("sums.build", 5, 5),
    "tokens": step("tokens", 14, 13, E=1),
    "shards": step("shards", 13, 13),
}


def test_what_every_step_emits_is_what_the_next_one_reads() -> None:
    check_ledger(Ledger.merge(SOUND.values()), CHAIN, INPUTS)
    check_ledger(Ledger(), [["pages", "pages.open"]], {})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (step("pages.open", 1, 7), "the inputs of pages emitted 2 records but step pages.open read 1"),
        (step("pages.build", 6, 9), "step pages.open emitted 7 records but step pages.build read 6"),
        (step("tokens", 13, 13), "the domains emitted 14 records but step tokens read 13"),
        (step("shards", 12, 12), "step tokens emitted 13 records but step shards read 12"),
        (LedgerStep(name="shards", read=13, kept=12), r"do not reconcile in shards \(\+1 of 13\)"),
    ],
)
def test_records_that_are_lost_between_steps_are_noticed(changed: LedgerStep, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_ledger(Ledger.merge({**SOUND, changed.name: changed}.values()), CHAIN, INPUTS)


def test_a_step_that_is_missing_read_nothing() -> None:
    steps = [step for name, step in SOUND.items() if name != "pages.build"]
    with pytest.raises(ValueError, match=r"step pages\.open emitted 7 records but step pages\.build read 0"):
        check_ledger(Ledger.merge(steps), CHAIN, INPUTS)
