"""What ``step3vl run`` prints: the resolved workflow before, the table of times after."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from step3vl.workflows.config import to_yaml
from step3vl.workflows.kinds import KINDS
from step3vl.workflows.stages import Outcome, load_workflow, plan


def show_plan(path: Path, overrides: Mapping[str, Any]) -> None:
    """Every stage's resolved configuration, one YAML document each."""
    workflow = load_workflow(path, overrides, KINDS)
    for planned in plan(workflow, path, KINDS):
        print(f"--- # {planned.stage.name} ({planned.stage.run}) -> {planned.context.out}")
        print(to_yaml(planned.config), end="")


def show_times(outcomes: Sequence[Outcome]) -> None:
    """What each stage did and how long its work took."""
    table = Table(title="Stages", title_justify="left")
    table.add_column("stage")
    table.add_column("this time")
    table.add_column("work", justify="right")
    for outcome in outcomes:
        table.add_row(outcome.name, outcome.action, duration(outcome.seconds))
    table.add_section()
    table.add_row("together", "", duration(sum(outcome.seconds for outcome in outcomes)))
    Console(stderr=True).print(table)


def duration(seconds: float) -> str:
    """Seconds as people say them: ``41 s``, ``3 min 05 s``, ``2 h 10 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
