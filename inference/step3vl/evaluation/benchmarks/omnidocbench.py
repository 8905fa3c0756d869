"""OmniDocBench: pages to Markdown, by edit distances of texts, formulas, tables and reading order, and by TEDS."""

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from step3vl.evaluation.benchmark import About, Benchmark, DataFile, Rule
from step3vl.evaluation.files import find, image_bytes, read_json, read_records, require_fields
from step3vl.evaluation.item import Item, Metrics, Recorded, Score, Scored, Verdict, by_category, mean_percent
from step3vl.evaluation.prompts import user_message
from step3vl.evaluation.records import RecordedRun
from step3vl.grading.pool import WorkerError, WorkerPool

log = logging.getLogger(__name__)

SECONDS = 300.0
"""For the matching of a page, most of which take under a second; a longer one is matched in the simple way."""
_PROMPT = (
    "Convert the page to Markdown. Keep the reading order; write tables in HTML and formulas in LaTeX, "
    "$...$ within a line and $$...$$ on lines of their own. Leave out figures, headers, footers and page numbers. "
    "Output the Markdown only."
)
_ELEMENTS = ("text", "formula", "table", "order")
_POOL = WorkerPool("step3vl.evaluation.documents.page:measure")


class OmniDocBench(Benchmark):
    """The normalised edit distance over the four kinds of elements, in percent; lower is better."""

    about = About(
        name="omnidocbench",
        title="OmniDocBench",
        paper="https://github.com/opendatalab/OmniDocBench",
        licence="for research only (data set card); the evaluation code is Apache-2.0",
        items=1355,
        repeats=4,
        family="official",
        metric="normalised edit distance over text, formulas, tables and reading order (lower is better)",
        files=(
            DataFile("OmniDocBench.json", "https://huggingface.co/datasets/opendatalab/OmniDocBench", "80 MB"),
            DataFile(
                "images/*.jpg", "https://huggingface.co/datasets/opendatalab/OmniDocBench", "1.2 GB", optional=True
            ),
        ),
        notes=(
            "Matching is that of version 1.5, which assigns texts and formulas together; version 1.0 has 981 pages, "
            "matches them apart, and gives other numbers. The paper does not say which it used.",
            "The headline is the mean of the four edit distances, each a mean over pages, as version 1.0 prints it.",
            "CDM, the metric of formulas by rendering them, is not computed: it needs pdflatex, ImageMagick and "
            "KaTeX's tokenizer in Node. Tables in LaTeX count as missed; the official code converts them by LaTeXML.",
            "Official: pages are told apart by their file names, of which a number at the end is lost where it equals "
            "an element's index, and places in the reading order are shifted by elements without letters. The strict "
            "rule repairs both.",
        ),
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        path = find(data, "OmniDocBench.json", self.about)
        for page in read_records(path):
            image = page.get("page_info", {}).get("image_path", "")
            yield _item(page, path, (image_bytes(image, data / "images"),) if images else ())

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        if not response.strip() and rule == "strict":
            return Score.unparsable("an empty page")
        details, trace = _measure(item.answer, response, aligned=rule == "strict")
        if details is None:
            return Score.unparsable(trace)
        page_distances = [distance for distance in _page_distances(details).values() if distance is not None]
        value = 1 - sum(page_distances) / len(page_distances) if page_distances else 1.0
        verdict: Verdict = "correct" if value == 1 else "partial"
        return Score(max(value, 0.0), verdict, None, (trace,), {**details, "official": rule == "official"})

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        """Edit distances in percent: over pages (as reported), over all characters and over elements; and TEDS."""
        scored = [_measured(each) for each in scored]
        values: dict[str, float] = {}
        counts = {"items": len(scored), "unparsable": sum(each.score.verdict == "unparsable" for each in scored)}
        for element in _ELEMENTS:
            samples = [(each, *sample) for each in scored for sample in _samples(each.score.details, element)]
            if samples:
                values |= _distances(element, samples)
                counts[f"{element} elements"] = len(samples)
        for name, field in (("TEDS", "teds"), ("TEDS of structure", "structure")):
            similarities = [value for each in scored for value in each.score.details.get(field, ())]
            if similarities:
                values[name] = 100 * sum(similarities) / len(similarities)
        pages = [values[element] for element in _ELEMENTS if element in values]
        values = {"edit distance": sum(pages) / len(pages) if pages else 100.0, **values}
        return Metrics("edit distance", values, counts, by_category(scored, lambda group: 100 - mean_percent(group)))

    def recorded(self, path: Path) -> Iterator[tuple[Item | None, Recorded]]:
        """A folder of Markdown files named as the images, or an object of such texts by their names.

        The annotations lie beside it, in the only other JSON file of the folder; pages without a prediction are left
        out, as in the official code.
        """
        if path.is_dir():
            texts = {file.name: file.read_text(encoding="utf-8") for file in sorted(path.glob("*.md"))}
        else:
            texts = read_json(path)
        annotations = find(path.parent, "*_demo.json" if not path.is_dir() else "*.json")
        for page in read_records(annotations):
            item = _item(page, annotations, ())
            if f"{item.id}.md" in texts:
                yield item, Recorded(item.id, texts[f"{item.id}.md"])


def _item(page: Mapping[str, Any], path: Path, images: tuple[bytes | Path, ...]) -> Item:
    require_fields(page, ("layout_dets", "page_info"), path)
    require_fields(page["page_info"], ("image_path",), path)
    attributes = page["page_info"].get("page_attribute", {})
    return Item(
        id=Path(page["page_info"]["image_path"]).stem,
        messages=(user_message(_PROMPT, images=1),),
        answer=dict(page),
        images=images,
        category=str(attributes.get("data_source") or attributes.get("language") or ""),
    )


def _measure(page: Mapping[str, Any], response: str, aligned: bool) -> tuple[dict[str, Any] | None, str]:
    """What `documents.page.measure` finds, and how; None where even the simple way takes too long."""
    for simple, trace in ((False, "quick match"), (True, "simple match, the quick one took too long")):
        try:
            return _POOL.call(page, response, simple, aligned, seconds=SECONDS), trace
        except TimeoutError:
            continue
        except WorkerError as error:
            log.warning("a page of %d characters: %s", len(response), error)
            return None, f"failed: {error}"
    return None, "matching took too long"


def _measured(each: Scored) -> Scored:
    """A page that nothing could be read from counts as an empty one, with all its elements missed."""
    if "text" in each.score.details:
        return each
    details, _ = _measure(each.item.answer, "", aligned=True)
    return replace(each, score=replace(each.score, details={**(details or {}), "official": False}))


def _samples(details: Mapping[str, Any], element: str) -> list[tuple[int, int, list[int]]]:
    """Edits, length and indices of each element; the reading order is one."""
    if element == "order":
        return [(*details["order"], [])] if details.get("order") else []
    return [(edits, length, indices) for edits, length, indices in details.get(element, ()) if length]


def _page_distances(details: Mapping[str, Any]) -> dict[str, float | None]:
    result: dict[str, float | None] = {}
    for element in _ELEMENTS:
        length = sum(sample[1] for sample in _samples(details, element))
        edits = sum(sample[0] for sample in _samples(details, element))
        result[element] = edits / length if length else None
    return result


def _distances(element: str, samples: Sequence[tuple[Scored, int, int, list[int]]]) -> dict[str, float]:
    pages: dict[tuple[str, int], list[int]] = defaultdict(lambda: [0, 0])
    for each, edits, length, indices in samples:
        page = pages[_page_name(each, indices), each.repeat]
        page[0] += edits
        page[1] += length
    return {
        element: 100 * sum(edits / length for edits, length in pages.values()) / len(pages),
        f"{element} by characters": 100 * sum(sample[1] for sample in samples) / sum(sample[2] for sample in samples),
        f"{element} by elements": 100 * sum(sample[1] / sample[2] for sample in samples) / len(samples),
    }


def _page_name(each: Scored, indices: Sequence[int]) -> str:
    """The page that an element counts for. The official code takes a number at its end for the element's own."""
    name, _, number = each.item.id.rpartition("_")
    confused = each.score.details["official"] and number.isdigit() and int(number) in indices
    return name if confused else each.item.id


RECORDS = (
    RecordedRun(
        "OmniDocBench-like-MDPBench",
        "Gemini3-pro-preview_demo_result.json.gz",
        {
            "text": 14.206789219842145,
            "text by characters": 36.302800889795617,
            "text by elements": 58.38598358585936,
            "table": 16.167845795469243,
            "table by characters": 24.867668145209923,
            "table by elements": 18.84094377979413,
            "TEDS": 78.50340430686895,
            "TEDS of structure": 84.6266171980203,
            "order": 20.328044205255247,
        },
        "MDPBench has the code of OmniDocBench and publishes these pages; the numbers are what that code gives.",
    ),
)

BENCHMARK = OmniDocBench()
