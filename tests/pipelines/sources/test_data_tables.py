"""Tables and graphs in labels: what is one, what is none, and the numbers in them."""

import csv
import io
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.pipelines.sources.tables.data_tables import format_decimal, graph_of, parse_number, tables_of

CSV = "City,North,South\nLima,1.5,20\nOslo,2,-3"
MARKDOWN = (
    "Some words.\n\n| City | North | South |\n| --- | ---: | :-- |\n| Lima | 1.5 | 20 |\n| Oslo | 2 | −3 |\n\nMore."
)
HTML = (
    "<p>x</p><table><tr><th>City</th><th>North</th><th>South</th></tr><tr><td>Lima</td><td>1.5</td><td>20</td></tr>"
    "<tr><td>Oslo</td><td>2</td><td>-3</td></tr></table>"
)


@pytest.mark.parametrize("text", [CSV, MARKDOWN, HTML])
def test_a_table_is_the_same_in_each_notation(text: str) -> None:
    (table,) = tables_of(text)
    assert (table.label_name, table.labels, table.series) == ("City", ("Lima", "Oslo"), ("North", "South"))
    assert table.numbers == ((Decimal("1.5"), Decimal(20)), (Decimal(2), Decimal(-3)))
    assert table.column(1) == [20, -3]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a,b\n1,2", "one row"),
        ("a,b\nx,1\nx,2", "labels repeat"),
        ("a,b\nx,1\nX,2", "labels differ in case alone"),
        ("a,b,b\nx,1,2\ny,3,4", "series repeat"),
        ("a,b\nx,1\ny,2,3", "rows differ in length"),
        ("a,b\n,1\ny,2", "a label is empty"),
        ("x,y\n1.5,2\n1.7,3", "measurements are no labels"),
        ("x,y\n5,2\n3,3", "numbers out of order are no labels"),
        ('a,b\n"x",1\ny,2', "not what is written again"),
        ("| a | b |\n| x | 1 |\n| y | 2 |", "no rule"),
        (
            "<table><tr><th>a</th><th>b</th></tr><tr><td rowspan=2>x</td><td>1</td></tr><tr><td>2</td></tr></table>",
            "merged",
        ),
        ("<table><tr><td>a</td><td><table></table></td></tr><tr><td>x</td><td>1</td></tr></table>", "nested"),
        ("Dear reader, here is\nsome text, with commas\nin it, as ever", "prose: labels are sentences"),
    ],
)
def test_what_is_ambiguous_is_no_table(text: str, why: str) -> None:
    tables = tables_of(text)
    assert tables == [] or all(table.column(0) is None for table in tables), why


def test_years_are_labels() -> None:
    (table,) = tables_of("Year,Sales\n1999,3\n2000,4")
    assert table.labels == ("1999", "2000")


def test_a_column_with_another_text_has_no_numbers() -> None:
    (table,) = tables_of("City,North,South\nLima,n/a,20\nOslo,2,3")
    assert table.column(0) is None and table.column(1) == [20, 3]


def test_a_huge_label_is_not_searched() -> None:
    assert tables_of("| a | b |\n" * 100_000) == []


@given(st.text(alphabet="|-:<>tabler\n,ax1 \\", max_size=200))
def test_any_text_is_read_without_an_error(text: str) -> None:
    tables_of(text)
    graph_of(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [("12", "12"), ("1,234.5", "1234.5"), ("-3", "-3"), ("−0.5", "-0.5"), (" 7 ", "7")],
)
def test_numbers_are_read(text: str, number: str) -> None:
    assert parse_number(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "1,23", "12%", "1e5", "--1", "1.", "١٢", "NaN", "1 2"])
def test_other_texts_are_no_numbers(text: str) -> None:
    assert parse_number(text) is None


@given(st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9), max_value=10**9))
def test_a_number_is_written_as_it_is_read(number: Decimal) -> None:
    text = format_decimal(number)
    assert parse_number(text) == number
    assert not text.endswith("0") or "." not in text


@given(
    st.lists(st.text(alphabet="abc,\"| '", min_size=1, max_size=8), min_size=2, max_size=6),
    st.integers(0, 10**6),
)
def test_csv_of_any_labels_is_read_back(labels: list[str], first: int) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["name", "value"])
    writer.writerows([label, first + number] for number, label in enumerate(labels))
    tables = tables_of(buffer.getvalue())
    if len({label.casefold() for label in labels}) == len(labels):
        (table,) = tables
        assert table.labels == tuple(labels)
        assert table.column(0) == [first + number for number in range(len(labels))]
    else:
        assert tables == []


def test_an_edge_list_is_a_graph() -> None:
    graph = graph_of("From,To\na,b\nb,c")
    assert graph is not None and graph.directed and graph.edges == (("a", "b", ""), ("b", "c", ""))
    labelled = graph_of("Node,Node,Label\na,b,owns")
    assert labelled is not None and not labelled.directed and labelled.edges == (("a", "b", "owns"),)
    assert graph_of("City,Value\na,1") is None and graph_of("From,To") is None
