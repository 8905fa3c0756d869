"""Reading web pages: the main body of ours beside that of trafilatura and of resiliparse, from the same bytes.

They keep different texts: the note says how much, as the share of each one's words that the other keeps too.
"""

from collections import Counter
from functools import partial
from pathlib import Path

import trafilatura
from measure import Row, race
from resiliparse.extract.html2text import extract_plain_text

from step3vl.pipelines.sources.web.html import decode_html, parse_page
from step3vl.pipelines.sources.web.main_body import ImageNode, TextNode, read_main_body
from step3vl.pipelines.sources.web.warc import parse_response, walk_records

ARCHIVE = Path(__file__).parents[2] / "data" / "samples" / "web" / "scikit-image.warc.gz"
REPEATS = 10

Read = tuple[str, int]
"""The text of a page, and the images in it."""


def load_pages(path: Path) -> list[bytes]:
    responses = [parse_response(record.data, 4 << 20) for record in walk_records(path)]
    return [response.body for response in responses if response is not None and response.mime == "text/html"]


def ours(page: bytes) -> Read:
    nodes = read_main_body(parse_page(decode_html(page, None), "https://a.example/"))
    text = "\n".join(node.text for node in nodes if isinstance(node, TextNode))
    return text, sum(isinstance(node, ImageNode) for node in nodes)


def trafilatura_reads(page: bytes) -> Read:
    text = trafilatura.extract(page, output_format="markdown", include_images=True, url="https://a.example/") or ""
    return text, text.count("![")


def resiliparse_reads(page: bytes) -> Read:
    return extract_plain_text(decode_html(page, None), main_content=True), 0


def words(pages: list[Read]) -> Counter[str]:
    return sum((Counter(text.split()) for text, _ in pages), Counter())


def rows(rounds: int) -> list[Row]:
    pages = load_pages(ARCHIVE)
    readers = {"ours": ours, "trafilatura": trafilatura_reads, "resiliparse": resiliparse_reads}

    def read_all(name: str) -> int:
        return sum(1 for _ in range(REPEATS) for page in pages if readers[name](page) is not None)

    seconds = race({name: partial(read_all, name) for name in readers}, rounds)
    results = {name: [reader(page) for page in pages] for name, reader in readers.items()}
    kept, count = words(results["ours"]), REPEATS * len(pages)
    table = []
    for name in ("trafilatura", "resiliparse"):
        theirs = words(results[name])
        both = (kept & theirs).total()
        note = f"we keep {both / theirs.total():.0%} of its words, it keeps {both / kept.total():.0%} of ours"
        images = f"images: {sum(n for _, n in results['ours'])} and {sum(n for _, n in results[name])}"
        table.append(
            Row(
                f"main body beside {name}",
                count / seconds["ours"],
                count / seconds[name],
                "pages/cpu-s",
                f"{note}; {images}",
            )
        )
    return table
