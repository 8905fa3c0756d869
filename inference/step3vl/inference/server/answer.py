"""One request's answer over HTTP: it waits for its turn, is generated, and is sent as it comes or whole."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from step3vl.data.errors import UserError
from step3vl.inference.backend import BackendError
from step3vl.inference.server.admission import Admission
from step3vl.inference.server.errors import ApiError, Left
from step3vl.inference.server.metrics import Metrics
from step3vl.inference.server.shapes import Envelope, Json, Tally, event

log = logging.getLogger(__name__)

QUIET = 10.0  # seconds after which a silent stream says that it lives; proxies cut what says nothing
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would hold events back
]


@dataclass(frozen=True)
class Work:
    """How to make one answer. Both functions add to the tally; `stream` gives chunks without the usage."""

    envelope: Envelope
    tally: Tally
    stream: Callable[[], AsyncGenerator[bytes, None]]
    whole: Callable[[], Awaitable[Json]]


class Answer(Response):
    """A response that does its work while it is sent, so that all it holds is freed wherever it ends."""

    def __init__(
        self,
        prepare: Callable[[], Awaitable[Work]],
        *,
        model: str,
        key: str,
        streams: bool,
        include_usage: bool,
        timeout: float,
        admission: Admission,
        metrics: Metrics,
    ):
        """`prepare` is called when the turn has come."""
        super().__init__()
        self.prepare = prepare
        self.model = model
        self.key = key
        self.streams = streams
        self.include_usage = include_usage
        self.timeout = timeout
        self.admission = admission
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises ApiError until the first byte is sent; later errors are events of the stream."""
        writer = EventWriter(send)
        try:
            async with asyncio.timeout(self.timeout), self.admission.place(self.key):
                admitted = time.perf_counter()
                work = await self.prepare()
                try:
                    if self.streams:
                        await self._stream(work, writer, admitted)
                        return
                    reply = await work.whole()
                finally:
                    self._count(work.tally)
            await JSONResponse(reply)(scope, receive, send)
        except Left:
            raise
        except Exception as error:
            refusal = self._refusal(error)
            if not writer.started:
                raise refusal from error
            await writer.end(event(refusal.body()))

    async def _stream(self, work: Work, writer: "EventWriter", admitted: float) -> None:
        async with writer.kept_alive(), aclosing(work.stream()) as chunks:
            async for chunk in chunks:
                if admitted:
                    self.metrics.first.labels(self.model).observe(time.perf_counter() - admitted)
                    admitted = 0.0
                await writer.write(chunk)
        last = work.envelope.chunk([], usage=work.tally.usage()) if self.include_usage else b""
        await writer.end(last + b"data: [DONE]\n\n")

    def _count(self, tally: Tally) -> None:
        tokens = {
            "prompt": tally.prompt,
            "reasoning": tally.reasoning,
            "answer": max(0, tally.completion - tally.reasoning),
        }
        for kind, count in tokens.items():
            self.metrics.tokens.labels(self.model, kind).inc(count)

    def _refusal(self, error: Exception) -> ApiError:
        if isinstance(error, ApiError):
            return error
        if isinstance(error, TimeoutError):
            return ApiError(504, f"the answer took longer than {self.timeout:g} s", code="timeout")
        if isinstance(error, BackendError):
            return from_backend(error)
        if isinstance(error, UserError):
            return ApiError(400, str(error))
        log.error("an answer of %s failed", self.model, exc_info=error)
        return ApiError(500, "internal error while answering")


class EventWriter:
    """Server-sent events on one response. The headers go out with the first of them."""

    def __init__(self, send: Send):
        self.started = False
        self._send = send
        self._quiet = True

    async def write(self, data: bytes, more: bool = True) -> None:
        self._quiet = False
        if not self.started:
            self.started = True
            await self._send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def end(self, data: bytes) -> None:
        await self.write(data, more=False)

    @asynccontextmanager
    async def kept_alive(self) -> AsyncIterator[None]:
        """Sends a comment now and then while nothing else is sent."""
        pulse = asyncio.ensure_future(self._pulse())
        try:
            yield
        finally:
            pulse.cancel()
            await asyncio.wait((pulse,))  # one that could not be written is no matter: the next write says so

    async def _pulse(self) -> None:
        while True:
            self._quiet = True
            await asyncio.sleep(QUIET)
            if self._quiet:
                await self.write(b": still working\n\n")


def from_backend(error: BackendError) -> ApiError:
    """A backend's failure in the client's terms: what was the client's fault stays one, the rest is ours."""
    status = error.status
    if status in (400, 404, 408, 413, 422, 429, 501, 504):
        return ApiError(status, str(error), retry_after=1 if status == 429 else None)
    return ApiError(503, f"the model server does not answer: {error}", code="backend_unavailable", retry_after=5)
