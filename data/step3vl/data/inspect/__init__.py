"""Inspection of a dataset: verification, differences, summaries and cards."""

from step3vl.data.inspect.card import markdown_table, write_card
from step3vl.data.inspect.contact_sheet import contact_sheet, render_truth
from step3vl.data.inspect.diff import DatasetDiff, compare
from step3vl.data.inspect.diversity import Diversity, diversity_of, measure_diversity
from step3vl.data.inspect.label_report import LABEL_REPORT, LabelReport, TaskChecks, WrongLabel
from step3vl.data.inspect.problems import DatasetProblem
from step3vl.data.inspect.sampling import read_samples, sample_tasks
from step3vl.data.inspect.simulation import Cluster, Simulation, simulate
from step3vl.data.inspect.simulation_page import simulation_page, simulation_tables
from step3vl.data.inspect.summary import Summary, summarise
from step3vl.data.inspect.tables import (
    TableSection,
    label_tables,
    ledger_table,
    left_out_table,
    losses_table,
    print_dataset,
    print_sections,
)
from step3vl.data.inspect.task_sheets import task_sheet, task_sheets, write_task_sheets
from step3vl.data.inspect.verify import VerificationReport, verify

__all__ = [
    "LABEL_REPORT",
    "Cluster",
    "DatasetDiff",
    "DatasetProblem",
    "Diversity",
    "LabelReport",
    "Simulation",
    "Summary",
    "TableSection",
    "TaskChecks",
    "VerificationReport",
    "WrongLabel",
    "compare",
    "contact_sheet",
    "diversity_of",
    "label_tables",
    "ledger_table",
    "left_out_table",
    "losses_table",
    "markdown_table",
    "measure_diversity",
    "print_dataset",
    "print_sections",
    "read_samples",
    "render_truth",
    "sample_tasks",
    "simulate",
    "simulation_page",
    "simulation_tables",
    "summarise",
    "task_sheet",
    "task_sheets",
    "verify",
    "write_card",
    "write_task_sheets",
]
