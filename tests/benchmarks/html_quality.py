"""Main bodies of web pages, ours beside trafilatura's and resiliparse's: quality and CPU time over annotated pages.

    git clone --depth 1 https://github.com/adbar/trafilatura
    .venv/bin/python tests/benchmarks/html_quality.py trafilatura/tests [--pages 990]

The pages are those by which trafilatura's authors evaluate their own library: about a thousand, of news, blogs,
government and companies, in many languages, each with some texts that are in its main body and some that are not. A
text counts as kept if it is in the result, spaces and Markdown's marks aside. The pages are other people's, so they
are not in this repository.
"""

import argparse
import json
import random
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import trafilatura
from bench_html import Read, ours, resiliparse_reads, trafilatura_reads
from rich.console import Console
from rich.table import Table

_MARKS = re.compile(r"[*_`#\\|~]+|\]\([^()\s]*\)|[\[\]]")


class Annotated(NamedTuple):
    """A page, with texts of its main body and texts that are not in it."""

    data: bytes
    inside: tuple[str, ...]
    outside: tuple[str, ...]


class Score:
    """What a reader keeps of the annotated texts, and its CPU seconds."""

    def __init__(self) -> None:
        self.kept = self.lost = self.wrong = self.failed = 0
        self.seconds = 0.0

    @property
    def precision(self) -> float:
        return self.kept / max(self.kept + self.wrong, 1)

    @property
    def recall(self) -> float:
        return self.kept / max(self.kept + self.lost, 1)

    @property
    def f1(self) -> float:
        return 2 * self.kept / max(2 * self.kept + self.wrong + self.lost, 1)


def trafilatura_text(page: bytes) -> Read:
    """With the settings by which its authors evaluate it."""
    return trafilatura.extract(page, include_comments=False, include_tables=True) or "", 0


READERS: dict[str, Callable[[bytes], Read]] = {
    "ours": ours,
    "trafilatura": trafilatura_text,
    "trafilatura, Markdown and images": trafilatura_reads,
    "resiliparse": resiliparse_reads,
}


def annotated_pages(folder: Path) -> list[Annotated]:
    pages = []
    for item in json.loads((folder / "evaldata.json").read_text(encoding="utf-8")).values():
        files = [folder / part / item["file"] for part in ("cache", "eval")]
        if path := next((path for path in files if path.is_file()), None):
            inside, outside = (tuple(map(comparable, item[key])) for key in ("with", "without"))
            pages.append(Annotated(path.read_bytes(), inside, outside))
    return pages


def comparable(text: str) -> str:
    return "".join(_MARKS.sub("", text).split())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="the tests of trafilatura's repository")
    parser.add_argument("--pages", type=int, help="so many at random; all by default")
    options = parser.parse_args()
    pages = annotated_pages(options.folder)
    random.Random(0).shuffle(pages)
    pages = pages[: options.pages]
    scores = {name: Score() for name in READERS}
    for reader in READERS.values():  # what is loaded at the first call does not count
        reader(pages[0].data)
    for number, page in enumerate(pages):
        names = list(READERS)
        for name in names if number % 2 else reversed(names):
            score = scores[name]
            start = time.process_time()
            try:
                text = READERS[name](page.data)[0]
            except Exception as error:
                text = ""
                score.failed += 1
                print(f"{name}: {type(error).__name__}: {error}")
            score.seconds += time.process_time() - start
            text = comparable(text)
            score.kept += sum(part in text for part in page.inside)
            score.lost += sum(part not in text for part in page.inside)
            score.wrong += sum(part in text for part in page.outside)
    table = Table(title=f"Main bodies of {len(pages)} annotated pages")
    for name in ("reader", "precision", "recall", "F1", "failed", "pages/cpu-s", "ours/reader"):
        table.add_column(name, justify="left" if name == "reader" else "right")
    for name, score in scores.items():
        rate, ratio = len(pages) / score.seconds, score.seconds / scores["ours"].seconds
        parts = (f"{value:.3f}" for value in (score.precision, score.recall, score.f1))
        table.add_row(name, *parts, str(score.failed), f"{rate:.0f}", f"{ratio:.2f}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
