"""How right the labels of born-digital pages are: what the OCR reads, and in which order, beside the PDF's own text.

    .venv/bin/python tests/benchmarks/document_quality.py FOLDER ... [--files 20] [--pages 2] [--seed 0] [--dpi 120]

Pages are taken at random, at most `--pages` of a file. What the OCR reads is compared before the file's text corrects
it, so the two are independent; headers, formulas and figures count in the recall and F1, not in the order. Prints each
page, and the averages of all pages and of those that the domain keeps. About 7 CPU seconds a page.
"""

import argparse
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.samples import encode_jpeg
from step3vl.pipelines.core.steps import Dropped, Record, rng_for
from step3vl.pipelines.documents.agreement import has_ideographs, recall, token_agreement, tokens
from step3vl.pipelines.documents.blocks import page_blocks
from step3vl.pipelines.documents.labels import compare_with_file
from step3vl.pipelines.domains.ocr_documents import (
    DocumentsEntry,
    LabelRegions,
    Page,
    PageReader,
    ReadPage,
    SplitRegions,
)
from step3vl.pipelines.sources.documents.pdf import PdfError, page_count, render_page

_FEW_IDEOGRAPHS = 20


class Quality(NamedTuple):
    """How what was read of a page agrees with what the file says."""

    recall: float
    f1: float
    ideographs: float | None
    """F1 of Chinese and Japanese characters alone."""
    tau: float | None
    outcome: str
    """Kept, or why the domain drops the page."""


def random_pages(folders: list[Path], files: int, pages: int, seed: int) -> Iterator[tuple[Path, int]]:
    rng = random.Random(seed)
    paths = sorted({path for folder in folders for path in folder.rglob("*.pdf")})
    for path in rng.sample(paths, min(files, len(paths))):
        try:
            count = page_count(path)
        except PdfError as error:
            print(f"{path}: {error}")
            continue
        for number in sorted(rng.sample(range(count), min(pages, count))):
            yield path, number


def quality(read: ReadPage, entry: DocumentsEntry, context: StepContext) -> Quality:
    expected = [token for word in read.words for token in tokens(word.text)]
    read_tokens = [token for line in read.lines for token in tokens(line.text)]
    ideographs = [[token for token in side if has_ideographs(token)] for side in (read_tokens, expected)]
    tau = None
    if read.lines:
        _, tau = compare_with_file(page_blocks(read.lines, read.regions, (), trusted=False), read.words)
    return Quality(
        recall(read_tokens, expected),
        token_agreement(read_tokens, expected),
        token_agreement(*ideographs) if len(ideographs[1]) >= _FEW_IDEOGRAPHS else None,
        tau,
        outcome(read, entry, context),
    )


def outcome(read: ReadPage, entry: DocumentsEntry, context: StepContext) -> str:
    worker = LabelRegions(entry, context)
    worker.setup()
    try:
        for region in SplitRegions(entry, context).process(Record("page", read), rng_for(0)):
            list(worker.process(region, rng_for(0)))
    except Dropped as dropped:
        return dropped.reason
    return "kept"


def summary(name: str, rows: list[Quality]) -> str:
    if not rows:
        return f"{name}: no pages"
    text = f"{name}: {len(rows)} pages"
    for field in ("recall", "f1", "ideographs", "tau"):
        values = [value for row in rows if (value := getattr(row, field)) is not None]
        text += f", {field} {mean(values):.4f} (of {len(values)})" if values else ""
    return text


def row_text(row: Quality) -> str:
    return ", ".join(f"{field} {value:.4f}" for field, value in row._asdict().items() if isinstance(value, float))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--files", type=int, default=20)
    parser.add_argument("--pages", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dpi", type=int, default=120)
    options = parser.parse_args()
    context = StepContext(seed=0, base=str(Path.cwd()))
    entry = DocumentsEntry.model_validate(
        {
            "domain": "ocr.document_to_text",
            "name": "quality",
            "sources": [{"files": ["unused"], "licence": "unused"}],
            "dpi": options.dpi,
        }
    )
    reader, rows, start = PageReader(entry), [], time.process_time()
    for path, number in random_pages(options.folders, options.files, options.pages, options.seed):
        rendering = render_page(path, number, options.dpi)
        if not rendering.words:
            print(f"{path.name}#{number + 1}: no text layer")
            continue
        image = encode_jpeg(rendering.image, 95)
        page = Page(image=image, words=rendering.words, turn=rendering.turn, labels=(), licence="unused")
        (read,) = reader([page])
        rows.append(quality(read, entry, context))
        print(f"{path.name}#{number + 1}: {row_text(rows[-1])}, {rows[-1].outcome}", flush=True)
    print(summary("all", rows))
    print(summary("kept", [row for row in rows if row.outcome == "kept"]))
    print(dict(Counter(row.outcome for row in rows)))
    print(f"{(time.process_time() - start) / max(len(rows), 1):.1f} CPU seconds a page")


if __name__ == "__main__":
    main()
