"""A dataset as tables, for the terminal and for pages."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from step3vl.data.dataset.dataset import Dataset
from step3vl.data.dataset.ledger import LedgerStep
from step3vl.data.dataset.row_filter import RowFilter
from step3vl.data.inspect.diversity import Diversity, measure_diversity
from step3vl.data.inspect.label_report import LabelReport, TaskChecks, interval, listed
from step3vl.data.inspect.summary import OTHER_SOURCES, Distribution, Summary, Total, summarise

RIGHT_ALIGNED = {
    *("samples", "bytes", "tokens", "text tokens", "image tokens", "images", "number"),
    *("read", "kept", "emitted", "unaccounted", "tokens read", "of kept", "written"),
    *("added", "removed", "changed", "to held-out", "to train"),
    *("sampled", "questions", "phrasings", "top ten", "answers", "near-duplicates", "words", "trigrams", "sizes"),
    *("checked", "wrong", "rate", "95 % interval", "distinct images"),
}
SHARE = "share of tokens"
_MAX_SHARDS = 20  # listed individually
_MAX_SOURCES = 40
_MAX_NAMED = 3  # of a request to forget
_BAR_WIDTH = 40  # characters


class TableSection(NamedTuple):
    """A titled table: the names of its columns, and the cells of each row."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


def bar(number: int, largest: int) -> str:
    """A bar of proportional length, at least one character for a positive number."""
    return "█" * max(round(_BAR_WIDTH * number / largest), 1) if number else ""


def totals_table(dataset: Dataset) -> TableSection:
    """Samples and tokens of each split and task."""
    tasks = dataset.manifest.tasks
    rows: list[Sequence[object]] = [
        (total.split, total.task, total.kind, total.samples, total.text_tokens, total.image_tokens) for total in tasks
    ]
    sums = (sum(getattr(total, field) for total in tasks) for field in ("samples", "text_tokens", "image_tokens"))
    columns = ("split", "task", "kind", "samples", "text tokens", "image tokens")
    return TableSection("Samples and tokens", columns, [*rows, ("total", "", "", *sums)])


def ledger_table(steps: Iterable[LedgerStep]) -> TableSection:
    """What became of every record, step by step."""

    rows = [
        (step.name, step.read, step.kept, listed(step.dropped), listed(step.failed), step.emitted) for step in steps
    ]
    columns = ("step", "read", "kept", "dropped", "failed", "emitted")
    return TableSection("Ledger: read = kept + dropped + failed; the next step reads what is emitted", columns, rows)


def losses_table(steps: Iterable[LedgerStep]) -> TableSection:
    """What went into no sample, or into one but not into the loss: fields of records, and answers."""
    rows: list[Sequence[object]] = []
    for step in steps:
        rows += [(step.name, f"field {name} not used", f"{count:,} records") for name, count in step.unused.items()]
        if step.answers is not None:
            total, trained = step.answers.total, step.answers.trained
            share = f"{trained:,} of {total:,} tokens, {_percent(trained / total if total else None)}"
            rows.append((step.name, "answers trained", share))
    return TableSection("Fields not used, answers trained", ("step", "what", "how much"), rows)


def exclusions_table(dataset: Dataset) -> TableSection:
    """What is to be forgotten, request by request. Shards still hold these samples, and their totals count them."""
    rows: list[Sequence[object]] = []
    for request in dataset.exclusions.requests:
        named = (*request.uris, *request.hosts, *request.hashes)
        more = f" and {len(named) - _MAX_NAMED} more" if len(named) > _MAX_NAMED else ""
        rows.append((request.requested, ", ".join(named[:_MAX_NAMED]) + more, len(request.ids)))
    title = "Forgotten: readers leave these samples out; shards hold and count them until the next build"
    return TableSection(title, ("requested", "what", "samples"), rows)


def left_out_table(left_out: Mapping[str, str]) -> TableSection:
    """The entries of a corpus that were not built: why, by name."""
    return TableSection("Entries left out", ("entry", "why"), list(left_out.items()))


def shards_table(dataset: Dataset) -> TableSection:
    """The first shards with their totals."""
    rows: list[Sequence[object]] = [
        (
            shard.path,
            shard.split,
            shard.samples,
            shard.size,
            shard.text_tokens + shard.image_tokens,
            shard.blake3[:12],
        )
        for shard in dataset.manifest.shards[:_MAX_SHARDS]
    ]
    if (more := len(dataset.manifest.shards) - len(rows)) > 0:
        rows.append((f"and {more:,} more", "", "", "", "", ""))
    columns = ("shard", "split", "samples", "bytes", "tokens", "BLAKE3")
    return TableSection(f"{dataset.manifest.name}: shards", columns, rows)


def summary_tables(summary: Summary) -> list[TableSection]:
    """Domains, tasks, sources, licences and distributions, with a bar for each row."""
    tasks = sorted(summary.tasks.items(), key=lambda item: (item[0][0], -item[1].tokens, item[0]))
    sources = sorted(summary.sources.items(), key=lambda item: (item[0][0] == OTHER_SOURCES, -item[1].tokens, item[0]))
    sections = [
        _totals_section("Domains", ("domain",), [((name,), total) for name, total in summary.domains.items()]),
        _totals_section("Tasks", ("domain", "task"), tasks),
        _totals_section("Sources", ("source", "licence"), sources[:_MAX_SOURCES]),
        _totals_section("Licences", ("licence",), [((name,), total) for name, total in summary.licences.items()]),
    ]
    if (more := len(sources) - _MAX_SOURCES) > 0:
        sections[2] = sections[2]._replace(title=f"Sources: the {_MAX_SOURCES} largest, and {more:,} more")
    return [*sections, *(_distribution_table(values) for values in summary.distributions if values.bins)]


def _totals_section(title: str, names: Sequence[str], totals: Sequence[tuple[Sequence[str], Total]]) -> TableSection:
    everything = sum(total.tokens for _, total in totals) or 1
    columns = (*names, "samples", "images", "text tokens", "image tokens", "bytes", SHARE)
    rows = [
        (*key, *total, f"{100 * total.tokens / everything:.1f} % {bar(total.tokens, everything)}")
        for key, total in totals
    ]
    return TableSection(title, columns, rows)


def _distribution_table(distribution: Distribution) -> TableSection:
    largest = max(count for _, count in distribution.bins)
    rows = [(name, count, bar(count, largest)) for name, count in distribution.rows()]
    name = distribution.name
    return TableSection(name[0].upper() + name[1:], (name, "number", ""), rows)


def diversity_tables(tasks: Sequence[Diversity]) -> list[TableSection]:
    """Diversity by task, and what builders chose, by task and kind."""
    columns = (
        *("task", "sampled", "questions", "phrasings", "top ten", "answers", "near-duplicates", "words", "trigrams"),
        *("distinct images", "sizes"),
    )
    rows = [
        (
            *(task.task, task.sampled, task.questions or "-", task.phrasings or "-", _percent(task.frequent)),
            *(task.answers, _percent(task.near_duplicates), f"{task.word_entropy:.1f} bit"),
            *(f"{task.trigram_entropy:.1f} bit", f"{task.distinct_images:,} of {task.images:,}", task.sizes),
        )
        for task in tasks
    ]
    traits = [
        (task.task, ", ".join(f"{trait.name} {trait.values} ({trait.effective:.1f})" for trait in task.traits))
        for task in tasks
    ]
    sampled = max((task.sampled for task in tasks), default=0)
    title = (
        f"Diversity in a random sample of at most {sampled:,} of each task: distinct questions, their phrasings, ..."
    )
    return [
        TableSection(title, columns, rows),
        TableSection("What builders chose", ("task", "kinds: values of each (effective number)"), traits),
    ]


def label_tables(report: LabelReport | None) -> list[TableSection]:
    """The error rate of the labels of each task, and examples of wrong ones; nothing where none was measured."""
    if report is None:
        return []
    rows = [
        (name, task.checked, task.errors, *_error_rate(task), listed(task.wrong), listed(task.unchecked))
        for name, task in report.tasks.items()
    ]
    columns = ("task", "checked", "wrong", "rate", "95 % interval", "what is wrong", "not checked")
    examples = [
        (name, example.reason, example.id, example.answer)
        for name, task in report.tasks.items()
        for example in task.examples
    ]
    title = (
        f"Label errors that an independent check finds, in a random sample of at most {report.samples:,} of each task"
    )
    return [
        TableSection(title, columns, rows),
        TableSection("Labels found wrong", ("task", "what is wrong", "id", "answer"), examples),
    ]


def _error_rate(task: TaskChecks) -> tuple[str, str]:
    """The rate of wrong labels, and its interval."""
    if not task.checked:
        return "-", "-"
    low, high = interval(task.errors, task.checked)
    return _percent(task.errors / task.checked), f"{_percent(low)} to {_percent(high)}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def cell(value: object) -> str:
    """A value as the text of a cell: thousands are separated, and white space is collapsed."""
    return f"{value:,}" if isinstance(value, int) else " ".join(str(value).split())


def print_sections(sections: Iterable[TableSection], console: Console) -> None:
    """Print tables to a terminal; in a narrow one, the names in the first column stay whole, and others are folded."""
    for title, columns, rows in sections:
        table = Table(title=escape(title), title_justify="left")
        for number, column in enumerate(columns):
            justify: Literal["left", "right"] = "right" if column in RIGHT_ALIGNED else "left"
            table.add_column(column, justify=justify, no_wrap=number == 0, overflow="fold")
        for row in rows:
            table.add_row(*(escape(cell(value)) for value in row))
        console.print(table)


def selection_tables(dataset: Dataset, where: RowFilter) -> list[TableSection]:
    """What an expression leaves out, by task, and the summary of what it selects."""
    summary = summarise(dataset, where)
    everything = [*summary.tasks.values(), *summary.left_out.values()]
    counts = [sum(total.samples for total in totals) for totals in (summary.tasks.values(), everything)]
    title = f"Left out by {where.expression}, which selects {counts[0]:,} of {counts[1]:,} samples"
    rows = [(*key, *total) for key, total in summary.left_out.items()]
    columns = ("domain", "task", "samples", "images", "text tokens", "image tokens", "bytes")
    sums = [sum(column) for column in zip(Total(), *summary.left_out.values(), strict=True)]
    return [TableSection(title, columns, [*rows, ("total", "", *sums)]), *summary_tables(summary)]


def print_dataset(dataset: Dataset, console: Console, where: RowFilter | None = None) -> None:
    """Print shards, tasks, the ledger, and the summary of the samples; or that of those that an expression selects."""
    if where is not None:
        print_sections([section for section in selection_tables(dataset, where) if section.rows], console)
        return
    ledger = dataset.manifest.ledger
    sections = [shards_table(dataset), totals_table(dataset), exclusions_table(dataset)]
    sections += [ledger_table(ledger), losses_table(ledger)]
    sections += summary_tables(summarise(dataset)) + quality_tables(dataset)
    print_sections([section for section in sections if section.rows], console)


def quality_tables(dataset: Dataset) -> list[TableSection]:
    """The diversity of each task, and the error rate of its labels as far as it was measured."""
    return diversity_tables(measure_diversity(dataset)) + label_tables(LabelReport.load(dataset))
