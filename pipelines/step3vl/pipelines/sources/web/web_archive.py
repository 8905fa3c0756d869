"""The pages of a web archive, each with where the archive holds the images that it names."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from step3vl.data.config import Config
from step3vl.data.sample import Pointer
from step3vl.data.storage import read_slices
from step3vl.pipelines.core.inputs import InputFile
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.sources.web.html import (
    HtmlPage,
    decode_html,
    image_opts_out,
    join_url,
    parse_page,
    referenced_images,
)
from step3vl.pipelines.sources.web.warc import (
    WarcError,
    WarcSlice,
    WebResponse,
    parse_response,
    unpack_record,
    walk_records,
)
from step3vl.pipelines.sources.web.web_images import address_key
from step3vl.pipelines.sources.web.web_site import Site

_HTML = ("text/html", "application/xhtml+xml")
_MAX_REDIRECTS = 5
_MAX_IMAGES = 500  # addresses of a page that are looked up


class StoredImage(Config):
    """An image that an archive holds."""

    key: str
    """Of its address, see `address_key`."""
    at: Pointer
    """Its record in the archive."""
    pages: int
    """Pages of the archive that name it."""
    opts_out: bool
    """Whether the server asks not to train on it."""


class ListedNode(Config):
    """A paragraph, or an image by its address, of a page that is stored as a list of both."""

    text: str = ""
    address: str = ""
    alt: str = ""


class WebPage(Config):
    """A page in an archive or a folder, or a list of its parts."""

    url: str
    at: Pointer
    """Its record in the archive, or its file."""
    licence: str
    """Of the page, unless it states another."""
    images: tuple[StoredImage, ...] = ()
    """Those of an archive that the page names."""
    site: Site | None = None
    """Where the images are if the page was saved in a folder."""
    listed: tuple[ListedNode, ...] = ()
    """The page itself where a table lists its parts."""
    perplexity: float | None = None
    """Of its text, by a model; None where none has read it."""
    reason: str = ""
    """Why it is not read."""


@dataclass
class _Index:
    """What a walk over an archive remembers: some hundred bytes an image and a page."""

    pages: dict[str, tuple[str, WarcSlice, list[str], str]] = field(default_factory=dict)
    images: dict[str, tuple[WarcSlice, bool]] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    damaged: list[WarcSlice] = field(default_factory=list)
    repeated: list[tuple[str, WarcSlice]] = field(default_factory=list)

    def image(self, key: str) -> tuple[WarcSlice, bool] | None:
        """The record of an image, and whether it opts out; redirects are followed."""
        for _ in range(_MAX_REDIRECTS + 1):
            if held := self.images.get(key):
                return held
            if key not in self.redirects:
                return None
            key = self.redirects[key]
        return None


def pages_of_archive(path: Path, file: InputFile, max_page: int) -> Iterator[WebPage]:
    """The pages of an archive in its order, then what could not be read.

    Args:
        path: The archive on this machine.
        file: What it was listed as.
        max_page: Bytes of a page; a larger one has a `reason`.

    Raises:
        WarcError: It is no WARC.
    """
    index = _Index()
    for record in walk_records(path):
        light = record._replace(data=b"")
        try:
            response = None if record.damage else parse_response(record.data, max_page)
        except WarcError:
            index.damaged.append(light._replace(damage="damaged"))
            continue
        if record.damage:
            index.damaged.append(light)
        elif response is not None:
            _remember(index, response, light, max_page)
    counts = Counter(key for _, _, keys, _ in index.pages.values() for key in keys)
    for url, record, keys, reason in index.pages.values():
        images = []
        for key in keys:
            if held := index.image(key):
                image, opted_out = held
                images.append(StoredImage(key=key, at=_pointer(file, image), pages=counts[key], opts_out=opted_out))
        yield WebPage(url=url, at=_pointer(file, record), licence=file.licence, images=tuple(images), reason=reason)
    for url, record in index.repeated:
        yield WebPage(url=url, at=_pointer(file, record), licence=file.licence, reason="repeated_page")
    for record in index.damaged:
        reason = f"{record.damage}_record"
        yield WebPage(url="", at=_pointer(file, record), licence=file.licence, reason=reason)


def parse_stored_page(page: WebPage, max_page: int) -> HtmlPage:
    """A page as its archive or its folder has it.

    Args:
        page: The page.
        max_page: Bytes of it that are read from an archive.

    Raises:
        Dropped: It is empty, or has a reason why it is not read.
        InfrastructureError: What holds it cannot be read.
    """
    if page.reason:
        raise Dropped(page.reason)
    (data,) = read_slices([page.at])
    headers: dict[str, str] = {}
    charset = None
    if page.site is None:
        response = parse_response(unpack_record(data), max_page)
        assert response is not None
        data, headers, charset = response.body, response.headers, response.charset
    if not data.strip():
        raise Dropped("empty_page")
    return parse_page(decode_html(data, charset), page.url, headers)


def _remember(index: _Index, response: WebResponse, record: WarcSlice, max_page: int) -> None:
    address = join_url(response.url, "")
    if not address:
        return
    key = address_key(address)
    if 300 <= response.status < 400 and "location" in response.headers:
        index.redirects.setdefault(key, address_key(join_url(address, response.headers["location"])))
    elif response.status != 200:
        return
    elif _is_html(response):
        if key in index.pages:
            index.repeated.append((address, record))
        elif len(response.body) > max_page:
            index.pages[key] = (address, record, [], "page_too_large")
        else:
            names = referenced_images(decode_html(response.body, response.charset), address)
            keys = list(dict.fromkeys(address_key(name) for name in names))[:_MAX_IMAGES]
            index.pages[key] = (address, record, keys, "")
    elif response.mime.startswith(("image/", "application/octet-stream", "binary/")) or not response.mime:
        index.images.setdefault(key, (record, image_opts_out(response.headers.get("x-robots-tag", ""))))


def _is_html(response: WebResponse) -> bool:
    if response.mime:
        return response.mime in _HTML
    return response.body[:256].lstrip().lower().startswith((b"<!doctype html", b"<html"))


def _pointer(file: InputFile, record: WarcSlice) -> Pointer:
    return Pointer(path=file.url, offset=record.offset, size=record.size, xxh3=record.xxh3 or None)
