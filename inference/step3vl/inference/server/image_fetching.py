"""Fetching images from URLs of untrusted clients, safe against server-side request forgery.

The host must be on the operator's allow-list, every address of its name must be public, and the connection is made to
an address that was checked, so that DNS rebinding gains nothing. A redirect is checked like a new URL.
"""

import asyncio
import ssl
from collections.abc import Iterable
from urllib.parse import urljoin, urlsplit

import httpcore

from step3vl.data.public_network import PrivateAddressError, PublicNetwork
from step3vl.inference.server.errors import ApiError

MAX_REDIRECTS = 3
MAX_CONNECTIONS = 16
TIMEOUT = 15.0  # seconds for one image, with its redirects
REDIRECT_STATUS = (301, 302, 303, 307, 308)
HEADERS = [("User-Agent", "step3vl"), ("Accept", "image/*"), ("Accept-Encoding", "identity")]


class ImageFetcher:
    """Fetches images by https from the hosts of an allow-list.

    Args:
        hosts: Each `host`, `host:port`, or `*` for any host.
        max_bytes: The largest image.
        timeout: Seconds for one image, with its redirects.
        tls: The TLS settings, by default those of this machine.
    """

    def __init__(
        self,
        hosts: Iterable[str],
        max_bytes: int,
        timeout: float = TIMEOUT,
        tls: ssl.SSLContext | None = None,
    ):
        self.hosts = frozenset(host.lower() for host in hosts)
        self.max_bytes = max_bytes
        self.timeout = timeout
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls, max_connections=MAX_CONNECTIONS, keepalive_expiry=5, network_backend=PublicNetwork()
        )

    async def get(self, url: str) -> bytes:
        """The bytes at a URL.

        Raises:
            ApiError: 400 for a URL that is not allowed, 413 for too many bytes, 422 for a failed request.
        """
        try:
            async with asyncio.timeout(self.timeout):
                for _ in range(MAX_REDIRECTS + 1):
                    self.check(url)
                    result = await self._request(url)
                    if isinstance(result, bytes):
                        return result
                    url = urljoin(url, result)
        except PrivateAddressError as error:
            raise ApiError(400, str(error), param="messages") from None
        except TimeoutError:
            raise _failed(url, f"took longer than {self.timeout:g} s") from None
        except (OSError, httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
            raise _failed(url, f"cannot be fetched: {error or type(error).__name__}") from None
        raise _failed(url, f"redirects more than {MAX_REDIRECTS} times")

    def check(self, url: str) -> None:
        """Raise ApiError when the allow-list alone, before any DNS look-up, forbids the URL."""
        try:
            parts = urlsplit(url)
            port = parts.port or 443
        except ValueError:
            raise _refused(url, "is not a URL") from None
        host = (parts.hostname or "").lower()
        if parts.scheme != "https" or not host:
            raise _refused(url, "is not an https URL")
        if parts.username is not None:
            raise _refused(url, "carries a user name")
        listed = host in self.hosts or "*" in self.hosts
        if not (listed and port == 443) and f"{host}:{port}" not in self.hosts:
            raise _refused(url, "is on a host that this server does not fetch from; send the image as a data URL")

    async def close(self) -> None:
        await self._pool.aclose()

    async def _request(self, url: str) -> bytes | str:
        """The body of the response, or the location that it redirects to."""
        async with self._pool.stream("GET", url, headers=HEADERS) as response:
            headers = {name.lower(): value for name, value in response.headers}
            if response.status in REDIRECT_STATUS and b"location" in headers:
                return headers[b"location"].decode("latin-1")
            if response.status != 200:
                raise _failed(url, f"answered with status {response.status}")
            body = bytearray()
            async for chunk in response.aiter_stream():
                body += chunk
                if len(body) > self.max_bytes:
                    raise ApiError(
                        413, f"image_url {shorten_url(url)} holds more than {self.max_bytes} bytes", param="messages"
                    )
            return bytes(body)


def shorten_url(url: str) -> str:
    """A URL for an error message; a long one is cut."""
    return url if len(url) <= 100 else f"{url[:80]}…"


def _refused(url: str, reason: str) -> ApiError:
    return ApiError(400, f"image_url {shorten_url(url)} {reason}", param="messages", code="invalid_image_url")


def _failed(url: str, reason: str) -> ApiError:
    return ApiError(422, f"image_url {shorten_url(url)} {reason}", param="messages", code="invalid_image_url")
