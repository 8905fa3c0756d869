"""Design2Code: 484 screenshots of web pages to be written as HTML, compared in five parts."""

import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from step3vl.evaluation.benchmark import About, Benchmark, DataFile, Rule
from step3vl.evaluation.files import find, find_all
from step3vl.evaluation.item import Item, Metrics, Score, Scored
from step3vl.evaluation.prompts import user_message
from step3vl.evaluation.webpages.clip import clip_similarity
from step3vl.evaluation.webpages.render import render_pages
from step3vl.grading.pool import WorkerError, WorkerPool

log = logging.getLogger(__name__)

PARTS = ("size", "text", "position", "colour")
CLIP = DataFile(
    "clip-vit-base-patch32/*", "https://huggingface.co/openai/clip-vit-base-patch32", "0.6 GB", optional=True
)
"""The weights behind the fifth part."""
NOTES = (
    "The fifth part of the official score is the similarity by CLIP ViT-B/32. Without its weights the mean of the "
    "other four is printed as `four parts`, which is no official score; compare the parts.",
    "Blocks are the texts of the page as the browser lays them out; the official code finds them in screenshots whose "
    "texts it has coloured.",
    "Scripts do not run, and nothing is loaded; images are empty on both pages.",
)
SECONDS = 120.0
"""For the matching of two pages."""
_PROMPT = (
    "Write a web page that looks exactly like the one in the screenshot: a single self-contained HTML file with its "
    "CSS inside. Match layout, sizes, texts, positions and colours of all elements as closely as you can. Use "
    '"rick.jpg" in place of every image, with its width and height in the screenshot. No scripts, no other files. '
    "Answer with the HTML file alone."
)
_FENCED = re.compile(r"```(?:html)?\s*\n(.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)
_MARKUP = re.compile(r"<!doctype html|<html\b|<body\b", re.IGNORECASE)
_POOL = WorkerPool("step3vl.evaluation.webpages.blocks:measure")


class Design2Code(Benchmark):
    """A response is rendered, and its blocks of text are matched with the design's."""

    about = About(
        name="design2code",
        title="Design2Code",
        paper="https://github.com/NoviScl/Design2Code",
        licence="ODC-BY 1.0; for research",
        items=484,
        repeats=4,
        family="official",
        metric="mean of block size, text, position, colour and CLIP; without CLIP's weights, of the first four",
        files=(
            DataFile("*.html", "https://huggingface.co/datasets/SALT-NLP/Design2Code", "10 MB"),
            DataFile("*.png", "https://huggingface.co/datasets/SALT-NLP/Design2Code", "200 MB", optional=True),
            CLIP,
        ),
        executes=True,
        notes=NOTES,
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        pages = find_all(data, "*.html", self.about)
        weights = data / CLIP.name.removesuffix("/*")
        fields = {"clip": str(weights)} if weights.is_dir() else {}
        for page in sorted(pages, key=lambda path: (len(path.stem), path.stem)):
            image = find(data, f"{page.stem}.png", self.about) if images else page.with_suffix(".png")
            yield Item(
                id=page.stem,
                messages=(user_message(_PROMPT, images=1),),
                answer=page.read_text(encoding="utf-8", errors="replace"),
                images=(image,) if images else (),
                fields=fields,
            )

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        html = read_html(response)
        if html is None:
            return Score.unparsable("no HTML")
        weights = item.fields.get("clip")
        predicted, reference = render_pages([html, item.answer], screenshots=weights is not None)
        try:
            parts: dict[str, float] = _POOL.call(predicted.blocks, reference.blocks, seconds=SECONDS)
        except (TimeoutError, WorkerError) as error:
            log.warning("%s: matching %d blocks: %s", item.id, len(predicted.blocks), error)
            return Score.unparsable("the pages could not be matched in time")
        if weights is not None:
            rendered = predicted.screenshot and reference.screenshot  # a page may be too slow or too large
            try:
                parts["clip"] = clip_similarity(Path(weights), predicted, reference) if rendered else 0.0
            except (TimeoutError, WorkerError) as error:
                log.warning("%s: filling the texts of its screenshots for CLIP: %s", item.id, error)
                return Score.unparsable("the texts of the screenshots could not be filled for CLIP in time")
        value = min(max(sum(parts.values()) / len(parts), 0.0), 1.0)
        trace = f"{len(predicted.blocks)} blocks, {len(reference.blocks)} in the design"
        return Score.graded(value, html, trace, **parts)

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        """The mean, and each of the parts, in percent; `score` with CLIP, `four parts` without."""
        metrics = super().summarise(scored)
        complete = bool(scored) and all("clip" in each.item.fields for each in scored)
        values = {
            part: 100 * sum(each.score.details.get(part, 0.0) for each in scored) / max(len(scored), 1)
            for part in ((*PARTS, "clip") if complete else PARTS)
        }
        values["four parts"] = sum(values[part] for part in PARTS) / len(PARTS)
        if not complete:
            return Metrics("four parts", values, metrics.counts)
        return Metrics("score", {"score": metrics.value, **values}, metrics.counts)


def read_html(response: str) -> str | None:
    """The page of a response: its last fenced block with markup, else from its first tag of a page on."""
    blocks = [block for block in _FENCED.findall(response) if "<" in block]
    if blocks:
        return str(blocks[-1])
    match = _MARKUP.search(response)
    return response[match.start() :] if match else None


BENCHMARK = Design2Code()
