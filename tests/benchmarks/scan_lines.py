"""Lines of scans: pages of PDFs are read as if they had no text, and compared with the rectangles that they state.

    python tests/benchmarks/scan_lines.py [PAGES-OF-A-FILE [PDF ...]]

A line that is kept must be a line of the file: its box that of the file's, its text the same. Texts that differ are
printed; quotation marks and spaces are not compared, as the OCR writes straight ones and its own.
"""

import sys
from pathlib import Path
from statistics import median

from step3vl.data.sample import Box
from step3vl.pipelines.documents.paragraphs import TextBlock, page_lines, page_paragraphs
from step3vl.pipelines.documents.scans import scan_words
from step3vl.pipelines.documents.two_readings import read_twice
from step3vl.pipelines.models.ocr import OcrModel
from step3vl.pipelines.sources.documents.pages import count_pages, read_page

ROOT = Path(__file__).parents[2]
DPI, SCALE, MIN_CONFIDENCE = 110, 0.75, 0.9  # those of `grounding.documents`
MARKS = str.maketrans("“”‘’–∗", "\"\"''-*")


def main(most: int, files: list[Path]) -> None:
    """Read, compare, and print the figures."""
    model = OcrModel()
    read = 0
    lines: list[tuple[TextBlock, TextBlock, float]] = []
    paragraphs: list[float] = []
    pages = [(file, number) for file in files for number in range(min(most, count_pages(file)))]
    for file, number in pages:
        page = read_page(file, number, DPI)
        truth = page_lines(page.words)
        image = page.image.open().convert("RGB")
        kept = page_lines(scan_words(image, read_twice(model, image, SCALE), MIN_CONFIDENCE))
        read += len(kept)
        lines += [(line, *_nearest(line, truth)) for line in kept if line.clear]
        blocks = page_paragraphs(truth)
        paragraphs += [_nearest(block, blocks)[1] for block in page_paragraphs(kept) if block.clear]
    for line, other, _ in lines:
        if _letters(line.text) != _letters(other.text):
            print(f"read:  {line.text}\nstated: {other.text}")
    same = sum(_letters(line.text) == _letters(other.text) for line, other, _ in lines)
    overlaps = [overlap for *_, overlap in lines]
    print(f"{len(pages)} pages, {read} lines read, {len(lines)} kept; {same} with the text that the file states")
    print(f"intersection over union of lines: median {median(overlaps):.3f}, least {min(overlaps):.3f}")
    print(f"paragraphs: {len(paragraphs)}, at least {min(paragraphs, default=1.0):.3f}")


def _nearest(block: TextBlock, others: list[TextBlock]) -> tuple[TextBlock, float]:
    """The block of the file that covers another one best, and how well."""
    nothing = TextBlock("", Box(0, 0, 1, 1, "pixels", block.box.size), False)
    nearest = max(others, key=lambda other: other.box.iou(block.box), default=nothing)
    return nearest, nearest.box.iou(block.box)


def _letters(text: str) -> str:
    return "".join(text.translate(MARKS).split())


if __name__ == "__main__":
    paths = [Path(name) for name in sys.argv[2:]] or sorted((ROOT / "data/samples/documents").glob("*.pdf"))
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2, paths)
