"""Tables in HTML and Markdown: their normal form, and TEDS."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from step3vl.evaluation.documents.json_fields import count_fields, field_differences, json_accuracy
from step3vl.evaluation.documents.markdown import read_blocks
from step3vl.evaluation.documents.tables import cell_texts, normal_table, teds


def _table(*rows: tuple[str, ...]) -> str:
    cells = ("".join(f"<td>{cell}</td>" for cell in row) for row in rows)
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"


def test_a_table_is_normalised() -> None:
    source = (
        '<table class="x"><thead><tr><th align="left">A&amp;B</th></tr></thead><tbody>\n'
        '<tr><td style="color:red" colspan=2><span>1</span><br><sup>2</sup></td></tr></tbody></table>'
    )
    assert normal_table(source) == (
        '<html><body><table border="1" ><tr><td>A&B</td></tr><tr><td colspan="2">1<br/>2</td></tr></table>'
        "</body></html>"
    )
    assert normal_table("no table") == ""


def test_formulas_in_mathml_become_their_alternative_text() -> None:
    assert "<td>$x^2$</td>" in normal_table('<table><tr><td><math alttext="x^2"><mi>x</mi></math></td></tr></table>')


def test_cells_that_are_never_closed_are_closed() -> None:
    assert normal_table("<table><tr><td>1<td>2</tr></table>").count("</td>") == 2


def test_teds_by_hand() -> None:
    truth = normal_table(_table(("1", "2"), ("3", "4")))
    assert teds(truth, truth) == 1
    # One of four contents differs in its only character: one of six nodes.
    assert teds(normal_table(_table(("1", "2"), ("3", "5"))), truth) == pytest.approx(1 - 1 / 6)
    assert teds(normal_table(_table(("1", "2"), ("3", "5"))), truth, structure_only=True) == 1
    # A row of three nodes is missing.
    assert teds(normal_table(_table(("1", "2"))), truth) == pytest.approx(1 - 3 / 6)
    assert teds("", truth) == 0


def test_a_span_that_is_no_number_scores_nothing() -> None:
    broken = normal_table('<table><tr><td colspan="a">1</td></tr></table>')
    assert teds(broken, normal_table(_table(("1",)))) == 0


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(st.text("ab1 ", max_size=3), min_size=1, max_size=3), min_size=1, max_size=3))
def test_teds_is_a_similarity(rows: list[list[str]]) -> None:
    table, other = normal_table(_table(*map(tuple, rows))), normal_table(_table(("a", "b")))
    assert teds(table, table) == 1
    assert 0 <= teds(table, other) <= 1
    assert teds(table, other) == pytest.approx(teds(other, table))


@settings(max_examples=50)
@given(st.text("<>/tabler dh\"='&;", max_size=80))
def test_normalising_never_raises(text: str) -> None:
    normal_table(f"<table{text}</table>")
    cell_texts(text)


def test_rows_of_markdown_become_one_table() -> None:
    page = "Before\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\nAfter"
    tables = [block for block in read_blocks(page) if block.kind == "html table"]
    assert len(tables) == 1
    assert cell_texts(tables[0].text) == ["a", "b", "1", "2"]


def test_fields_of_json_are_counted() -> None:
    assert count_fields({"a": 1, "b": {"c": None, "d": [3, {"e": 4}]}}) == 4


@pytest.mark.parametrize(
    ("expected", "predicted", "differences"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 2}, 0),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, 1),
        ({"a": 1}, {"a": 1, "b": {"c": 1, "d": 2}}, 2),
        ({"a": [1, 2, 3]}, {"a": [3, 1, 2]}, 0),
        ({"a": [1, 2]}, {"a": [1, 5]}, 2),
        ({"a": [{"b": 1, "c": 2}, {"b": 3, "c": 4}]}, {"a": [{"b": 3, "c": 4}, {"b": 1, "c": 5}]}, 1),
        ({"a": [1, 2, 3]}, {"a": None}, 3),
        ({"a": None}, {"a": {"b": 1, "c": 2}}, 2),
        ({"a": True}, {"a": 1}, 1),
    ],
)
def test_fields_that_differ_are_counted(expected: dict, predicted: dict, differences: int) -> None:
    assert field_differences(expected, predicted) == differences


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=2), children, max_size=3),
    max_leaves=8,
)


@given(_JSON, _JSON)
def test_accuracy_of_json_is_a_share(expected: object, predicted: object) -> None:
    assert 0 <= json_accuracy(expected, predicted) <= 1
    assert json_accuracy(expected, expected) == 1
