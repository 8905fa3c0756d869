"""Web pages as documents of texts and images in reading order, from WARC files and saved sites.

After the interleaved data of the STEP3-VL-10B report, section 2.2. An archive is walked once: its pages are records,
each with where the archive holds the images that the page names, so that no index of a crawl is kept anywhere. A page
is then read, cut to its main body, cleaned and filtered on any machine, and becomes one document, or several if it is
long.
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, Self

from pydantic import Field, model_validator
from xxhash import xxh3_64_hexdigest

from step3vl.data.config import Config
from step3vl.data.sample import Image, Parts, Pointer, Sample, Source, image, text
from step3vl.data.storage import read_slices
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import BeamStep, Domain, DomainEntry, Files, FileSource, IntRange
from step3vl.pipelines.core.inputs import InputFile
from step3vl.pipelines.core.steps import Dropped, Record
from step3vl.pipelines.sources.html import decode_html, parse_page
from step3vl.pipelines.sources.main_body import ImageNode, Node, TextNode, read_main_body, text_length
from step3vl.pipelines.sources.page_text import clean, repetition, split
from step3vl.pipelines.sources.warc import WarcError, is_warc, parse_response, unpack_record
from step3vl.pipelines.sources.web_archive import WebPage, pages_of_archive
from step3vl.pipelines.sources.web_images import (
    address_key,
    decode_data_url,
    is_decoration,
    is_vector,
    load_image,
)
from step3vl.pipelines.sources.web_site import Site, site_of, stored_image

_OPEN_SECONDS = 1800.0  # for an archive to be walked: a gigabyte takes a minute or two
_PAGE_SECONDS = 60.0
_MAX_PAGE = 4 << 20  # bytes of a page
_MAX_IMAGE = 32 << 20  # bytes of an image
_FAILED = ("missing", "damaged")


class SavedSite(Config):
    """A site saved as a folder."""

    folder: str
    """Path or URL. Its HTML files are pages; what they link to from `/` on lies below it, and nothing else is read."""
    url: str = Field(pattern=r"^https?://.+")
    """The address that the folder was served at."""
    licence: str
    """Of pages that state none."""


class InterleavedEntry(DomainEntry):
    """Web pages with their images."""

    INPUT_FIELDS = frozenset({"sources"})

    domain: Literal["knowledge.interleaved"]
    kind: Literal["document"] = "document"
    """Pages are documents."""
    sources: tuple[FileSource, ...] = ()
    """WARC files, plain or with a gzip member for each record, whose images are in the same file as their pages. The
    licence is that of pages that state none."""
    sites: tuple[SavedSite, ...] = ()
    """Folders of HTML files and images. A changed image is noticed only with a change of its page."""
    licences: tuple[str, ...] = ()
    """Keep only pages under these licences; under any when empty."""
    image_sides: IntRange = (150, 20000)
    """The shortest and the longest side of an image, in pixels."""
    max_aspect: float = Field(default=3.0, ge=1)
    """The longer side of an image over its shorter one."""
    max_failed: float = Field(default=0.9, ge=0, le=1)
    """Drop a page if a larger share of its images is missing or damaged."""
    max_pages_with_image: int = Field(default=10, ge=1)
    """An image that more pages of an archive name is decoration."""
    max_images: int = Field(default=6, ge=1)
    """Of a sample; a page with more becomes several."""
    characters: IntRange = (150, 8000)
    """Of a sample's text, a CJK one counting double; a longer page becomes several samples."""
    max_repetition: float = Field(default=0.2, ge=0, le=1)
    """The share of sequences of five words that occur before."""

    def inputs(self) -> Files:
        folders = (
            FileSource(files=(f"{site.folder.rstrip('/')}/**/*.*htm*",), licence=site.licence) for site in self.sites
        )
        return Files((*self.sources, *folders))

    @model_validator(mode="after")
    def _reads_something(self) -> Self:
        if not self.sources and not self.sites:
            raise ValueError("give sources (WARC files) or sites (folders)")
        return self


class OpenArchives:
    """Worker: an archive becomes its pages; a page of a saved site is one."""

    def __init__(self, entry: InterleavedEntry, context: StepContext) -> None:
        self._entry = entry
        self._context = context

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[InputFile], rng: random.Random) -> Iterator[Record[WebPage]]:
        file = record.value
        for site in self._entry.sites:
            if home := site_of(file, site.folder, site.url, self._context.base):
                yield Record(record.key, _saved_page(file, home))
                return
        path = self._context.local_path(file)
        if not is_warc(path):
            raise Dropped("not_a_warc")
        for page in pages_of_archive(path, file, _MAX_PAGE):
            yield Record(f"{record.key}#{page.at.offset}", page)


def _saved_page(file: InputFile, site: Site) -> WebPage:
    at = Pointer(path=file.url, offset=0, size=file.size)
    reason = "page_too_large" if file.size > _MAX_PAGE else ""
    return WebPage(url=site.address_of(file.url), at=at, licence=file.licence, site=site, reason=reason)


class Lookup(NamedTuple):
    """The bytes of an image, or where they are, or the reason for neither."""

    data: bytes = b""
    at: Pointer | None = None
    reason: str = ""


class BuildDocuments:
    """Worker: a page becomes documents."""

    def __init__(self, entry: InterleavedEntry, context: StepContext) -> None:
        self._entry = entry

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[WebPage], rng: random.Random) -> Iterator[Sample]:
        entry, stored = self._entry, record.value
        if stored.reason:
            raise Dropped(stored.reason)
        licence, nodes = self._read(stored)
        images, reasons = self._images(stored, [node for node in nodes if isinstance(node, ImageNode)])
        failed = _failed_share(reasons, len(images))
        if not _has_image(nodes):
            raise Dropped("no_images")
        if failed > entry.max_failed:
            raise Dropped("images_failed")
        if not images:
            raise Dropped("no_images_left")
        kept = clean([node for node in nodes if isinstance(node, TextNode) or node in images])
        if repetition(kept) > entry.max_repetition:
            raise Dropped("repetitive")
        scores = {
            "failed_images": round(failed, 4),
            **{f"images_{name}": float(n) for name, n in sorted(reasons.items())},
        }
        documents = [
            parts
            for parts in split(kept, entry.characters[1], entry.max_images)
            if _is_long_enough(parts, entry.characters[0]) and _has_image(parts)
        ]
        if not documents:
            raise Dropped("too_short")
        source = Source(uri=stored.url, licence=licence, collected_by=f"step3vl/{entry.name}")
        for document in documents:
            yield _sample(document, images, source, scores)

    def _read(self, stored: WebPage) -> tuple[str, list[Node]]:
        """The licence and the main body of a page that may be used."""
        (data,) = read_slices([stored.at])
        headers: dict[str, str] = {}
        charset = None
        if stored.site is None:
            response = parse_response(unpack_record(data), _MAX_PAGE)
            assert response is not None
            data, headers, charset = response.body, response.headers, response.charset
        if not data.strip():
            raise Dropped("empty_page")
        page = parse_page(decode_html(data, charset), stored.url, headers)
        if page.opts_out:
            raise Dropped("opted_out")
        licence = page.licence or stored.licence
        if self._entry.licences and licence not in self._entry.licences:
            raise Dropped("licence")
        return licence, read_main_body(page)

    def _images(self, stored: WebPage, nodes: Sequence[ImageNode]) -> tuple[dict[ImageNode, Image], Counter[str]]:
        """The images that are kept, each where it first stands, and how many are left out for what reason."""
        entry, images, reasons, hashes = self._entry, dict[ImageNode, Image](), Counter[str](), set[str]()
        lookups = [self._look_up(stored, node) for node in nodes]
        contents = iter(read_slices([lookup.at for lookup in lookups if lookup.at is not None]))
        for node, lookup in zip(nodes, lookups, strict=True):
            data = lookup.data if lookup.at is None else _unpack_image(next(contents), stored)
            digest = xxh3_64_hexdigest(data)
            if not data:
                picked, reason = None, lookup.reason
            elif digest in hashes:
                picked, reason = None, "repeated"
            else:
                hashes.add(digest)
                picked, reason = load_image(data, entry.image_sides, entry.max_aspect)
            if picked is None:
                reasons[reason] += 1
            else:
                images[node] = picked
        return images, reasons

    def _look_up(self, stored: WebPage, node: ImageNode) -> Lookup:
        """Where the best of a node's images is."""
        if is_decoration(node):
            return Lookup(reason="decoration")
        if all(map(is_vector, node.addresses)):
            return Lookup(reason="vector")
        for address in node.addresses:
            if address.startswith("data:"):
                return Lookup(decode_data_url(address, _MAX_IMAGE), reason="damaged")
            if stored.site is not None:
                if pointer := stored_image(stored.site, address, _MAX_IMAGE):
                    return Lookup(at=pointer, reason="damaged")
            elif held := next((held for held in stored.images if held.key == address_key(address)), None):
                if held.opts_out:
                    return Lookup(reason="opted_out")
                if held.pages > self._entry.max_pages_with_image:
                    return Lookup(reason="decoration")
                return Lookup(at=held.at, reason="damaged")
        return Lookup(reason="missing")


def _unpack_image(data: bytes, stored: WebPage) -> bytes:
    """The image in what was read of a store; empty if it is damaged or too large."""
    if stored.site is not None:
        return data
    try:
        response = parse_response(unpack_record(data), _MAX_IMAGE)
    except WarcError:
        return b""
    return response.body if response is not None and len(response.body) <= _MAX_IMAGE else b""


def _has_image(nodes: Sequence[Node]) -> bool:
    """Whether an image is among them."""
    return any(isinstance(node, ImageNode) for node in nodes)


def _failed_share(reasons: Counter[str], loaded: int) -> float:
    """Of the images that were wanted, the share that is missing or damaged."""
    failed = sum(reasons[reason] for reason in _FAILED)
    return failed / (failed + loaded) if failed else 0.0


def _is_long_enough(nodes: Sequence[Node], characters: int) -> bool:
    return sum(text_length(node.text) for node in nodes if isinstance(node, TextNode)) >= characters


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
        BeamStep("open", version=1, worker=OpenArchives, output=WebPage, time_limit=_OPEN_SECONDS),
        BeamStep("build", version=1, worker=BuildDocuments, output=Sample, spread=True, time_limit=_PAGE_SECONDS),
    ),
    example={"sources": [{"files": ["crawl/*.warc.gz"], "licence": "BSD-3-Clause"}]},
)
