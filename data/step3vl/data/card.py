"""A dataset for a person to look at: a card as Markdown and HTML, with a contact sheet."""

import html
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from step3vl.data.dataset import Dataset
from step3vl.data.files import write_durably
from step3vl.data.ledger import DROPPED, DeadLetter
from step3vl.data.sheet import write_sheet
from step3vl.data.show import Section, accounts, cell, spreads, totals
from step3vl.data.summary import summarise

CARD = "card.md"
PAGE = "card.html"
SHEET = "contact_sheet.png"

_EXAMPLES = 3  # letters shown for each step and reason


def _examples(letters: Iterable[DeadLetter]) -> list[DeadLetter]:
    """The first few of each step, error and reason; the reason of an error is its text, so there the error decides."""
    seen: Counter[tuple[str, str, str]] = Counter()
    chosen = []
    for letter in letters:
        key = letter.step, letter.error, letter.reason if letter.error == DROPPED else ""
        seen[key] += 1
        if seen[key] <= _EXAMPLES:
            chosen.append(letter)
    return chosen


def _sections(dataset: Dataset, letters: Sequence[DeadLetter]) -> list[Section]:
    shown = [(one.step, one.error, one.reason, one.source) for one in _examples(letters)]
    return [
        totals(dataset),
        accounts(dataset.manifest.ledger),
        *spreads(summarise(dataset)),
        ("Examples of what was not kept", ("step", "error", "reason", "source"), list(shown)),
    ]


def write_card(dataset: Dataset, out: Path, letters: Sequence[DeadLetter] = ()) -> None:
    """Write the card as Markdown and HTML, and the contact sheet that the HTML shows, into the folder `out`.

    It names a few of the letters for each step and error.
    """
    out.mkdir(parents=True, exist_ok=True)
    manifest = dataset.manifest
    title = f"Corpus {manifest.name}"
    facts = (
        f"{len(manifest.shards)} shards · tokens counted with {manifest.counting.tokenizer} · "
        f"code {manifest.code_version}" + (f" · seed {manifest.config['seed']}" if "seed" in manifest.config else "")
    )
    sections = _sections(dataset, letters)
    markdown = [f"# {title}", "", facts, ""]
    page = [f"<h1>{html.escape(title)}</h1><p>{html.escape(facts)}</p>"]
    for heading, columns, rows in sections:
        if not rows:
            continue
        markdown += [f"## {heading}", "", "| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
        markdown += ["| " + " | ".join(cell(value).replace("|", "\\|") for value in row) + " |" for row in rows]
        markdown.append("")
        head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell(value))}</td>" for value in row) + "</tr>" for row in rows
        )
        page.append(f"<h2>{html.escape(heading)}</h2><table><tr>{head}</tr>{body}</table>")
    write_sheet(dataset, out / SHEET)
    page.append(f'<h2>Samples</h2><img src="{SHEET}" alt="a row of samples for each task">')
    style = (
        "body{font:15px/1.5 system-ui,sans-serif;max-width:1240px;margin:2em auto;padding:0 1em}"
        "table{border-collapse:collapse}td,th{padding:.2em .7em;border-bottom:1px solid #ddd;text-align:left}"
        "img{max-width:100%}"
    )
    document = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{style}</style>{''.join(page)}</html>\n"
    )
    write_durably(out / CARD, "\n".join(markdown).encode())
    write_durably(out / PAGE, document.encode())
