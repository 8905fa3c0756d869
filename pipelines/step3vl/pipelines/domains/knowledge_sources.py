"""What the domains of web pages with images share: where pages come from, and which images are kept."""

import random
from collections.abc import Iterator
from typing import Self

from pydantic import Field, model_validator

from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import DomainEntry, Files, FileSource, IntRange
from step3vl.pipelines.core.inputs import InputFile
from step3vl.pipelines.core.steps import Record
from step3vl.pipelines.sources.web.fetch import FetchConfig
from step3vl.pipelines.sources.web.web_archive import WebPage
from step3vl.pipelines.sources.web.web_document import PageImages
from step3vl.pipelines.sources.web.web_pages import SavedSite, page_of_site, pages_of_file

OPEN_SECONDS = 1800.0
"""For an archive to be walked: a gigabyte takes a minute or two."""
PAGE_SECONDS = 600.0
"""For a page with its images, which may have to be fetched."""


class WebEntry(DomainEntry):
    """An entry that reads web pages and their images."""

    INPUT_FIELDS = frozenset({"sources"})

    sources: tuple[FileSource, ...] = ()
    """WARC files, plain or with a gzip member for each record, whose images are in the same file as their pages or are
    fetched; or Parquet tables of documents with the columns `texts` and `images`, as OBELICS has them. The licence is
    that of pages that state none."""
    sites: tuple[SavedSite, ...] = ()
    """Folders of HTML files and images. A changed image is noticed only with a change of its page."""
    fetch: FetchConfig | None = None
    """How images that are stored nowhere are fetched; without it they are missing."""
    licences: tuple[str, ...] = ()
    """Keep only what is under these licences; what is under any when empty."""
    image_sides: IntRange = (150, 20000)
    """The shortest and the longest side of an image, in pixels."""
    max_aspect: float = Field(default=3.0, ge=1)
    """The longer side of an image over its shorter one."""
    max_pages_with_image: int = Field(default=10, ge=1)
    """An image that more pages of an archive name is decoration."""

    def inputs(self) -> Files:
        folders = (FileSource(files=(site.pattern,), licence=site.licence) for site in self.sites)
        return Files((*self.sources, *folders))

    @model_validator(mode="after")
    def _reads_something(self) -> Self:
        if not self.sources and not self.sites:
            raise ValueError("give sources (files) or sites (folders)")
        return self

    def page_images(self, context: StepContext) -> PageImages:
        """What finds the images of pages."""
        return PageImages(
            self.image_sides, self.max_aspect, self.max_pages_with_image, self.fetch, context.root, context.store
        )


class OpenPages:
    """Worker: a file becomes the pages that it holds."""

    def __init__(self, entry: WebEntry, context: StepContext) -> None:
        self._entry = entry
        self._context = context

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[InputFile], rng: random.Random) -> Iterator[Record[WebPage]]:
        file = record.value
        if page := page_of_site(file, self._entry.sites, self._context):
            yield Record(record.key, page)
        else:
            yield from pages_of_file(record.key, file, self._context.local_path(file))


def model_files(folder: str) -> tuple[str, ...]:
    """Patterns of the files of a model of `transformers`: another model makes the samples out of date."""
    return (f"{folder}/*.json", f"{folder}/*.safetensors")
