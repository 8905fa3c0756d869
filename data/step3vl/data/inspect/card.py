"""The card of a dataset as Markdown and HTML, with a contact sheet."""

import html
from collections.abc import Iterable
from pathlib import Path

from step3vl.data.dataset.dataset import Dataset
from step3vl.data.dataset.dead_letters import example_dead_letters
from step3vl.data.dataset.ledger import DeadLetter
from step3vl.data.inspect.contact_sheet import sheet_png
from step3vl.data.inspect.summary import summarise
from step3vl.data.inspect.tables import (
    RIGHT_ALIGNED,
    SHARE,
    TableSection,
    cell,
    exclusions_table,
    ledger_table,
    left_out_table,
    losses_table,
    quality_tables,
    summary_tables,
    totals_table,
)
from step3vl.data.storage.store import Store
from step3vl.data.storage.store_config import DEFAULT_STORE, StoreConfig

CARD = "card.md"
PAGE = "card.html"
SHEET = "contact_sheet.png"
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:1240px;margin:2em auto;padding:0 1em}"
    "div{overflow-x:auto}table{border-collapse:collapse;font-size:14px}"
    "td,th{padding:.2em .7em;border-bottom:1px solid #ddd;text-align:left;vertical-align:top}"
    "th{font-weight:600;white-space:nowrap}.number{text-align:right;font-variant-numeric:tabular-nums}"
    "td.bar{color:#3465a4;white-space:nowrap}img{max-width:100%}"
)


def write_card(
    dataset: Dataset, out: str | Path, dead_letters: Iterable[DeadLetter] = (), store: StoreConfig = DEFAULT_STORE
) -> None:
    """Write `card.md`, `card.html` and `contact_sheet.png`, which the HTML shows; `card.md` is written last.

    Args:
        dataset: The dataset.
        out: The folder, or its URL.
        dead_letters: Filtered and failed records; the card shows a few for each step and reason.
        store: How a remote store is used.

    Raises:
        StoreError: The store of `out` does not answer.
    """
    files = Store(str(out), store)
    manifest = dataset.manifest
    title = f"Corpus {manifest.name}"
    facts = (
        f"{len(manifest.shards):,} shards · tokens counted with {manifest.counting.tokenizer} · "
        f"code {manifest.code_version}" + (f" · seed {manifest.config['seed']}" if "seed" in manifest.config else "")
    )
    sections = [section for section in _sections(dataset, dead_letters) if section.rows]
    files.put(SHEET, sheet_png(dataset))
    sheet = f'<h2>Samples</h2><img src="{SHEET}" alt="a row of samples for each task">'
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style><h1>{html.escape(title)}</h1><p>{html.escape(facts)}</p>"
        f"{''.join(map(_html, sections))}{sheet}</html>\n"
    )
    files.put(PAGE, page.encode())
    markdown = [f"# {title}", "", facts, "", *(line for section in sections for line in markdown_table(section))]
    files.put(CARD, "\n".join(markdown).encode())


def _sections(dataset: Dataset, dead_letters: Iterable[DeadLetter]) -> list[TableSection]:
    examples = [(row.step, row.error, row.reason, row.source) for row in example_dead_letters(dead_letters)]
    return [
        totals_table(dataset),
        exclusions_table(dataset),
        left_out_table(dataset.manifest.config.get("left_out", {})),
        ledger_table(dataset.manifest.ledger),
        losses_table(dataset.manifest.ledger),
        *quality_tables(dataset),
        *summary_tables(summarise(dataset)),
        TableSection("Examples of filtered and failed records", ("step", "error", "reason", "source"), examples),
    ]


def markdown_table(section: TableSection) -> list[str]:
    """The lines of a table with its title, as Markdown."""
    head = "| " + " | ".join(section.columns) + " |"
    rows = ["| " + " | ".join(cell(value).replace("|", "\\|") for value in row) + " |" for row in section.rows]
    return [f"## {section.title}", "", head, "|" + " --- |" * len(section.columns), *rows, ""]


def _html(section: TableSection) -> str:
    marks = [_mark(column) for column in section.columns]
    head = "".join(f"<th{mark}>{html.escape(name)}</th>" for mark, name in zip(marks, section.columns, strict=True))
    rows = "".join(
        "<tr>" + "".join(f"<td{mark}>{html.escape(cell(value))}</td>" for mark, value in zip(marks, row, strict=True))
        for row in section.rows
    )
    return f"<h2>{html.escape(section.title)}</h2><div><table><tr>{head}{rows}</table></div>"


def _mark(column: str) -> str:
    """The attribute of the cells of a column."""
    if column in RIGHT_ALIGNED:
        return ' class="number"'
    return ' class="bar"' if column in ("", SHARE) else ""
