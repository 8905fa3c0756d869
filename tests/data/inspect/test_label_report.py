"""Reports of label checks."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from step3vl.data.dataset.dataset import Dataset
from step3vl.data.inspect.card import write_card
from step3vl.data.inspect.label_report import LABEL_REPORT, LabelReport, TaskChecks, WrongLabel, interval


@given(st.integers(1, 500).flatmap(lambda checked: st.tuples(st.integers(0, checked), st.just(checked))))
def test_the_interval_is_that_of_scipy(counts: tuple[int, int]) -> None:
    expected = binomtest(*counts).proportion_ci(0.95, "wilson")
    assert interval(*counts) == pytest.approx((expected.low, expected.high), abs=1e-6)


def report(dataset: Dataset) -> LabelReport:
    example = WrongLabel(id="0" * 32, reason="count_differs", answer="7")
    checks = TaskChecks(right=98, wrong={"count_differs": 2}, unchecked={"no_check": 3}, examples=(example,))
    return LabelReport(dataset=dataset.fingerprint, samples=103, seed=0, tasks={"counting.icons": checks})


def test_the_card_shows_the_error_rate_of_labels(dataset: Dataset, tmp_path: Path) -> None:
    path = Path(dataset.url) / LABEL_REPORT
    assert LabelReport.load(dataset) is None
    try:
        report(dataset).save(dataset.files)
        write_card(dataset, tmp_path)
    finally:
        path.unlink()
    card = (tmp_path / "card.md").read_text()
    assert "| counting.icons | 100 | 2 | 2.0 % | 0.6 % to 7.0 % | count_differs 2 | no_check 3 |" in card
    assert "| counting.icons | count_differs | 00000000000000000000000000000000 | 7 |" in card


def test_a_report_of_other_samples_or_a_damaged_one_is_none(dataset: Dataset) -> None:
    path = Path(dataset.url) / LABEL_REPORT
    try:
        report(dataset).model_copy(update={"dataset": "another"}).save(dataset.files)
        assert LabelReport.load(dataset) is None
        path.write_text("{")
        assert LabelReport.load(dataset) is None
    finally:
        path.unlink()
