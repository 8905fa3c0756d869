"""Make a WARC of a saved site: serve the folder over HTTP, fetch pages and the images that they name, and keep all.

    python -m step3vl.pipelines.sources.web.archive_site FOLDER URL OUT PAGE [PAGE …]

The same folder gives the same bytes: the dates of records are those of the Unix epoch, and their ids are derived from
the addresses. `data/samples/web/scikit-image.warc.gz` came from Debian's python-skimage-doc 0.19.3-8
(`usr/share/doc/python-skimage-doc/html`) and https://scikit-image.org/docs/0.19.x/ as URL.
"""

import gzip
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import BinaryIO
from urllib.parse import urlsplit

from step3vl.pipelines.sources.web.html import decode_html, join_url, referenced_images

_KEPT = ("content-type", "content-length", "location", "x-robots-tag")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing to report."""


@contextmanager
def serve_folder(folder: Path) -> Iterator[int]:
    """Serve a folder on this machine; gives the port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def response_record(url: str, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> bytes:
    """A response as a WARC record of its own gzip member."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    block = f"HTTP/1.1 {status} \r\n{lines}\r\n".encode() + body
    header = (
        f"WARC/1.1\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, url)}>\r\n"
        f"WARC-Target-URI: {url}\r\nWARC-Date: 1970-01-01T00:00:00Z\r\n"
        f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(block)}\r\n\r\n"
    )
    return gzip.compress(header.encode() + block + b"\r\n\r\n", mtime=0)


def archive_site(folder: Path, url: str, archive: BinaryIO, pages: Sequence[str]) -> None:
    """Fetch the pages and their images through HTTP, each once, and write their responses.

    Args:
        folder: Of the site.
        url: The address that the folder is said to be served at.
        archive: What the archive is written to.
        pages: Paths below the folder.
    """
    site, fetched = urlsplit(url), set[str]()
    with serve_folder(folder) as port:
        connection = HTTPConnection("127.0.0.1", port)
        for page in pages:
            waiting = [join_url(url, page)]
            while waiting:
                address = waiting.pop(0)
                if address in fetched or urlsplit(address).netloc != site.netloc:
                    continue
                fetched.add(address)
                connection.request("GET", "/" + urlsplit(address).path.removeprefix(site.path))
                response = connection.getresponse()
                body = response.read()
                headers = [(name, value) for name, value in response.getheaders() if name.lower() in _KEPT]
                archive.write(response_record(address, response.status, headers, body))
                if "html" in response.headers.get("Content-Type", "") and response.status == 200:
                    waiting += referenced_images(decode_html(body, None), address)
        connection.close()


if __name__ == "__main__":
    with Path(sys.argv[3]).open("wb") as file:
        archive_site(Path(sys.argv[1]), sys.argv[2], file, sys.argv[4:])
