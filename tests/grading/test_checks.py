"""Checks of transcribed pages."""

import pytest
from pydantic import ValidationError

from step3vl.data.sample import AbsentCheck, CellCheck, ChecksTruth, OrderCheck, PageCheck, PresentCheck
from step3vl.grading import Grade, grade_answer
from step3vl.grading.checks import read_tables

HTML = """Prices of 2026

<table>
<tr><td rowspan="2">Fruit</td><td colspan="2">Price &amp; weight</td></tr>
<tr><td>€</td><td>kg</td></tr>
<tr><td>Apple</td><td>2.10</td><td>1</td></tr>
<tr><td><b>Pear</b></td><td>3.40</td><td>2</td></tr>
</table>
"""
MARKDOWN = """Prices of 2026

| Fruit | € | kg |
|:------|--:|---:|
| Apple | 2.10 | 1 |
| Pear | 3.40 | 2 |
"""


def passes(check: PageCheck, answer: str) -> bool:
    grade = grade_answer(ChecksTruth(checks=(check,)), answer)
    assert grade in (Grade(1.0, "correct"), Grade(0.0, "wrong"))
    return grade.verdict == "correct"


@pytest.mark.parametrize("text", ["Prices of 2026", "prices  OF\n2026", "**Prices** of “2026”"])
def test_a_text_is_found_whatever_its_case_spaces_and_marks(text: str) -> None:
    assert passes(PresentCheck(text="Prices of 2026."), text)
    assert not passes(AbsentCheck(text="Prices of 2026."), text)
    assert not passes(PresentCheck(text="Prices of 2025"), text)


def test_order_asks_for_both_and_for_the_first_to_come_first() -> None:
    check = OrderCheck(first="left column", second="right column")
    assert passes(check, "The left column, then the right column.")
    assert not passes(check, "The right column, then the left column.")
    assert not passes(check, "The left column alone.")


@pytest.mark.parametrize("answer", [HTML, MARKDOWN], ids=["HTML", "Markdown"])
def test_a_cell_is_known_by_its_neighbours(answer: str) -> None:
    assert passes(CellCheck(cell="2.10", left="Apple", below="3.40"), answer)
    assert passes(CellCheck(cell="Pear", above="Apple", right="3.40"), answer)
    assert not passes(CellCheck(cell="2.10", left="Pear"), answer)
    assert not passes(CellCheck(cell="3.40", below="2.10"), answer)
    assert not passes(CellCheck(cell="2.10", left="Apple"), "Apple 2.10 Pear 3.40")


def test_a_cell_that_spans_is_at_each_of_its_places() -> None:
    (table,) = read_tables(HTML)
    assert table[0, 0] == table[1, 0] == "fruit"
    assert table[0, 1] == table[0, 2] == "priceweight"
    assert table[1, 1] == "" and table[1, 2] == "kg"
    assert table[3, 0] == "pear"


def test_the_grade_is_the_share_of_checks_that_pass() -> None:
    checks = (
        PresentCheck(text="one"),
        PresentCheck(text="two"),
        PresentCheck(text="three"),
        PresentCheck(text="four"),
    )
    assert grade_answer(ChecksTruth(checks=checks), "one two three") == Grade(0.75, "wrong")
    assert grade_answer(ChecksTruth(checks=checks), "one two three four") == Grade(1.0, "correct")
    assert grade_answer(ChecksTruth(checks=checks), "  ").verdict == "unparsable"


def test_a_cell_without_neighbours_is_refused() -> None:
    with pytest.raises(ValidationError, match="has no neighbour"):
        CellCheck(cell="a")
    with pytest.raises(ValidationError):
        ChecksTruth(checks=())


@pytest.mark.parametrize(
    "answer", ["<table><tr><td rowspan=50 colspan=50>a" * 2000, "<td>" * 15_000, "|" * 60_000, "|a\n" * 20_000]
)
def test_a_hostile_table_is_bounded(answer: str) -> None:
    assert sum(len(table) for table in read_tables(answer)) < 60_000
