"""Files that hold web pages, opened: archives, saved sites and tables of documents."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.sample import Pointer
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.inputs import InputFile
from step3vl.pipelines.core.steps import Dropped, Record
from step3vl.pipelines.sources.pairs.obelics import pages_of_table
from step3vl.pipelines.sources.pairs.parquet_rows import is_parquet
from step3vl.pipelines.sources.web.warc import is_warc
from step3vl.pipelines.sources.web.web_archive import WebPage, pages_of_archive
from step3vl.pipelines.sources.web.web_document import MAX_PAGE
from step3vl.pipelines.sources.web.web_site import Site, site_of


class SavedSite(Config):
    """A site saved as a folder."""

    folder: str
    """Path or URL. Its HTML files are pages; what they link to from `/` on lies below it, and nothing else is read."""
    url: str = Field(pattern=r"^https?://.+")
    """The address that the folder was served at."""
    licence: str
    """Of pages that state none."""

    @property
    def pattern(self) -> str:
        """Of its pages."""
        return f"{self.folder.rstrip('/')}/**/*.*htm*"


def page_of_site(file: InputFile, sites: Sequence[SavedSite], context: StepContext) -> WebPage | None:
    """The page that a file of a saved site is; None for a file of no site."""
    for site in sites:
        if home := site_of(file, site.folder, site.url, context.base):
            return _saved_page(file, home)
    return None


def pages_of_file(key: str, file: InputFile, path: Path) -> Iterator[Record[WebPage]]:
    """The pages of an archive or a table of documents.

    Args:
        key: Of the file's record.
        file: What it was listed as.
        path: Where it is on this machine.

    Raises:
        Dropped: It is neither.
    """
    if is_parquet(path):
        for row, page in pages_of_table(path, file):
            yield Record(f"{key}#{row}", page)
    elif is_warc(path):
        for page in pages_of_archive(path, file, MAX_PAGE):
            yield Record(f"{key}#{page.at.offset}", page)
    else:
        raise Dropped("not_a_warc_or_parquet")


def _saved_page(file: InputFile, site: Site) -> WebPage:
    at = Pointer(path=file.url, offset=0, size=file.size)
    reason = "page_too_large" if file.size > MAX_PAGE else ""
    return WebPage(url=site.address_of(file.url), at=at, licence=file.licence, site=site, reason=reason)
