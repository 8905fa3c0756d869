"""Web pages as documents of texts and images in reading order, from archives, saved sites and tables of documents.

After the interleaved data of the STEP3-VL-10B report, section 2.2. An archive is walked once: its pages are records,
each with where the archive holds the images that the page names, so that no index of a crawl is kept anywhere. A page
is then read, cut to its main body, cleaned and filtered on any machine, and becomes one document, or several if it is
long.
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import Field

from step3vl.data.sample import Image, Parts, Sample, Source, image, text
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import BeamStep, Domain, IntRange, ModelStep
from step3vl.pipelines.core.steps import Dropped, Record
from step3vl.pipelines.domains.knowledge_sources import OPEN_SECONDS, PAGE_SECONDS, OpenPages, WebEntry, model_files
from step3vl.pipelines.models.language import is_foreign
from step3vl.pipelines.models.perplexity import PerplexityConfig, PerplexityModel
from step3vl.pipelines.sources.web.main_body import ImageNode, Node, TextNode
from step3vl.pipelines.sources.web.page_text import clean, count_characters, repetition, split
from step3vl.pipelines.sources.web.web_archive import WebPage
from step3vl.pipelines.sources.web.web_document import has_failed, read_page

_BATCH = 8  # pages that a language model gets at once
_TEXT_SECONDS = 60.0  # for it to read one


class InterleavedEntry(WebEntry):
    """Web pages with their images."""

    domain: Literal["knowledge.interleaved"]
    kind: Literal["document"] = "document"
    """Pages are documents."""
    languages: tuple[str, ...] = ()
    """ISO 639-1 codes; a page that is surely in another language is dropped. Any when empty."""
    perplexity: PerplexityConfig | None = None
    """Drops pages whose text surprises a language model."""
    max_failed: float = Field(default=0.9, ge=0, le=1)
    """Drop a page if a larger share of its images is missing or damaged, or could not be fetched."""
    max_images: int = Field(default=6, ge=1)
    """Of a sample; a page with more becomes several."""
    characters: IntRange = (150, 8000)
    """Of a sample's text, a CJK one counting double; a longer page becomes several samples."""
    max_repetition: float = Field(default=0.2, ge=0, le=1)
    """The share of sequences of five words that occur before."""

    def assets(self) -> tuple[str, ...]:
        return model_files(self.perplexity.folder) if self.perplexity else ()


class MeasurePerplexity:
    """Annotator: pages with the perplexity of their text."""

    def __init__(self, entry: InterleavedEntry) -> None:
        assert entry.perplexity is not None
        self._model = PerplexityModel(entry.perplexity)

    def __call__(self, pages: Sequence[WebPage]) -> list[WebPage]:
        measured = self._model.measure([_text_of(page) for page in pages])
        return [page.model_copy(update={"perplexity": value}) for page, value in zip(pages, measured, strict=True)]


def _measures_perplexity(entry: InterleavedEntry) -> bool:
    return entry.perplexity is not None


def _text_of(page: WebPage) -> str:
    """What a page says; nothing for one that is dropped later."""
    try:
        return _joined(read_page(page, ()).nodes)
    except Dropped:
        return ""


def _joined(nodes: Sequence[Node]) -> str:
    return "\n".join(node.text for node in nodes if isinstance(node, TextNode))


class BuildDocuments:
    """Worker: a page becomes documents."""

    def __init__(self, entry: InterleavedEntry, context: StepContext) -> None:
        self._entry = entry
        self._context = context

    def setup(self) -> None:
        self._images = self._entry.page_images(self._context)

    def process(self, record: Record[WebPage], rng: random.Random) -> Iterator[Sample]:
        entry, stored = self._entry, record.value
        page = read_page(stored, entry.licences)
        if not _has_image(page.nodes):
            raise Dropped("no_images")
        if is_foreign(_joined(page.nodes), entry.languages):
            raise Dropped("language")
        if entry.perplexity and stored.perplexity is not None and stored.perplexity > entry.perplexity.max:
            raise Dropped("perplexity")
        images, reasons = self._load(stored, [node for node in page.nodes if isinstance(node, ImageNode)])
        failed = _failed_share(reasons, len(images))
        if failed > entry.max_failed:
            raise Dropped("images_failed")
        if not images:
            raise Dropped("no_images_left")
        kept = clean([node for node in page.nodes if isinstance(node, TextNode) or node in images])
        if repetition(kept) > entry.max_repetition:
            raise Dropped("repetitive")
        scores = {
            "failed_images": round(failed, 4),
            **{f"images_{name}": float(n) for name, n in sorted(reasons.items())},
        }
        if stored.perplexity is not None:
            scores["perplexity"] = stored.perplexity
        documents = [
            parts
            for parts in split(kept, entry.characters[1], entry.max_images)
            if count_characters(parts) >= entry.characters[0] and _has_image(parts)
        ]
        if not documents:
            raise Dropped("too_short")
        source = Source(uri=stored.url, licence=page.licence, collected_by=f"step3vl/{entry.name}")
        for document in documents:
            yield _sample(document, images, source, scores)

    def _load(self, stored: WebPage, nodes: Sequence[ImageNode]) -> tuple[dict[ImageNode, Image], Counter[str]]:
        """The images that are kept, each where it first stands, and how many are left out for what reason."""
        images: dict[ImageNode, Image] = {}
        reasons: Counter[str] = Counter()
        for node, loaded in zip(nodes, self._images.load(stored, nodes), strict=True):
            if loaded.image is None:
                reasons[loaded.reason] += 1
            else:
                images[node] = loaded.image
        return images, reasons


def _has_image(nodes: Sequence[Node]) -> bool:
    """Whether an image is among them."""
    return any(isinstance(node, ImageNode) for node in nodes)


def _failed_share(reasons: Counter[str], loaded: int) -> float:
    """Of the images that were wanted, the share that could not be had."""
    failed = sum(count for reason, count in reasons.items() if has_failed(reason))
    return failed / (failed + loaded) if failed else 0.0


def _sample(nodes: Sequence[Node], images: dict[ImageNode, Image], source: Source, scores: dict[str, float]) -> Sample:
    """A document of the nodes; neighbouring texts are one part."""
    parts: list[str | Image] = []
    previous: Node | None = None
    for node in nodes:
        if isinstance(node, ImageNode):
            parts.append(images[node])
        elif isinstance(previous, TextNode):
            close = previous.kind == node.kind and node.kind in ("item", "row")
            gap = "\n" if close else "\n\n"
            parts[-1] = f"{parts[-1]}{gap}{node.text}"
        else:
            parts.append(node.text)
        previous = node
    used = tuple(part for part in parts if isinstance(part, Image))
    numbers = iter(range(len(used)))
    content: Parts = tuple(text(part) if isinstance(part, str) else image(next(numbers)) for part in parts)
    return Sample.make(
        domain="knowledge", task="knowledge.interleaved", content=content, images=used, source=source, scores=scores
    )


DOMAIN = Domain(
    InterleavedEntry,
    steps=(
        BeamStep("open", version=2, worker=OpenPages, output=WebPage, time_limit=OPEN_SECONDS),
        ModelStep(
            "perplexity",
            version=1,
            annotator=MeasurePerplexity,
            output=WebPage,
            batch=_BATCH,
            time_limit=_TEXT_SECONDS,
            when=_measures_perplexity,
        ),
        BeamStep("build", version=3, worker=BuildDocuments, output=Sample, spread=True, time_limit=PAGE_SECONDS),
    ),
    example={"sources": [{"files": ["data/samples/web/*.warc.gz"], "licence": "BSD-3-Clause"}]},
)
