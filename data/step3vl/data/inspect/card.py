"""The card of a dataset as Markdown and HTML, with a contact sheet."""

import html
from collections.abc import Iterable
from pathlib import Path

from step3vl.data.dataset.dataset import Dataset
from step3vl.data.dataset.dead_letters import example_dead_letters
from step3vl.data.dataset.ledger import DeadLetter
from step3vl.data.inspect.contact_sheet import write_contact_sheet
from step3vl.data.inspect.summary import summarise
from step3vl.data.inspect.tables import TableSection, cell, ledger_table, summary_tables, totals_table
from step3vl.data.storage.files import require_local, write_durably

CARD = "card.md"
PAGE = "card.html"
SHEET = "contact_sheet.png"
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:1240px;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse}td,th{padding:.2em .7em;border-bottom:1px solid #ddd;text-align:left}"
    "img{max-width:100%}"
)


def write_card(dataset: Dataset, out: Path, dead_letters: Iterable[DeadLetter] = ()) -> None:
    """Write `card.md`, `card.html` and `contact_sheet.png`, which the HTML shows.

    Args:
        dataset: The dataset.
        out: The folder.
        dead_letters: Records that were not kept; the card shows a few for each step and reason.

    Raises:
        UserError: `out` is a URL.
    """
    require_local(out)
    out.mkdir(parents=True, exist_ok=True)
    manifest = dataset.manifest
    title = f"Corpus {manifest.name}"
    facts = (
        f"{len(manifest.shards)} shards · tokens counted with {manifest.counting.tokenizer} · "
        f"code {manifest.code_version}" + (f" · seed {manifest.config['seed']}" if "seed" in manifest.config else "")
    )
    sections = [section for section in _sections(dataset, dead_letters) if section.rows]
    write_contact_sheet(dataset, out / SHEET)
    markdown = [f"# {title}", "", facts, "", *(line for section in sections for line in _markdown(section))]
    sheet = f'<h2>Samples</h2><img src="{SHEET}" alt="a row of samples for each task">'
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style><h1>{html.escape(title)}</h1><p>{html.escape(facts)}</p>"
        f"{''.join(map(_html, sections))}{sheet}</html>\n"
    )
    write_durably(out / CARD, "\n".join(markdown).encode())
    write_durably(out / PAGE, page.encode())


def _sections(dataset: Dataset, dead_letters: Iterable[DeadLetter]) -> list[TableSection]:
    examples = [(row.step, row.error, row.reason, row.source) for row in example_dead_letters(dead_letters)]
    return [
        totals_table(dataset),
        ledger_table(dataset.manifest.ledger),
        *summary_tables(summarise(dataset)),
        TableSection("Examples of records that were not kept", ("step", "error", "reason", "source"), examples),
    ]


def _markdown(section: TableSection) -> list[str]:
    head = "| " + " | ".join(section.columns) + " |"
    rows = ["| " + " | ".join(cell(value).replace("|", "\\|") for value in row) + " |" for row in section.rows]
    return [f"## {section.title}", "", head, "|" + " --- |" * len(section.columns), *rows, ""]


def _html(section: TableSection) -> str:
    head = "".join(f"<th>{html.escape(column)}</th>" for column in section.columns)
    rows = (
        "<tr>" + "".join(f"<td>{html.escape(cell(value))}</td>" for value in row) + "</tr>" for row in section.rows
    )
    return f"<h2>{html.escape(section.title)}</h2><table><tr>{head}</tr>{''.join(rows)}</table>"
