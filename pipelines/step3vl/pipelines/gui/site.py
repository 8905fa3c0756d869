"""What a browser is answered while it is recorded: the files of one page or one archive, and nothing else."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import unquote, urldefrag, urlsplit

from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.sources.web.warc import WarcError, WebResponse, parse_response, unpack_record, walk_records

ORIGIN = "https://app.invalid/"
"""Where pages of files are said to be. The domain is one that can never exist (RFC 6761)."""

_TYPES = {  # the table of Python's mimetypes differs from machine to machine
    ".html": "text/html; charset=utf-8", ".htm": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8", ".json": "application/json", ".svg": "image/svg+xml",
    ".png": "image/png", ".jpg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp", ".woff2": "font/woff2",
}  # fmt: skip
_MAX_FILE = 16 << 20  # bytes of a file of an archive; a larger one is not there


class Reply(NamedTuple):
    """An answer to a request."""

    body: bytes
    content_type: str


class Site(Protocol):
    """What answers requests."""

    @property
    def start(self) -> str:
        """The address of the first page."""

    def holds(self, url: str) -> bool:
        """Whether a request has an answer, which is not read."""

    def reply(self, url: str) -> Reply | None:
        """The answer to a request; None for what it does not hold, which then fails as it would offline."""


class FileSite:
    """A page in one file, and files that several pages share, such as scripts and style sheets.

    Args:
        page: The file of the page.
        shared: Files that it may load by their names.
    """

    def __init__(self, page: Path, shared: Sequence[Path] = ()) -> None:
        self._page = page
        self._files: Mapping[str, Path] = {path.name: path for path in (*shared, page)}

    @property
    def start(self) -> str:
        return ORIGIN + self._page.name

    def holds(self, url: str) -> bool:
        return self._file(url) is not None

    def reply(self, url: str) -> Reply | None:
        path = self._file(url)
        return None if path is None else Reply(path.read_bytes(), content_type(path.name))

    def _file(self, url: str) -> Path | None:
        parts = urlsplit(url)
        if f"{parts.scheme}://{parts.netloc}/" != ORIGIN:
            return None
        return self._files.get(unquote(parts.path).removeprefix("/"))


def content_type(name: str) -> str:
    """The media type of a file by its name, the same on every machine."""
    return _TYPES.get(Path(name).suffix.lower(), "application/octet-stream")


class ArchiveSite:
    """The pages and files of a web archive (WARC), at the addresses that they were fetched from.

    It remembers some hundred bytes of each response, for all sites of the same archive, and reads its content when it
    is asked for.

    Args:
        path: The archive.
        page: Which of its pages is the first one, modulo their number.

    Raises:
        WarcError: It is no WARC.
        Dropped: It holds no page.
    """

    def __init__(self, path: Path, page: int) -> None:
        self._path = path
        status = path.stat()
        self._records, pages = _list_archive(path, status.st_size, status.st_mtime_ns)
        if not pages:
            raise Dropped("no_page_in_archive")
        self._start = pages[page % len(pages)]

    @property
    def start(self) -> str:
        return self._start

    def holds(self, url: str) -> bool:
        return urldefrag(url)[0] in self._records

    def reply(self, url: str) -> Reply | None:
        place = self._records.get(urldefrag(url)[0])
        if place is None:
            return None
        offset, size = place
        with self._path.open("rb") as file:
            file.seek(offset)
            response = _response(unpack_record(file.read(size)), _MAX_FILE)
        if response is None or len(response.body) > _MAX_FILE:
            return None
        return Reply(response.body, response.headers.get("content-type", "application/octet-stream"))


@lru_cache(maxsize=4)
def _list_archive(path: Path, size: int, modified: int) -> tuple[dict[str, tuple[int, int]], list[str]]:
    """Where the records of an archive are, by address, and its pages; size and time tell a replaced file apart."""
    records: dict[str, tuple[int, int]] = {}
    pages = []
    for record in walk_records(path):
        response = None if record.damage else _response(record.data, 0)
        if response is None or response.status != 200 or urldefrag(response.url)[0] in records:
            continue
        address = urldefrag(response.url)[0]
        records[address] = record.offset, record.size
        if response.mime == "text/html":
            pages.append(address)
    return records, pages


def _response(record: bytes, limit: int) -> WebResponse | None:
    """The response of a record; None where it has none or is damaged."""
    try:
        return parse_response(record, limit)
    except WarcError:
        return None
