"""Fetching images from the web: politely, within limits, and never from the network that the workers are in.

The robots.txt of a host is read first, and requests to it keep a pause. A server that asks not to train on an image is
obeyed. What comes must be an image by its first bytes, whatever the server calls it. The limits hold for a whole image
with its redirects, so that a server that sends a byte a second is left as soon as one that sends nothing.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeVar
from urllib.parse import urljoin, urlsplit, urlunsplit

import httpcore
from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.errors import InfrastructureError
from step3vl.data.public_network import PrivateAddressError, PublicNetwork, UnknownHostError
from step3vl.pipelines.sources.web.html import image_opts_out, join_url
from step3vl.pipelines.sources.web.robots import MAX_ROBOTS, Rules, RulesCache, rules_of

T = TypeVar("T")

_REDIRECTS = 5
_RETRIES = 2  # after failures that pass
_RETRY_PAUSE = 1.0  # seconds before the first retry, doubled for the second
_LONGEST_PAUSE = 30.0  # seconds that a server may ask to wait before a retry
_LONGEST_QUEUE = 120.0  # seconds that a request waits for its turn at a host
_HOSTS = 50_000  # whose next turns are remembered
_OFFLINE = 5  # hosts, none of which can be reached, mean that this machine is offline
_REDIRECT_STATUS = (301, 302, 303, 307, 308)
_RETRIED_STATUS = (429, 500, 502, 503, 504)
_START = 12  # bytes that tell what a file is
_MAX_URL = 4096
TRANSIENT = frozenset({"dns", "connect", "timeout", "truncated", "protocol", "host_busy", "robots_unreachable"})
"""Reasons that may be gone at another attempt, besides the statuses 429 and 5xx."""


class FetchConfig(Config):
    """How images are fetched."""

    agent: str = Field(default="step3vl", pattern=r"^[A-Za-z_-]+$")
    """The product token that robots.txt knows the fetcher by; begins the User-Agent."""
    contact: str = Field(default="", max_length=200, pattern=r"^[ -~]*$")
    """An address or page for those who run the servers, in the User-Agent. Give one for more than a trial."""
    max_bytes: int = Field(default=16 << 20, gt=0)
    """Of an image."""
    seconds: float = Field(default=20.0, gt=0)
    """For an image with its redirects, without the waiting for a turn."""
    host_interval: float = Field(default=1.0, ge=0)
    """Seconds between the requests of a worker to a host; with n workers a host may see n times as many."""
    concurrency: int = Field(default=32, gt=0)
    """Requests of a worker at a time."""
    attempt: int = Field(default=0, ge=0)
    """Raise it to fetch again what failed for a passing reason in the attempt before. The rest stays as it is."""
    allow_loopback: bool = False
    """Fetch from this machine too: for tests with a server of their own."""


class Fetched(NamedTuple):
    """What became of an address.

    Attributes:
        data: The image as it came; empty if there is none.
        reason: Why there is none.
        url: Where it came from in the end.
    """

    data: bytes
    reason: str
    url: str

    @property
    def missing_reason(self) -> str:
        """Why an image that a page or a table names is missing, as the ledger counts it; empty for one that came."""
        return self.reason if self.reason in ("", "opted_out") else f"fetch_{self.reason}"

    @property
    def is_transient(self) -> bool:
        """Whether another attempt may succeed."""
        return self.reason in TRANSIENT or self.reason == "http_429" or self.reason.startswith("http_5")


class FetchError(Exception):
    """An address that gives no image.

    Args:
        reason: A short word that the ledger counts by.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Response(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


class Fetcher:
    """Fetches images. It remembers the rules of hosts and when their next turn is; one thread uses it at a time.

    Args:
        config: Limits and manners.
    """

    def __init__(self, config: FetchConfig) -> None:
        self._config = config
        self._rules = RulesCache()
        self._turns: dict[str, float] = {}
        contact = f" (+{config.contact})" if config.contact else ""
        self._headers = [
            ("User-Agent", f"{config.agent}{contact}"),
            ("Accept", "image/*"),
            ("Accept-Encoding", "identity"),
        ]

    def fetch(self, urls: Sequence[str]) -> list[Fetched]:
        """The images of addresses, in their order; an address that comes again is fetched once.

        Raises:
            InfrastructureError: Of several hosts none can be reached: this machine is offline.
        """
        results = asyncio.run(self._fetch_all(dict.fromkeys(urls)))
        unreachable = {urlsplit(url).hostname for url, got in results.items() if got.reason in ("dns", "connect")}
        if len(unreachable) >= _OFFLINE and all(got.reason in ("dns", "connect") for got in results.values()):
            raise InfrastructureError(f"none of {len(unreachable)} hosts can be reached; is this machine online?")
        return [results[url] for url in urls]

    async def _fetch_all(self, urls: Mapping[str, None]) -> dict[str, Fetched]:
        network = PublicNetwork(allow_loopback=self._config.allow_loopback)
        slots = asyncio.Semaphore(self._config.concurrency)
        self._locks: dict[str, asyncio.Lock] = {}
        async with httpcore.AsyncConnectionPool(
            max_connections=self._config.concurrency, keepalive_expiry=5, network_backend=network
        ) as self._pool:

            async def fetch(url: str) -> Fetched:
                async with slots:
                    return await self._fetch(url)

            return dict(zip(urls, await asyncio.gather(*map(fetch, urls)), strict=True))

    async def _fetch(self, url: str) -> Fetched:
        """An image, after retries of what may pass."""
        for attempt in range(_RETRIES + 1):
            try:
                return await self._follow(url)
            except _Retry as failure:
                if attempt == _RETRIES or failure.pause > _LONGEST_PAUSE:
                    return Fetched(b"", failure.reason, url)
                await asyncio.sleep(max(failure.pause, _RETRY_PAUSE * 2**attempt))
            except FetchError as error:
                return Fetched(b"", error.reason, url)
        raise AssertionError("the last attempt returns")

    async def _follow(self, url: str) -> Fetched:
        """An image through its redirects. The time that requests take is limited, that of waiting for turns apart."""
        budget = _Budget(self._config.seconds)
        for _ in range(_REDIRECTS + 1):
            address, origin = _checked(url)
            rules = await self._rules_of(origin)
            if not rules.allows(address, self._config.agent):
                raise FetchError("robots" if rules.parsed is not None else "robots_unreachable")
            await self._turn(origin, rules.delay)
            response = await budget.spend(partial(self._request, address, self._config.max_bytes))
            if response.status in _REDIRECT_STATUS and "location" in response.headers:
                url = urljoin(address, response.headers["location"])
                continue
            return Fetched(_image_of(response), "", address)
        raise FetchError("too_many_redirects")

    async def _rules_of(self, origin: str) -> Rules:
        """What robots.txt of an origin says; asked once."""
        async with self._locks.setdefault(origin, asyncio.Lock()):
            if (rules := self._rules.get(origin)) is None:
                rules = rules_of(*await self._robots(origin), self._config.agent)
                self._rules.put(origin, rules)
            return rules

    async def _robots(self, origin: str) -> tuple[int, bytes]:
        budget, url = _Budget(self._config.seconds), f"{origin}/robots.txt"
        try:
            for _ in range(_REDIRECTS + 1):
                address, at = _checked(url)
                await self._turn(at, 0.0)
                response = await budget.spend(partial(self._request, address, MAX_ROBOTS, is_image=False))
                if response.status not in _REDIRECT_STATUS or "location" not in response.headers:
                    return response.status, response.body
                url = urljoin(address, response.headers["location"])
        except (FetchError, _Retry) as error:
            if error.reason in ("private_address", "dns"):
                raise
            return 0, b""
        return 404, b""  # RFC 9309: after five redirects the file counts as one that is not there

    async def _turn(self, origin: str, delay: float) -> None:
        """Wait for the next turn at a host."""
        now, interval = time.monotonic(), max(self._config.host_interval, delay)
        turn = max(now, self._turns.get(origin, 0.0))
        if turn - now > _LONGEST_QUEUE:
            raise FetchError("host_busy")
        self._turns[origin] = turn + interval
        if len(self._turns) > _HOSTS:
            self._turns = {host: at for host, at in self._turns.items() if at > now}
        await asyncio.sleep(turn - now)

    async def _request(self, url: str, limit: int, *, is_image: bool = True) -> _Response:
        async with self._pool.stream("GET", url, headers=self._headers) as response:
            headers: dict[str, str] = {}
            for raw_name, raw_value in response.headers:
                name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1").strip()
                headers[name] = f"{headers[name]}, {value}" if name in headers else value
            if is_image and response.status == 200:
                _require_wanted(headers, limit)
            body = bytearray()
            if response.status == 200:
                async for chunk in response.aiter_stream():
                    body += chunk
                    if is_image and len(body) >= _START:
                        _require_image(body)
                    if len(body) > limit:
                        if is_image:
                            raise FetchError("too_large")
                        break
            return _Response(response.status, headers, bytes(body))


class _Retry(FetchError):
    """A failure that may pass; `pause` is what the server asks to wait, in seconds."""

    def __init__(self, reason: str, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.pause = pause


class _Budget:
    """The seconds that the requests of an image may take together."""

    def __init__(self, seconds: float) -> None:
        self._left = seconds

    async def spend(self, request: Callable[[], Awaitable[T]]) -> T:
        """Make a request, and turn what goes wrong with the network into a `FetchError`."""
        started = time.monotonic()
        try:
            async with asyncio.timeout(max(self._left, 0.0)):
                return await request()
        except PrivateAddressError:
            raise FetchError("private_address") from None
        except UnknownHostError:
            raise FetchError("dns") from None
        except (TimeoutError, httpcore.ConnectTimeout, httpcore.PoolTimeout):
            raise FetchError("timeout") from None
        except httpcore.ConnectError as error:
            raise (
                FetchError("tls") if "SSL" in str(error) or "certificate" in str(error) else _Retry("connect")
            ) from None
        except httpcore.RemoteProtocolError as error:
            raise _Retry("truncated" if "complete message body" in str(error) else "protocol") from None
        except httpcore.LocalProtocolError:
            raise FetchError("bad_url") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError):
            raise _Retry("connect") from None
        finally:
            self._left -= time.monotonic() - started


def _checked(url: str) -> tuple[str, str]:
    """An address in ASCII, and its origin. Raises FetchError for one that is never fetched."""
    address = join_url(url, "") if len(url) <= _MAX_URL else ""
    try:
        parts = urlsplit(address)
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port
    except (ValueError, UnicodeError):
        raise FetchError("bad_url") from None
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc:
        raise FetchError("bad_url")
    netloc = f"[{host}]" if ":" in host else host
    if port is not None:
        netloc = f"{netloc}:{port}"
    return urlunsplit((parts.scheme, netloc, parts.path or "/", parts.query, "")), f"{parts.scheme}://{netloc}"


def _require_wanted(headers: Mapping[str, str], limit: int) -> None:
    """Raises FetchError for an image whose header says enough."""
    if image_opts_out(headers.get("x-robots-tag", "")) or headers.get("tdm-reservation") == "1":
        raise FetchError("opted_out")
    if headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise FetchError("encoded")  # though nothing but the plain image was asked for
    length = headers.get("content-length", "")
    if length.isdigit() and int(length) > limit:
        raise FetchError("too_large")


def _require_image(start: bytes | bytearray) -> None:
    """Raises FetchError unless a file begins as an image of a format that samples may have."""
    is_image = (
        start.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"II*\0", b"MM\0*"))
        or (start[:4] == b"RIFF" and start[8:12] == b"WEBP")
    )  # fmt: skip
    if not is_image:
        raise FetchError("not_an_image")


def _image_of(response: _Response) -> bytes:
    """The image of a response. Raises FetchError, or `_Retry`, for any other."""
    if response.status == 200:
        _require_image(response.body)
        return response.body
    if response.status in _RETRIED_STATUS:
        pause = response.headers.get("retry-after", "")
        raise _Retry(f"http_{response.status}", float(pause) if pause.isdigit() else 0.0)
    raise FetchError(f"http_{response.status}")
