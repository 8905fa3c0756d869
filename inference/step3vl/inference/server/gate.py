"""What every request passes before it reaches a route: identity, size, patience, and the account of how it ended."""

import asyncio
import hashlib
import hmac
import json
import logging
import re
import time
import uuid
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from step3vl.inference.server.config import ServerConfig
from step3vl.inference.server.errors import ApiError, Left
from step3vl.inference.server.metrics import Metrics

log = logging.getLogger(__name__)

REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
DRAINED = 4  # an over-long body is read and thrown away up to this many times the limit, so that its sender hears why
HELD = 8  # bodies that are held at once, in times of the limit for one
SECURITY = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


# What may be half of a character that JSON wrote in two halves, or such a half in UTF-8; tokenizers refuse those.
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]")


class Gate:
    """ASGI middleware. A route gets its whole body at once, is cancelled when its client leaves, and finds the name of
    its key in `scope["state"]["key"]`.
    """

    def __init__(self, app: ASGIApp, config: ServerConfig, metrics: Metrics, guarded: Callable[[str], bool]):
        self.app = app
        self.config = config
        self.metrics = metrics
        self.guarded = guarded
        self.open = 0
        self.held = 0
        self._digests = [_digest(key) for key in config.api_keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        reply = _Reply(send, given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex, self.config.stall)
        self.open += 1
        try:
            body = await self._admit(scope, headers, receive)
            try:
                await self._run(scope, body, receive, reply)
            finally:
                self.held -= len(body)
        except ApiError as error:
            await self._refuse(error, scope, receive, reply)
        except Left:
            self.metrics.disconnects.inc()
            reply.status = reply.status or 499  # as nginx counts it; nobody reads it
        except Exception:
            log.exception("request %s: unexpected error", reply.id)
            await self._refuse(ApiError(500, f"internal error; request {reply.id}"), scope, receive, reply)
        finally:
            self.open -= 1
            path = getattr(scope.get("route"), "path", "other")
            self.metrics.requests.labels(path, str(reply.status)).inc()
            self.metrics.seconds.labels(path).observe(time.perf_counter() - started)

    async def _admit(self, scope: Scope, headers: Headers, receive: Receive) -> bytes:
        """Raises ApiError 401, 408, 413 or 503; otherwise gives the body."""
        scope.setdefault("state", {})
        if self.open > self.config.connections:
            raise ApiError(503, "the server has too many open requests; try again", retry_after=1)
        client = scope.get("client") or ("", 0)
        scope["state"]["key"] = client[0]
        if self._digests and self.guarded(scope["path"]):
            scope["state"]["key"] = self._identify(headers)
        if int(headers.get("content-length", "0") or 0) > DRAINED * self.config.request_bytes:
            raise self._too_large()
        body = await self._read(receive)
        if SURROGATE.search(body) and not is_text(body):
            self.held -= len(body)
            raise ApiError(400, "the body holds half of a surrogate pair, which is no character")
        return body

    def _identify(self, headers: Headers) -> str:
        """The name under which a key's requests are counted. Every key is compared, so that time tells nothing."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        digest = _digest(token.strip())
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        if scheme.lower() != "bearer" or not any(matches):
            raise ApiError(401, "this server asks for an API key: Authorization: Bearer KEY", code="invalid_api_key")
        return digest.hex()

    async def _read(self, receive: Receive) -> bytes:
        """The whole body, held within the limits for one and for all together; `held` counts what it returns."""
        limit = self.config.request_bytes
        body = bytearray()
        size = 0
        try:
            more = True
            while more:
                async with asyncio.timeout(self.config.stall):
                    message = await receive()
                if message["type"] == "http.disconnect":
                    raise Left
                chunk = message.get("body", b"")
                more = message.get("more_body", False)
                size += len(chunk)
                if size > DRAINED * limit:
                    raise self._too_large()
                if size > limit:
                    self.held -= len(body)
                    body.clear()
                    continue
                body += chunk
                self.held += len(chunk)
                if self.held > HELD * limit:
                    raise ApiError(503, "the server holds too many large requests; try again", retry_after=1)
            if size > limit:
                raise self._too_large()
        except BaseException as error:
            self.held -= len(body)
            if isinstance(error, TimeoutError):
                raise ApiError(408, f"nothing was sent for {self.config.stall:g} s") from None
            raise
        return bytes(body)

    def _too_large(self) -> ApiError:
        limit = self.config.request_bytes
        return ApiError(413, f"the request is larger than {limit} bytes, the limit", code="request_too_large")

    async def _run(self, scope: Scope, body: bytes, receive: Receive, reply: "_Reply") -> None:
        """The route, cancelled when the client leaves. Raises what it raises, and Left."""
        sent = False

        async def replay() -> Message:
            nonlocal sent
            if not sent:
                sent = True
                return {"type": "http.request", "body": body, "more_body": False}
            await asyncio.Event().wait()  # the watch below is the one that hears of the client's end
            raise AssertionError

        work = asyncio.ensure_future(self.app(scope, replay, reply))
        watch = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait((work, watch), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise Left
            work.result()
        finally:
            for task in (work, watch):
                task.cancel()
            await asyncio.wait((work, watch))

    async def _refuse(self, error: ApiError, scope: Scope, receive: Receive, reply: "_Reply") -> None:
        if not reply.status:
            await error.response()(scope, receive, reply)


class _Reply:
    """`send` that adds headers, remembers the status, and gives up on a client that does not read."""

    def __init__(self, send: Send, request_id: str, stall: float):
        self.id = request_id
        self.status = 0
        self._send = send
        self._stall = stall

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-ID"] = self.id
            for name, value in SECURITY.items():
                headers.setdefault(name, value)
        try:
            async with asyncio.timeout(self._stall):
                await self._send(message)
        except TimeoutError:
            raise Left from None


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def is_text(body: bytes) -> bool:
    """Whether every string of a JSON body can be written as UTF-8. What is no JSON is left to the routes."""
    try:
        json.dumps(json.loads(body), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    except (ValueError, RecursionError):
        pass
    return True


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
