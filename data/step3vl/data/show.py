"""A dataset as tables, for the terminal and for the pages of a build."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from step3vl.data.dataset import Dataset
from step3vl.data.ledger import Step
from step3vl.data.summary import Spread, Summary, summarise

Section = tuple[str, Sequence[str], list[Sequence[object]]]  # a heading, column heads, and the cells of each row

_RIGHT = {"samples", "bytes", "tokens", "text tokens", "image tokens", "read", "kept", "pictures", "number", "a", "b"}
_SHARDS = 20  # listed one by one
_BAR = 40  # characters of the longest bar


def bar(number: int, largest: int) -> str:
    """A bar in proportion, never nothing for something."""
    return "█" * max(round(_BAR * number / largest), 1) if number else ""


def totals(dataset: Dataset) -> Section:
    """Samples and tokens of each split and task."""
    rows: list[Sequence[object]] = [
        (one.split, one.task, one.kind, one.samples, one.text_tokens, one.image_tokens)
        for one in dataset.manifest.tasks
    ]
    fields = ("samples", "text_tokens", "image_tokens")
    sums = (sum(getattr(one, field) for one in dataset.manifest.tasks) for field in fields)
    heads = ("split", "task", "kind", "samples", "text tokens", "image tokens")
    return "Samples and tokens", heads, [*rows, ("total", "", "", *sums)]


def accounts(steps: Iterable[Step]) -> Section:
    """What became of every record, step by step."""

    def listed(counts: dict[str, int]) -> str:
        return ", ".join(f"{reason} {number:,}" for reason, number in sorted(counts.items())) or "-"

    rows = [(step.name, step.read, step.kept, listed(step.dropped), listed(step.dead)) for step in steps]
    return "Ledger: read = kept + dropped + dead", ("step", "read", "kept", "dropped", "dead"), list(rows)


def shards(dataset: Dataset) -> Section:
    rows: list[Sequence[object]] = [
        (one.path, one.split, one.samples, one.size, one.text_tokens + one.image_tokens, one.blake3[:12])
        for one in dataset.manifest.shards[:_SHARDS]
    ]
    if (more := len(dataset.manifest.shards) - len(rows)) > 0:
        rows.append((f"and {more:,} more", "", "", "", "", ""))
    return f"{dataset.manifest.name}: shards", ("shard", "split", "samples", "bytes", "tokens", "BLAKE3"), rows


def spreads(summary: Summary) -> list[Section]:
    """Domains, licences, and how tokens and pictures are spread, with a bar for each row."""
    domains = summary.domains
    most = max((sum(one[2:4]) for one in domains.values()), default=1)
    heads = ("domain", "samples", "pictures", "text tokens", "image tokens", "bytes", "share of tokens")
    rows = [(name, *one, bar(one.text_tokens + one.image_tokens, most)) for name, one in domains.items()]
    licensed = [(name, count, bar(count, max(summary.licences.values()))) for name, count in summary.licences.items()]
    return [
        ("Domains", heads, list(rows)),
        ("Licences", ("licence", "samples", ""), list(licensed)),
        *(_spread(one) for one in summary.spreads if one.bins),
    ]


def _spread(spread: Spread) -> Section:
    most = max(count for _, count in spread.bins)
    rows = [(name, count, bar(count, most)) for name, count in spread.rows()]
    return spread.name[0].upper() + spread.name[1:], (spread.name, "number", ""), list(rows)


def cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else " ".join(str(value).split())


def print_sections(sections: Iterable[Section], console: Console) -> None:
    for heading, heads, rows in sections:
        table = Table(title=escape(heading), title_justify="left")
        for head in heads:
            table.add_column(head, justify="right" if head in _RIGHT else "left")
        for row in rows:
            table.add_row(*(escape(cell(value)) for value in row))
        console.print(table)


def print_dataset(dataset: Dataset, console: Console) -> None:
    """Shards, tasks, the ledger, and how the samples are spread."""
    sections = [shards(dataset), totals(dataset), accounts(dataset.manifest.ledger)]
    print_sections([*sections, *spreads(summarise(dataset))], console)
