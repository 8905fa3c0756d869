"""The middleware around all routes: API keys, size limits, disconnected clients, and metrics."""

import asyncio
import hashlib
import hmac
import json
import logging
import re
import time
import uuid
from collections import deque
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from step3vl.inference.server.config import ServerConfig
from step3vl.inference.server.errors import ApiError, ClientDisconnected
from step3vl.inference.server.metrics import Metrics

log = logging.getLogger(__name__)

REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
DISCARD_FACTOR = 4  # a body up to this many times the limit is read and discarded, so that its sender reads the error
BUFFER_FACTOR = 8  # all bodies that are held at the same time, as a multiple of the limit for one body
UNKNOWN_SIZE = 64 * 1024  # bytes that a body without a Content-Length waits for; it may turn out to be larger
SECURITY_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


# A surrogate that JSON may have written as an escape or as UTF-8; tokenizers refuse unpaired ones.
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]")


class RequestMiddleware:
    """ASGI middleware. A route gets its complete body at once, is cancelled when its client disconnects, and finds the
    name of the API key in `scope["state"]["key"]`.

    Args:
        app: The application to call.
        config: The server's limits and API keys.
        metrics: Where to count requests.
        requires_key: Whether a path needs an API key.
    """

    def __init__(self, app: ASGIApp, config: ServerConfig, metrics: Metrics, requires_key: Callable[[str], bool]):
        self.app = app
        self.config = config
        self.metrics = metrics
        self.requires_key = requires_key
        self.open_requests = 0
        self.buffer = ByteBudget(BUFFER_FACTOR * config.request_bytes)
        self._digests = [_digest(key) for key in config.api_keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        headers = Headers(scope=scope)
        request_id = headers.get("x-request-id", "")
        if not REQUEST_ID.fullmatch(request_id):
            request_id = uuid.uuid4().hex
        sender = _Sender(send, request_id, self.config.stall)
        self.open_requests += 1
        try:
            body = await self._admit(scope, headers, receive)
            try:
                await self._run(scope, body, receive, sender)
            finally:
                self.buffer.release(len(body))
        except ApiError as error:
            await self._send_error(error, scope, receive, sender)
        except ClientDisconnected:
            self.metrics.disconnects.inc()
            sender.status = sender.status or 499  # nginx's status for it; nobody reads it
        except Exception:
            log.exception("request %s: unexpected error", request_id)
            await self._send_error(ApiError(500, f"internal error; request {request_id}"), scope, receive, sender)
        finally:
            self.open_requests -= 1
            path = getattr(scope.get("route"), "path", "other")
            self.metrics.requests.labels(path, str(sender.status)).inc()
            self.metrics.request_seconds.labels(path).observe(time.perf_counter() - started)

    async def _admit(self, scope: Scope, headers: Headers, receive: Receive) -> bytes:
        """The body. Raises ApiError 401, 408, 413 or 503."""
        scope.setdefault("state", {})
        if self.open_requests > self.config.connections:
            raise ApiError(503, "the server has too many open requests; try again", retry_after=1)
        client = scope.get("client") or ("", 0)
        scope["state"]["key"] = client[0]
        if self._digests and self.requires_key(scope["path"]):
            scope["state"]["key"] = self._authenticate(headers)
        size = int(headers.get("content-length") or (UNKNOWN_SIZE if "transfer-encoding" in headers else 0))
        if size > DISCARD_FACTOR * self.config.request_bytes:
            raise self._too_large()
        try:
            async with asyncio.timeout(self.config.timeout):
                reserved = await self.buffer.reserve(min(size, self.config.request_bytes))
        except TimeoutError:
            raise ApiError(503, "the server holds too many large requests; try again", retry_after=1) from None
        body = await self._read_body(receive, reserved)
        if SURROGATE.search(body) and not is_text(body):
            self.buffer.release(len(body))
            raise ApiError(400, "the body holds half of a surrogate pair, which is no character")
        return body

    def _authenticate(self, headers: Headers) -> str:
        """The name under which a key's requests are counted. Every key is compared, so that timing reveals nothing."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        digest = _digest(token.strip())
        matches = [hmac.compare_digest(digest, other) for other in self._digests]
        if scheme.lower() != "bearer" or not any(matches):
            raise ApiError(401, "this server asks for an API key: Authorization: Bearer KEY", code="invalid_api_key")
        return digest.hex()

    async def _read_body(self, receive: Receive, reserved: int) -> bytes:
        """The complete body, within the limits for one body and for all; its length stays reserved in the buffer.

        Args:
            receive: ASGI's.
            reserved: Bytes that are reserved for it so far.
        """
        limit = self.config.request_bytes
        body = bytearray()
        size = 0
        try:
            more = True
            while more:
                async with asyncio.timeout(self.config.stall):
                    message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnected
                chunk = message.get("body", b"")
                more = message.get("more_body", False)
                size += len(chunk)
                if size > DISCARD_FACTOR * limit:
                    raise self._too_large()
                if size > limit:
                    body.clear()
                    continue
                body += chunk
                if len(body) > reserved:
                    if not self.buffer.extend(len(body) - reserved):
                        raise ApiError(503, "the server holds too many large requests; try again", retry_after=1)
                    reserved = len(body)
            if size > limit:
                raise self._too_large()
        except BaseException as error:
            self.buffer.release(reserved)
            if isinstance(error, TimeoutError):
                raise ApiError(408, f"nothing was sent for {self.config.stall:g} s") from None
            raise
        self.buffer.release(reserved - len(body))
        return bytes(body)

    def _too_large(self) -> ApiError:
        limit = self.config.request_bytes
        return ApiError(413, f"the request is larger than {limit} bytes, the limit", code="request_too_large")

    async def _run(self, scope: Scope, body: bytes, receive: Receive, sender: "_Sender") -> None:
        """Run the route; cancel it and raise ClientDisconnected when the client disconnects."""
        sent = False

        async def replay() -> Message:
            nonlocal sent
            if not sent:
                sent = True
                return {"type": "http.request", "body": body, "more_body": False}
            await asyncio.Event().wait()  # a disconnect is received by the watch below
            raise AssertionError

        route = asyncio.ensure_future(self.app(scope, replay, sender))
        watch = asyncio.ensure_future(_wait_for_disconnect(receive))
        try:
            await asyncio.wait((route, watch), return_when=asyncio.FIRST_COMPLETED)
            if not route.done():
                raise ClientDisconnected
            route.result()
        finally:
            for task in (route, watch):
                task.cancel()
            await asyncio.wait((route, watch))

    async def _send_error(self, error: ApiError, scope: Scope, receive: Receive, sender: "_Sender") -> None:
        if not sender.status:
            await error.response()(scope, receive, sender)


class ByteBudget:
    """Bytes that requests may hold together. Who does not find room waits, in order; so a client that sends more than
    the server can hold is slowed down by its connection and not refused."""

    def __init__(self, limit: int):
        self.free = limit
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def reserve(self, size: int) -> int:
        """Wait for room. Returns the size."""
        if size and (self._waiting or size > self.free):
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((size, waiter))
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self.release(size)  # the room was granted in the same moment
                else:
                    self._waiting.remove((size, waiter))
                    self._grant()
                raise
        else:
            self.free -= size
        return size

    def extend(self, size: int) -> bool:
        """Reserve more at once; whether there is room for it."""
        if size > self.free:
            return False
        self.free -= size
        return True

    def release(self, size: int) -> None:
        self.free += size
        self._grant()

    def _grant(self) -> None:
        while self._waiting and self._waiting[0][0] <= self.free:
            size, waiter = self._waiting.popleft()
            if not waiter.done():
                self.free -= size
                waiter.set_result(None)


class _Sender:
    """`send` that adds headers, records the status, and gives up on a client that has not read for a while."""

    def __init__(self, send: Send, request_id: str, stall: float):
        self.status = 0
        self._send = send
        self._request_id = request_id
        self._stall = stall

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-ID"] = self._request_id
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
        try:
            async with asyncio.timeout(self._stall):
                await self._send(message)
        except TimeoutError:
            raise ClientDisconnected from None


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def is_text(body: bytes) -> bool:
    """Whether every string of a JSON body can be encoded as UTF-8. Invalid JSON is left to the routes."""
    try:
        json.dumps(json.loads(body), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    except (ValueError, RecursionError):
        pass
    return True


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
