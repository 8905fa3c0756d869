"""Tables of a dataset."""

import io

from rich.console import Console

from step3vl.data.dataset.dataset import Dataset
from step3vl.data.dataset.ledger import LedgerStep
from step3vl.data.dataset.row_filter import RowFilter
from step3vl.data.inspect.tables import bar, cell, ledger_table, print_dataset, totals_table


def test_ledger_table_lists_reasons_and_errors() -> None:
    step = LedgerStep(name="read", read=1200, kept=1197, dropped={"small": 2}, failed={"OSError": 1})
    assert ledger_table([step]).rows == [("read", 1200, 1197, "small 2", "OSError 1", 1197)]


def test_totals_end_with_their_sum(dataset: Dataset) -> None:
    *rows, total = totals_table(dataset).rows
    assert total[0] == "total"
    assert total[3] == sum(row[3] for row in rows) == 120  # type: ignore[misc]


def test_cells_and_bars() -> None:
    assert (cell(1234567), cell("a\n b")) == ("1,234,567", "a b")
    assert (bar(0, 10), bar(1, 1000), len(bar(10, 10))) == ("", "█", 40)


def test_whole_dataset_is_printed(dataset: Dataset) -> None:
    output = io.StringIO()
    print_dataset(dataset, Console(file=output, width=150))
    assert all(
        heading in output.getvalue()
        for heading in ("shards", "Samples and tokens", "Ledger", "Domains", "Tasks", "Sources", "Licences", "100.0 %")
    )


def test_a_part_of_a_dataset_is_printed_with_what_is_left_out(dataset: Dataset) -> None:
    output = io.StringIO()
    print_dataset(dataset, Console(file=output, width=150), RowFilter("images > 0"))
    text = output.getvalue()
    assert "Left out by images > 0, which selects 80 of 120 samples" in text
    assert "education.sum" in text.split("Domains")[0]
    assert "education.sum" not in text.split("Domains")[1]
    assert "Ledger" not in text, "it is that of the whole dataset"
