"""Fetching a picture that a stranger names, without becoming their way into this network.

The host must be on the operator's list, every address that its name has must be public, and the connection goes to an
address that was checked, so a name that changes between the check and the call gains nothing. Redirects start over.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterable
from contextlib import suppress
from urllib.parse import urljoin, urlsplit

import httpcore

from step3vl.inference.server.errors import ApiError

REDIRECTS = 3
CONNECTIONS = 16
SECONDS = 15.0  # for one picture, with its redirects
REDIRECT_STATUS = (301, 302, 303, 307, 308)
HEADERS = [("User-Agent", "step3vl"), ("Accept", "image/*"), ("Accept-Encoding", "identity")]


class Fetcher:
    """Gets pictures by https from the hosts of an allow-list; an entry is `host`, `host:port`, or `*` for any host.

    `tls` says whom to trust, by default whom this machine trusts.
    """

    def __init__(self, hosts: Iterable[str], limit: int, seconds: float = SECONDS, tls: ssl.SSLContext | None = None):
        self.hosts = frozenset(host.lower() for host in hosts)
        self.limit = limit
        self.seconds = seconds
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls, max_connections=CONNECTIONS, keepalive_expiry=5, network_backend=PublicNetwork()
        )

    async def get(self, url: str) -> bytes:
        """The bytes behind a URL. Raises ApiError: 400 for what may not be fetched, 422 for what cannot, 413."""
        try:
            async with asyncio.timeout(self.seconds):
                for _ in range(REDIRECTS + 1):
                    self.check(url)
                    answer = await self._ask(url)
                    if isinstance(answer, bytes):
                        return answer
                    url = urljoin(url, answer)
        except TimeoutError:
            raise _failed(url, f"took longer than {self.seconds:g} s") from None
        except (OSError, httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
            raise _failed(url, f"cannot be fetched: {error or type(error).__name__}") from None
        raise _failed(url, f"redirects more than {REDIRECTS} times")

    def check(self, url: str) -> None:
        """Raises ApiError when the rules alone, before any look-up, forbid the URL."""
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
        named = host in self.hosts or "*" in self.hosts
        if not (named and port == 443) and f"{host}:{port}" not in self.hosts:
            raise _refused(url, "is on a host that this server does not fetch from; send the picture as a data URL")

    async def close(self) -> None:
        await self._pool.aclose()

    async def _ask(self, url: str) -> bytes | str:
        """The body of the answer, or where it redirects to."""
        async with self._pool.stream("GET", url, headers=HEADERS) as response:
            headers = {name.lower(): value for name, value in response.headers}
            if response.status in REDIRECT_STATUS and b"location" in headers:
                return headers[b"location"].decode("latin-1")
            if response.status != 200:
                raise _failed(url, f"answered with status {response.status}")
            body = bytearray()
            async for chunk in response.aiter_stream():
                body += chunk
                if len(body) > self.limit:
                    raise ApiError(413, f"image_url {shown(url)} holds more than {self.limit} bytes", param="messages")
            return bytes(body)


class PublicNetwork(httpcore.AsyncNetworkBackend):
    """Connects to public addresses only. TLS still asks for the name, since only the TCP connection is made here."""

    def __init__(self) -> None:
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await resolve(host, port)
        if not all(is_public(address) for address in addresses):
            raise ApiError(400, f"the host {host} has an address that is not public", param="messages")
        for address in addresses[:-1]:
            with suppress(httpcore.ConnectError):  # an IPv6 address where this machine has no way to it, say
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
        return await self._network.connect_tcp(addresses[-1], port, timeout, local_address, socket_options)


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, in the system's order. Raises OSError when it has none."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def is_public(address: str) -> bool:
    """Whether an address is reachable from everywhere: not private, loopback, link-local, shared or multicast.

    What an IPv6 address embeds counts too: mapped, NAT64, 6to4 and Teredo addresses are as public as the IPv4 inside.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False  # an IPv6 address with a zone is link-local
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = [parsed.ipv4_mapped, parsed.sixtofour, *(parsed.teredo or ())]
        if parsed in NAT64:
            inner.append(ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF))
        embedded = [one for one in inner if one is not None]
        if embedded:
            return all(is_public(str(one)) for one in embedded)
    return parsed.is_global and not parsed.is_multicast


NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def shown(url: str) -> str:
    """A URL as an error may repeat it: not all of a long one."""
    return url if len(url) <= 100 else f"{url[:80]}…"


def _refused(url: str, why: str) -> ApiError:
    return ApiError(400, f"image_url {shown(url)} {why}", param="messages", code="invalid_image_url")


def _failed(url: str, why: str) -> ApiError:
    return ApiError(422, f"image_url {shown(url)} {why}", param="messages", code="invalid_image_url")
