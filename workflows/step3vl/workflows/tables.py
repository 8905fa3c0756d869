"""The tables that `step3vl run` prints: what each stage would do before a run, and how long it took after."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from step3vl.workflows.plan import Action, PlannedStage
from step3vl.workflows.runner import Outcome

STYLES = {Action.SKIP: "dim", Action.RESUME: "yellow", Action.RUN: "green", Action.NEEDS_FORCE: "bold red"}


def print_plan(planned: Sequence[PlannedStage]) -> None:
    """Print what a run would do with each stage, and why, to stderr."""
    table = Table(title="Stages", title_justify="left")
    table.add_column("stage")
    table.add_column("action", no_wrap=True)
    table.add_column("why", overflow="fold")
    for entry in planned:
        decision = entry.decision
        lines = list(decision.reasons)
        if decision.alternative:
            lines.append(f"{decision.alternative} instead, if what it reads comes out the same as before")
        if decision.kept_as:
            lines.append(f"{entry.stage.context.out.name} is kept as {decision.kept_as.name}")
        table.add_row(entry.stage.name, f"[{STYLES[decision.action]}]{decision.action}[/]", "\n".join(lines))
    Console(stderr=True).print(table)


def print_outcomes(outcomes: Sequence[Outcome]) -> None:
    """Print what each stage did and how long its work took, to stderr."""
    table = Table(title="Stages", title_justify="left")
    table.add_column("stage")
    table.add_column("this run")
    table.add_column("time of work", justify="right")
    for outcome in outcomes:
        table.add_row(outcome.name, outcome.action, format_duration(outcome.seconds))
    table.add_section()
    table.add_row("total", "", format_duration(sum(outcome.seconds for outcome in outcomes)))
    Console(stderr=True).print(table)


def format_duration(seconds: float) -> str:
    """Seconds as people write them: ``41 s``, ``3 min 05 s``, ``2 h 10 min``."""
    total = round(seconds)
    if total < 60:
        return f"{total} s"
    if total < 3600:
        return f"{total // 60} min {total % 60:02d} s"
    return f"{total // 3600} h {total % 3600 // 60:02d} min"
