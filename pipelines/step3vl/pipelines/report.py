"""What a build made, for a person to look at: a data card, a contact sheet, and tables in the terminal."""

import html
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont
from rich.console import Console
from rich.table import Table

from step3vl.data.dataset import Dataset
from step3vl.data.files import write_durably
from step3vl.data.geometry import Box
from step3vl.data.ledger import DeadLetter, Step
from step3vl.data.sample import Sample, TextPart
from step3vl.data.truth import BoxTruth, PointTruth, parse_boxes, parse_points
from step3vl.pipelines.steps import DROPPED

CARD = "card.md"
PAGE = "card.html"
SHEET = "contact_sheet.png"

_CELL = 200  # pixels of a picture on the contact sheet
_CAPTION = 44
_COLUMNS = 6
_FONT = Path("data/samples/fonts/NotoSansSC.otf")
_SEARCHED = 300  # samples of a task looked at for the sheet; enough to meet every entry, few enough for any size
_RIGHT = {"samples", "bytes", "tokens", "text tokens", "image tokens", "read", "kept"}  # columns of numbers
_EXAMPLES = 3  # letters shown for each step and reason


Rows = tuple[Sequence[str], list[Sequence[object]]]  # column heads, and the cells of each row
Section = tuple[str, Sequence[str], list[Sequence[object]]]  # a heading before them


def draw_truth(sample: Sample) -> PILImage.Image:
    """The first picture of a sample, with the truth's boxes in red and the answer's points and boxes in green."""
    picture = sample.images[0].open()
    draw = ImageDraw.Draw(picture)
    stroke = max(1, max(picture.size) // 150)
    answer = sample.answer() if sample.messages is not None else _last_text(sample)
    if isinstance(sample.truth, PointTruth | BoxTruth):
        truth = [Box(x1, y1, x2, y2, "milli", picture.size) for x1, y1, x2, y2 in sample.truth.boxes]
        for boxes, colour in ((truth, (220, 0, 0)), (parse_boxes(answer), (0, 170, 0))):
            for box in boxes:
                draw.rectangle(_pixels(box, picture.size), outline=colour, width=stroke)
        for point in parse_points(answer):
            x, y = point.x * picture.width / 1000, point.y * picture.height / 1000
            reach = 3 * stroke
            draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=(0, 170, 0), outline=(255, 255, 255))
    return picture


def _pixels(box: Box, size: tuple[int, int]) -> tuple[float, float, float, float]:
    return (
        box.x1 * size[0] / 1000,
        box.y1 * size[1] / 1000,
        box.x2 * size[0] / 1000,
        box.y2 * size[1] / 1000,
    )


def _last_text(sample: Sample) -> str:
    return [part.text for part in sample.parts() if isinstance(part, TextPart)][-1]


def contact_sheet(samples: Iterable[Sample], per_task: int = _COLUMNS) -> PILImage.Image:
    """The first few samples with a picture of each task and entry, a row of cells each, captioned below."""
    rows: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for sample in samples:
        row = rows[sample.task, sample.source.collected_by]
        if sample.images and len(row) < per_task:
            row.append(sample)
    filled = [rows[key] for key in sorted(rows) if rows[key]]
    height = _CELL + _CAPTION
    sheet = PILImage.new("RGB", (max(1, per_task * _CELL), max(1, height * len(filled))), "white")
    for number, few in enumerate(filled):
        for column, sample in enumerate(few):
            _paste_cell(sheet, sample, column * _CELL, number * height)
    return sheet


def _paste_cell(sheet: PILImage.Image, sample: Sample, left: int, top: int) -> None:
    picture = draw_truth(sample)
    scale = (_CELL - 6) / max(picture.size)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    sheet.paste(picture.resize(size, PILImage.Resampling.LANCZOS), (left + (_CELL - size[0]) // 2, top + 3))
    draw = ImageDraw.Draw(sheet)
    font = _caption_font()
    if sample.messages is None:
        lines = [_last_text(sample)]
    else:
        asked = [part.text for message in sample.prompt() for part in message.content if isinstance(part, TextPart)]
        lines = [" ".join(asked), "> " + sample.answer()]
    for number, line in enumerate([sample.task, *lines]):
        draw.text((left + 4, top + _CELL + 13 * number), _clip(line, font), fill=(20, 20, 20), font=font)


def _caption_font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The sample font that has Chinese, where the repository's samples are at hand; else Pillow's own."""
    return ImageFont.truetype(str(_FONT), 11) if _FONT.is_file() else ImageFont.load_default(11)


def _clip(line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    line = line.replace("\n", " / ")
    while line and font.getlength(line) > _CELL - 8:
        line = line[:-1]
    return line


def write_sheet(dataset: Dataset, path: Path) -> None:
    """Write the contact sheet of a dataset as PNG."""
    tasks = sorted({one.task for one in dataset.manifest.tasks})
    few = (itertools.islice(dataset.samples(task=task), _SEARCHED) for task in tasks)
    contact_sheet(itertools.chain.from_iterable(few)).save(path, optimize=True)


def licences(dataset: Dataset) -> Counter[str]:
    """How many samples stand under each licence."""
    return Counter(dataset.index(["licence"])["licence"].to_pylist())


def _totals(dataset: Dataset) -> Rows:
    rows: list[Sequence[object]] = [
        (one.split, one.task, one.kind, one.samples, one.text_tokens, one.image_tokens)
        for one in dataset.manifest.tasks
    ]
    fields = ("samples", "text_tokens", "image_tokens")
    sums = (sum(getattr(one, field) for one in dataset.manifest.tasks) for field in fields)
    return ("split", "task", "kind", "samples", "text tokens", "image tokens"), [*rows, ("total", "", "", *sums)]


def _accounts(steps: Iterable[Step]) -> Rows:
    def listed(counts: dict[str, int]) -> str:
        return ", ".join(f"{reason} {number:,}" for reason, number in sorted(counts.items())) or "-"

    rows = [(step.name, step.read, step.kept, listed(step.dropped), listed(step.dead)) for step in steps]
    return ("step", "read", "kept", "dropped", "dead"), list(rows)


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


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
    counted = licences(dataset)
    shown = [(one.step, one.error, one.reason, one.source) for one in _examples(letters)]
    return [
        ("Samples and tokens", *_totals(dataset)),
        ("Ledger: read = kept + dropped + dead", *_accounts(dataset.manifest.ledger)),
        ("Licences", ("licence", "samples"), [(name, counted[name]) for name in sorted(counted)]),
        ("Examples of what was not kept", ("step", "error", "reason", "source"), list(shown)),
    ]


def write_card(dataset: Dataset, out: Path, letters: Sequence[DeadLetter]) -> None:
    """Write the card as Markdown and HTML, and the contact sheet that the HTML shows, beside the dataset."""
    manifest = dataset.manifest
    title = f"Corpus {manifest.name}"
    facts = (
        f"{len(manifest.shards)} shards · tokens counted with {manifest.counting.tokenizer} · "
        f"code {manifest.code_version} · seed {manifest.config.get('seed')}"
    )
    sections = _sections(dataset, letters)
    markdown = [f"# {title}", "", facts, ""]
    page = [f"<h1>{html.escape(title)}</h1><p>{html.escape(facts)}</p>"]
    for heading, columns, rows in sections:
        if not rows:
            continue
        markdown += [f"## {heading}", "", "| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
        markdown += ["| " + " | ".join(_cell(value).replace("|", "\\|") for value in row) + " |" for row in rows]
        markdown.append("")
        head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(_cell(value))}</td>" for value in row) + "</tr>" for row in rows
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


def print_dataset(dataset: Dataset, console: Console) -> None:
    """Shards, tasks and the ledger as tables."""
    shards = [
        (one.path, one.split, one.samples, one.size, one.text_tokens + one.image_tokens, one.sha256[:12])
        for one in dataset.manifest.shards
    ]
    columns = ("shard", "split", "samples", "bytes", "tokens", "SHA-256")
    tables: list[Section] = [
        (f"{dataset.manifest.name}: shards", columns, list(shards)),
        ("tasks", *_totals(dataset)),
        ("ledger", *_accounts(dataset.manifest.ledger)),
    ]
    for title, heads, rows in tables:
        table = Table(title=title, title_justify="left")
        for column in heads:
            table.add_column(column, justify="right" if column in _RIGHT else "left")
        for row in rows:
            table.add_row(*(_cell(value) for value in row))
        console.print(table)
