"""Inspection of a dataset: verification, differences, summaries and cards."""

from step3vl.data.inspect.card import markdown_table, write_card
from step3vl.data.inspect.contact_sheet import contact_sheet, render_truth
from step3vl.data.inspect.diff import DatasetDiff, compare
from step3vl.data.inspect.problems import DatasetProblem
from step3vl.data.inspect.summary import Summary, summarise
from step3vl.data.inspect.tables import TableSection, ledger_table, print_dataset, print_sections
from step3vl.data.inspect.verify import VerificationReport, verify

__all__ = [
    "DatasetDiff",
    "DatasetProblem",
    "Summary",
    "TableSection",
    "VerificationReport",
    "compare",
    "contact_sheet",
    "ledger_table",
    "markdown_table",
    "print_dataset",
    "print_sections",
    "render_truth",
    "summarise",
    "verify",
    "write_card",
]
