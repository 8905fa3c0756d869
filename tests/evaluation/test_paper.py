"""The report's tables as data, and how runs are marked that differ from the report's."""

from dataclasses import replace

import pytest

from step3vl.evaluation.paper import (
    departures,
    domain,
    lower_is_better,
    paper_numbers,
    paper_tables,
    paper_title,
    paper_value,
)
from step3vl.evaluation.registry import load_benchmark
from step3vl.evaluation.runner import PAPER_SAMPLING


def test_the_tables_have_the_rows_and_columns_of_the_report() -> None:
    tables = paper_tables()["tables"]
    assert [(len(table["rows"]), len(table["models"])) for table in tables] == [(55, 5), (17, 5), (51, 6)]
    for table in tables:
        assert all(len(row["values"]) == len(table["models"]) for row in table["rows"])
        assert len({row["benchmark"] for row in table["rows"]}) == len(table["rows"])


@pytest.mark.parametrize(
    ("title", "pacore", "value"),
    [
        ("MMMU", False, 78.11),
        ("MMMU", True, 80.11),
        ("MathVision", True, 75.95),
        ("DynaMath", False, 56.39),
        ("AIME 2025", True, 94.43),
        ("ZeroBench (main)", False, 1.0),
        ("OmniDocBench", False, 21.51),
        ("IFBench", False, 43.28),
        ("V*", True, 84.29),
        ("OSWorld-G", True, None),
        ("GSM8K", False, None),
    ],
)
def test_values_are_those_that_the_report_prints(title: str, pacore: bool, value: float | None) -> None:
    assert paper_value(title, pacore) == value


def test_sequential_numbers_of_the_first_tables_are_those_of_the_third() -> None:
    first, second, third = paper_tables()["tables"]
    earlier = {row["benchmark"]: row["values"][0] for table in (first, second) for row in table["rows"]}
    different = {row["benchmark"] for row in third["rows"] if earlier[row["benchmark"]] != row["values"][0]}
    assert different == {"M3GIA"}, "78.36 and 78.33 in the report itself"


def test_quoted_and_doubtful_cells_are_marked() -> None:
    assert [number.model for number in paper_numbers("OSWorld-G") if number.quoted] == ["Qwen3-VL-Thinking 8B"]
    assert [number.value for number in paper_numbers("BeyondAIME") if number.doubtful] == [66.56]


def test_titles_are_matched_where_one_row_fits() -> None:
    assert paper_title("dynamath (worst-case)") == "DynaMath"
    assert paper_title("CC-OCR") == "CC-OCR (Multi-Lang)"
    assert paper_title("ZeroBench") is None, "main or sub?"
    assert domain("MMMU") == "STEM"
    assert domain("GSM8K") == ""
    assert lower_is_better("OmniDocBench")
    assert not lower_is_better("GSM8K")


def test_a_run_is_marked_where_it_differs(toy) -> None:
    settings = {"sampling": PAPER_SAMPLING.model_dump(mode="json"), "pacore": None}
    run = {"settings": settings, "repeats": 2}
    metrics = {"items": 6, "items_of_release": 6, "missing": 0}
    assert departures(toy.about, run, metrics) == []
    settings = {"sampling": {**settings["sampling"], "temperature": 0.0}, "pacore": None}
    metrics_of_less = {"items": 5, "items_of_release": 6, "missing": 3}
    assert departures(toy.about, {"settings": settings, "repeats": 1}, metrics_of_less) == [
        "temperature 0.0, not 1.0",
        "1 responses to an item, not 2",
        "5 of 6 items",
        "3 responses missing",
    ]
    assert departures(toy.about, {}, metrics) == ["recorded outputs: settings unknown"]
    few = {"settings": {"pacore": {"rounds": [4]}}, "repeats": 1}
    assert departures(toy.about, few, metrics) == ["PaCoRe with 4 rollouts, not 16"]
    assert departures(replace(toy.about, title="GSM8K"), run, {**metrics, "items": 5}) == ["5 of 6 items"]


def test_a_judge_that_failed_is_a_mark() -> None:
    about = load_benchmark("imo-answerbench").about
    judge = {"model": about.judge, "requests": 5, "failed": 2}
    metrics = {"items": 400, "items_of_release": 400, "missing": 0}
    marks = departures(about, {"judge": judge}, metrics)
    assert "2 of 5 requests to the judge failed, whose responses count as wrong; the same command asks again" in marks
    assert not any("judge" in mark for mark in departures(about, {"judge": {**judge, "failed": 0}}, metrics))
