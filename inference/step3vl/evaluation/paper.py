"""The numbers of the STEP3-VL-10B report, as data, and where a run's settings differ from the report's."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from step3vl.evaluation.benchmark import About
from step3vl.evaluation.runner import PAPER_SAMPLING

PAPER_ROUNDS = (16,)
"""PaCoRe's rollouts by round in the report (section 4.1)."""
_TABLES = Path(__file__).with_name("paper_tables.json")
_PARENTHESES = re.compile(r"\s*\([^)]*\)$")


@dataclass(frozen=True)
class PaperNumber:
    """A number of the report.

    Args:
        table: 1 to 3.
        model: The column's heading.
        value: As printed, in the benchmark's unit.
        quoted: Whether the report took it from the model's own paper.
        doubtful: Whether it is probably a slip.
    """

    table: int
    model: str
    value: float
    quoted: bool = False
    doubtful: bool = False


@cache
def paper_tables() -> Mapping[str, Any]:
    """The three tables as they are stored."""
    return json.loads(_TABLES.read_text(encoding="utf-8"))


def paper_title(title: str) -> str | None:
    """The name of a benchmark's row in the tables; None where the report has none.

    Case and what stands in parentheses at the end may differ, as long as one row alone fits.
    """
    names = {row["benchmark"] for table in paper_tables()["tables"] for row in table["rows"]}
    for plain in (str.casefold, lambda name: _PARENTHESES.sub("", name).casefold()):
        matches = [name for name in names if plain(name) == plain(title)]
        if len(matches) == 1:
            return matches[0]
    return None


def paper_numbers(title: str) -> Iterator[PaperNumber]:
    """All numbers of a benchmark, table by table."""
    name = paper_title(title)
    for table in paper_tables()["tables"]:
        for row in table["rows"]:
            if row["benchmark"] != name:
                continue
            for model, value in zip(table["models"], row["values"], strict=True):
                cell = [name, model]
                yield PaperNumber(
                    table["table"], model, value, cell in table["quoted_cells"], cell in table["doubtful_cells"]
                )


def paper_value(title: str, pacore: bool = False) -> float | None:
    """The report's number for STEP3-VL-10B, with sequential reasoning or with PaCoRe."""
    model = "STEP3-VL-10B PaCoRe" if pacore else "STEP3-VL-10B SeRe"
    return next((number.value for number in paper_numbers(title) if number.model == model), None)


def domain(title: str) -> str:
    """The group of benchmarks that the tables list it in; empty for one that the report does not have."""
    name = paper_title(title)
    rows = (row for table in paper_tables()["tables"] for row in table["rows"] if row["benchmark"] == name)
    return next((row["domain"] for row in rows if "domain" in row), "")


def lower_is_better(title: str) -> bool:
    """Whether the benchmark's number is an error."""
    return paper_title(title) in paper_tables()["lower_is_better"]


def departures(about: About, run: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[str]:
    """How a run differs from what the report does, a few words each; none for a run like the report's.

    Of a benchmark that the report does not have, it is what is missing of the release.

    Args:
        about: The facts of the benchmark.
        run: What `run.json` says.
        metrics: What `metrics.json` says.
    """
    notes = list(_setting_departures(about, run)) if paper_title(about.title) else []
    if metrics["items"] != metrics["items_of_release"]:
        notes.append(f"{metrics['items']} of {metrics['items_of_release']} items")
    if metrics["missing"]:
        notes.append(f"{metrics['missing']} responses missing")
    if about.family == "official" and paper_title(about.title):
        notes.append("the benchmark's prompt; the report's is not published")
    judge = run.get("judge")
    if about.judge and judge and judge["model"] != about.judge:
        notes.append(f"judged by {judge['model']}, not {about.judge}")
    if judge and judge.get("failed"):
        requests = f"{judge['failed']} of {judge['requests']} requests to the judge"
        notes.append(f"{requests} failed, whose responses count as wrong; the same command asks again")
    return notes


def _setting_departures(about: About, run: Mapping[str, Any]) -> Iterator[str]:
    if "settings" not in run:
        yield "recorded outputs: settings unknown"
        return
    settings = run["settings"]
    sampling, pacore = settings.get("sampling") or {}, settings.get("pacore")
    for name, value in PAPER_SAMPLING.model_dump(mode="json").items():
        if sampling and sampling.get(name) != value and name != "seed":
            yield f"{name} {sampling.get(name)}, not {value}"
    if pacore and tuple(pacore["rounds"]) != PAPER_ROUNDS:
        yield f"PaCoRe with {','.join(map(str, pacore['rounds']))} rollouts, not {','.join(map(str, PAPER_ROUNDS))}"
    elif run.get("repeats") != about.repeats and not pacore:
        yield f"{run.get('repeats')} responses to an item, not {about.repeats}"
