"""Runs beside each other and beside the report's tables: values, differences with their errors, items that changed."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from step3vl.data.errors import UserError
from step3vl.evaluation.episodes import SCREENS, EpisodeBenchmark
from step3vl.evaluation.heldout import SCHEME
from step3vl.evaluation.item import Scored
from step3vl.evaluation.paper import PaperNumber, departures, domain, lower_is_better, paper_numbers, paper_value
from step3vl.evaluation.registry import data_folder, load_benchmark
from step3vl.evaluation.results import Result, read_scored
from step3vl.evaluation.runner import name_hash, read_images
from step3vl.evaluation.statistics import difference_error

log = logging.getLogger(__name__)

_SCREENS = 4  # of an episode that an example shows


@dataclass(frozen=True)
class Cell:
    """A run's number on a benchmark. `notes` are the numbers of what differs from the report's settings."""

    value: float
    error: float | None
    notes: tuple[int, ...]
    result: Result

    @property
    def text(self) -> str:
        """The value and its standard error, in two decimals."""
        return f"{self.value:.2f}" + ("" if self.error is None else f" ± {self.error:.2f}")


class Category(NamedTuple):
    """A run's value in a category, with its standard error where there are enough items for one."""

    value: float
    error: float | None


@dataclass(frozen=True)
class Difference:
    """A run minus the first one, over the items that both answered.

    Args:
        value: Of the headline, in its unit.
        error: Its standard error over groups of items; None for fewer than two.
        items: How many items both answered.
        gained: Items that score better than in the first run.
        lost: Items that score worse.
    """

    value: float
    error: float | None
    items: int
    gained: int
    lost: int


@dataclass(frozen=True)
class Row:
    """A benchmark: a cell for each run, and the report's numbers.

    Args:
        benchmark: Its name.
        title: Its title in the report.
        domain: The group that the report lists it in.
        metric: The headline in plain words.
        lower_is_better: Whether the number is an error.
        cells: By run; None where a run does not have the benchmark.
        differences: By run, to the first run; None for that itself and where either does not have the benchmark.
        paper: The report's numbers.
        categories: For each category, by run, the value and its standard error, or None.
    """

    benchmark: str
    title: str
    domain: str
    metric: str
    lower_is_better: bool
    cells: tuple[Cell | None, ...]
    differences: tuple[Difference | None, ...]
    paper: tuple[PaperNumber, ...]
    categories: Mapping[str, tuple[Category | None, ...]]

    @property
    def published(self) -> float | None:
        """The report's number for STEP3-VL-10B with sequential reasoning."""
        return paper_value(self.title)

    @property
    def published_pacore(self) -> float | None:
        """The report's number for STEP3-VL-10B with PaCoRe."""
        return paper_value(self.title, pacore=True)


@dataclass(frozen=True)
class Example:
    """An item with its first response in each run; `lines` are those of `items.jsonl`, None where a run lacks it."""

    benchmark: str
    item: str
    question: str
    answer: Any
    lines: tuple[Mapping[str, Any] | None, ...]
    images: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """What the page shows.

    Args:
        runs: The names of the runs, in order.
        rows: A row for each benchmark.
        notes: What differs from the report's settings; cells refer to them by number, from 1.
        examples: By benchmark.
    """

    runs: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    examples: Mapping[str, tuple[Example, ...]] = field(default_factory=dict)


def compare(results: Sequence[Result], data: Path | None = None, examples: int = 6) -> Comparison:
    """Compare runs.

    Args:
        results: Of one or several benchmarks; those with the same name are one run.
        data: The official files, for the images of examples; None for examples without images.
        examples: How many items of each benchmark are shown: those that changed between the first and the last run.

    Raises:
        UserError: a run has two results for the same benchmark.
    """
    table: dict[str, dict[str, Result]] = defaultdict(dict)
    runs = list(dict.fromkeys(result.name for result in results))
    for result in results:
        if earlier := table[result.benchmark].get(result.name):
            raise UserError(
                f"{result.folder} and {earlier.folder} are both {result.benchmark} of '{result.name}'; run one of "
                "them with --name, or change `name` in its run.json"
            )
        table[result.benchmark][result.name] = result
    notes: dict[str, int] = {}
    rows: list[Row] = []
    chosen: dict[str, tuple[Example, ...]] = {}
    for name, by_run in table.items():
        row = [by_run.get(run) for run in runs]
        scored = [read_scored(result) if result else None for result in row]
        rows.append(_row(name, row, scored, notes))
        if examples:
            chosen[name] = tuple(_examples(name, row, scored, data, examples))
    return Comparison(tuple(runs), tuple(rows), tuple(notes), chosen)


def _row(
    name: str, results: Sequence[Result | None], scored: Sequence[list[Scored] | None], notes: dict[str, int]
) -> Row:
    about = load_benchmark(name).about
    cells: list[Cell | None] = []
    for result in results:
        if result is None:
            cells.append(None)
            continue
        metrics = result.metrics
        texts = departures(about, result.run, metrics)
        marks = tuple(notes.setdefault(text, len(notes) + 1) for text in texts)
        cells.append(Cell(metrics["value"], metrics["standard_error"], marks, result))
    names = dict.fromkeys(name for result in results if result for name in result.metrics["categories"])
    return Row(
        benchmark=name,
        title=about.title,
        domain=domain(about.title) or ("Held-out suites" if name.startswith(SCHEME) else "Not in the report"),
        metric=about.metric,
        lower_is_better=lower_is_better(about.title),
        cells=tuple(cells),
        differences=tuple(_differences(name, scored)),
        paper=tuple(paper_numbers(about.title)),
        categories={
            category: tuple(_category(result, category) if result else None for result in results)
            for category in names
        },
    )


def _category(result: Result, name: str) -> Category | None:
    value = result.metrics["categories"].get(name)
    return None if value is None else Category(value, result.metrics["category_errors"][name])


def _differences(name: str, scored: Sequence[list[Scored] | None]) -> Iterable[Difference | None]:
    before = scored[0]
    for after in scored:
        yield difference(name, before, after) if before and after and after is not before else None


def difference(name: str, before: Sequence[Scored], after: Sequence[Scored]) -> Difference | None:
    """The difference of two runs over the items that both answered; None where there are none."""
    benchmark = load_benchmark(name)
    first, second = mean_values(before), mean_values(after)
    common = first.keys() & second.keys()
    if not common:
        return None
    before = [each for each in before if each.item.id in common]
    after = [each for each in after if each.item.id in common]
    return Difference(
        value=benchmark.summarise(after).value - benchmark.summarise(before).value,
        error=difference_error(benchmark, before, after),
        items=len(common),
        gained=sum(second[item] > first[item] for item in common),
        lost=sum(second[item] < first[item] for item in common),
    )


def mean_values(scored: Iterable[Scored]) -> dict[str, float]:
    """The mean value of the responses to each item, by its id."""
    values: dict[str, list[float]] = defaultdict(list)
    for each in scored:
        values[each.item.id].append(each.score.value)
    return {item: sum(group) / len(group) for item, group in values.items()}


def _examples(
    name: str,
    results: Sequence[Result | None],
    scored: Sequence[list[Scored] | None],
    data: Path | None,
    count: int,
) -> list[Example]:
    """Items whose value changed most between the first and the last run; of a single run, items that are not right."""
    present = [each for each in scored if each is not None]
    first, last = mean_values(present[0]), mean_values(present[-1])
    if len(present) > 1:
        changes = {item: last[item] - first[item] for item in first.keys() & last.keys() if last[item] != first[item]}
    else:
        changes = {item: value - 1 for item, value in first.items() if value < 1}
    chosen = sorted(changes, key=lambda item: (-abs(changes[item]), name_hash(item)))[:count]
    lines = [_first_lines(result, set(chosen)) if result else {} for result in results]
    if isinstance(load_benchmark(name), EpisodeBenchmark):
        images = _screens(results, lines)
    else:
        images = _images(name, data, set(chosen))
    return [_example(name, item, [by_item.get(item) for by_item in lines], images.get(item, ())) for item in chosen]


def _example(name: str, item: str, lines: Sequence[Mapping[str, Any] | None], images: tuple[bytes, ...]) -> Example:
    line = next(line for line in lines if line)
    return Example(name, item, line["question"], line["answer"], tuple(lines), images)


def _first_lines(result: Result, items: set[str]) -> dict[str, Mapping[str, Any]]:
    lines: dict[str, Mapping[str, Any]] = {}
    for line in result.items():
        if line["id"] in items:
            lines.setdefault(line["id"], line)
    return lines


def _screens(
    results: Sequence[Result | None], lines: Sequence[Mapping[str, Mapping[str, Any]]]
) -> dict[str, tuple[bytes, ...]]:
    """What the agent of the last run saw in episodes: the first screen, and the last ones."""
    screens: dict[str, tuple[bytes, ...]] = {}
    for result, by_item in zip(results, lines, strict=True):
        if result is None or result.folder is None:
            continue
        for item, line in by_item.items():
            names = line["details"].get("screens", [])
            names = names[:1] + names[1:][1 - _SCREENS :]
            paths = [path for name in names for path in result.folder.glob(f"{SCREENS}/{name}.*")]
            screens[item] = tuple(path.read_bytes() for path in paths)
    return screens


def _images(name: str, data: Path | None, items: set[str]) -> dict[str, tuple[bytes, ...]]:
    """The images of items, where their files are known: a benchmark without official files knows its own."""
    benchmark = load_benchmark(name)
    if not items or (data is None and benchmark.about.files):
        return {}
    images: dict[str, tuple[bytes, ...]] = {}
    try:
        for item in benchmark.items(data_folder(data or Path(), benchmark.folder)):
            if item.id in items:
                images[item.id] = tuple(read_images(item))
    except UserError as error:
        if benchmark.about.files:
            raise
        log.warning("%s: images of examples are left out: %s", name, error)  # a dataset may be gone since the run
    return images
