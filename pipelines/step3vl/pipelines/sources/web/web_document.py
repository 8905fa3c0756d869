"""A stored web page as what a reader sees of it: its main body, and its images from wherever they can be had."""

from collections.abc import Sequence
from typing import NamedTuple

from xxhash import xxh3_64_hexdigest

from step3vl.data.sample import Image, Pointer
from step3vl.data.storage import StoreConfig, read_slices
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.sources.web.fetch import FetchConfig
from step3vl.pipelines.sources.web.fetch_cache import BATCH, FetchCache
from step3vl.pipelines.sources.web.main_body import ImageNode, Node, TextNode, read_main_body
from step3vl.pipelines.sources.web.warc import WarcError, parse_response, unpack_record
from step3vl.pipelines.sources.web.web_archive import ListedNode, StoredImage, WebPage, parse_stored_page
from step3vl.pipelines.sources.web.web_images import address_key, decode_data_url, is_decoration, is_vector, load_image
from step3vl.pipelines.sources.web.web_site import Site, stored_image

MAX_PAGE = 4 << 20
"""Bytes of a page."""
MAX_IMAGE = 32 << 20
"""Bytes of an image."""

_MAX_FETCHED = 128  # images of a page that are fetched


class PageText(NamedTuple):
    """What a page says.

    Attributes:
        licence: As the page states it, or that of the source.
        title: Of the page; empty without one.
        nodes: Of its main body, in reading order.
    """

    licence: str
    title: str
    nodes: list[Node]


class PageImage(NamedTuple):
    """An image of a page, or the reason why it is left out."""

    image: Image | None
    reason: str = ""


class _Lookup(NamedTuple):
    """The bytes of an image, or where they are, or the reason for neither."""

    data: bytes = b""
    at: Pointer | None = None
    reason: str = ""
    url: str = ""  # to be fetched


def read_page(page: WebPage, licences: Sequence[str]) -> PageText:
    """The main body of a page that may be used.

    Args:
        page: As an archive or a site holds it.
        licences: Those that may be used; any when empty.

    Raises:
        Dropped: The page is not wanted.
        InfrastructureError: What holds the page cannot be read.
    """
    if page.listed and not page.reason:
        if licences and page.licence not in licences:
            raise Dropped("licence")
        return PageText(page.licence, "", [_node(part) for part in page.listed])
    parsed = parse_stored_page(page, MAX_PAGE)
    if parsed.opts_out:
        raise Dropped("opted_out")
    licence = parsed.licence or page.licence
    if licences and licence not in licences:
        raise Dropped("licence")
    title = " ".join((parsed.tree.findtext(".//title") or "").split())
    return PageText(licence, title, read_main_body(parsed))


class PageImages:
    """Finds the images of pages: in the page itself, in its archive or site, or on the web.

    Args:
        sides: The shortest and the longest side of an image, in pixels.
        max_aspect: The longer side over the shorter one.
        max_pages: An image that more pages of an archive name is decoration.
        fetch: How images that are stored nowhere are fetched; None to leave them.
        root: URL of the folder that keeps what was fetched.
        store: How a remote root is used.
    """

    def __init__(
        self,
        sides: tuple[int, int],
        max_aspect: float,
        max_pages: int,
        fetch: FetchConfig | None,
        root: str,
        store: StoreConfig,
    ) -> None:
        self._sides, self._max_aspect, self._max_pages = sides, max_aspect, max_pages
        self._fetcher = FetchCache(fetch, root, store) if fetch else None

    def load(self, page: WebPage, nodes: Sequence[ImageNode]) -> list[PageImage]:
        """The images of a page's nodes, each where it first stands.

        Raises:
            InfrastructureError: What holds an image cannot be read, or this machine is offline.
        """
        archived = {held.key: held for held in page.images}
        lookups = self._fetch([self._look_up(page.site, archived, node) for node in nodes])
        contents = iter(read_slices([lookup.at for lookup in lookups if lookup.at is not None]))
        hashes: set[str] = set()
        images = []
        for lookup in lookups:
            data = lookup.data if lookup.at is None else _unpack(next(contents), page)
            digest = xxh3_64_hexdigest(data)
            if not data:
                images.append(PageImage(None, lookup.reason))
            elif digest in hashes:
                images.append(PageImage(None, "repeated"))
            else:
                hashes.add(digest)
                images.append(PageImage(*load_image(data, self._sides, self._max_aspect)))
        return images

    def _look_up(self, site: Site | None, archived: dict[str, StoredImage], node: ImageNode) -> _Lookup:
        """Where the best of a node's images is."""
        if is_decoration(node):
            return _Lookup(reason="decoration")
        if all(map(is_vector, node.addresses)):
            return _Lookup(reason="vector")
        for address in node.addresses:
            if address.startswith("data:"):
                return _Lookup(decode_data_url(address, MAX_IMAGE), reason="damaged")
            if site is not None:
                if pointer := stored_image(site, address, MAX_IMAGE):
                    return _Lookup(at=pointer, reason="damaged")
            elif held := archived.get(address_key(address)):
                if held.opts_out:
                    return _Lookup(reason="opted_out")
                if held.pages > self._max_pages:
                    return _Lookup(reason="decoration")
                return _Lookup(at=held.at, reason="damaged")
        url = next((address for address in node.addresses if address.startswith(("http:", "https:"))), "")
        return _Lookup(reason="missing", url=url)

    def _fetch(self, lookups: list[_Lookup]) -> list[_Lookup]:
        """The lookups with the images that have to be fetched."""
        if self._fetcher is None:
            return lookups
        places = [place for place, lookup in enumerate(lookups) if lookup.url][:_MAX_FETCHED]
        for first in range(0, len(places), BATCH):
            batch = places[first : first + BATCH]
            for place, got in zip(batch, self._fetcher.fetch([lookups[each].url for each in batch]), strict=True):
                lookups[place] = _Lookup(got.data, reason=got.missing_reason)
        return lookups


def _node(part: ListedNode) -> Node:
    return ImageNode((part.address,), part.alt, None) if part.address else TextNode(part.text, "paragraph")


def has_failed(reason: str) -> bool:
    """Whether an image that was wanted could not be had, in contrast to one that is not wanted."""
    return reason in ("missing", "damaged") or reason.startswith("fetch_")


def _unpack(data: bytes, page: WebPage) -> bytes:
    """The image in what was read of a store; empty if it is damaged or too large."""
    if page.site is not None:
        return data
    try:
        response = parse_response(unpack_record(data), MAX_IMAGE)
    except WarcError:
        return b""
    return response.body if response is not None and len(response.body) <= MAX_IMAGE else b""
