"""Responses that are generated while they are sent: admission, streaming, keep-alive, and errors."""

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from math import ceil
from typing import Any, Protocol

from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from step3vl.data.errors import UserError
from step3vl.inference.client import BackendError
from step3vl.inference.server.admission import Admission
from step3vl.inference.server.errors import ApiError, ClientDisconnected
from step3vl.inference.server.metrics import Metrics
from step3vl.inference.server.responses import Envelope, Json, UsageCounter, event

log = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 10.0  # a silent stream sends a comment this often; proxies cut idle connections
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would hold events back
]


class Generation(Protocol):
    """Generates one response, streamed or complete. Both ways count tokens in `counter`."""

    envelope: Envelope
    counter: UsageCounter

    def stream(self) -> AsyncGenerator[bytes, None]:
        """Yield the chunks as they come, without the usage."""
        ...

    async def complete(self) -> Json:
        """Return the complete response."""
        ...


class AdmittedResponse(Response, ABC):
    """A response that is generated while it is sent, in a slot of the admission; whatever it holds is freed wherever
    it ends.

    Args:
        model: The model id, for metrics.
        key: The API key's name, for fairness.
        timeout: Seconds that queueing and generation may take together.
        admission: Where to queue for a slot.
        metrics: Where to count tokens and times.
    """

    def __init__(self, *, model: str, key: str, timeout: float, admission: Admission, metrics: Metrics):
        super().__init__()
        self.model = model
        self.key = key
        self.timeout = timeout
        self.admission = admission
        self.metrics = metrics

    @abstractmethod
    async def generate(self, writer: "EventWriter") -> Response | None:
        """Write events, or return a complete response, which is sent once the slot is free."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Generate and send.

        Raises:
            ApiError: Before the first byte is sent; later errors are events of the stream.
        """
        writer = EventWriter(send)
        try:
            async with asyncio.timeout(self.timeout), self.admission.slot(self.key):
                response = await self.generate(writer)
            if response is not None:
                await response(scope, receive, send)
        except ClientDisconnected:
            raise
        except Exception as error:
            api_error = self._to_api_error(error)
            if not writer.started:
                raise api_error from error
            await writer.end(event(api_error.body()))

    async def write_chunks(self, chunks: AsyncIterator[bytes], writer: "EventWriter", admitted: float) -> None:
        """Write chunks as they come, with the metric for the first one and comments while none comes."""
        async with writer.keep_alive():
            async for chunk in chunks:
                if admitted:
                    self.metrics.first_token_seconds.labels(self.model).observe(time.perf_counter() - admitted)
                    admitted = 0.0
                await writer.write(chunk)

    def count_tokens(self, counter: UsageCounter) -> None:
        tokens = {
            "prompt": counter.prompt,
            "reasoning": counter.reasoning,
            "answer": max(0, counter.completion - counter.reasoning),
        }
        for kind, count in tokens.items():
            self.metrics.tokens.labels(self.model, kind).inc(count)

    def _to_api_error(self, error: Exception) -> ApiError:
        if isinstance(error, ApiError):
            return error
        if isinstance(error, TimeoutError):
            return ApiError(504, f"the answer took longer than {self.timeout:g} s", code="timeout")
        if isinstance(error, BackendError):
            return backend_api_error(error)
        if isinstance(error, UserError):
            return ApiError(400, str(error))
        log.error("generation by %s failed", self.model, exc_info=error)
        return ApiError(500, "internal error while answering")


class GenerationResponse(AdmittedResponse):
    """The response of a generation.

    Args:
        prepare: Called after admission; checks the prompt and returns the generation.
        stream: Whether to send events or one JSON object.
        include_usage: Whether the last event of a stream carries the usage.
        options: As for `AdmittedResponse`.
    """

    def __init__(
        self, prepare: Callable[[], Awaitable[Generation]], *, stream: bool, include_usage: bool, **options: Any
    ):
        super().__init__(**options)
        self.prepare = prepare
        self.stream = stream
        self.include_usage = include_usage

    async def generate(self, writer: "EventWriter") -> Response | None:
        admitted = time.perf_counter()
        generation = await self.prepare()
        try:
            if not self.stream:
                return JSONResponse(await generation.complete())
            async with aclosing(generation.stream()) as chunks:
                await self.write_chunks(chunks, writer, admitted)
            usage = generation.envelope.chunk([], usage=generation.counter.to_json()) if self.include_usage else b""
            await writer.end(usage + b"data: [DONE]\n\n")
            return None
        finally:
            self.count_tokens(generation.counter)


class EventWriter:
    """Writes server-sent events to one response. The headers are sent with the first of them."""

    def __init__(self, send: Send):
        self.started = False
        self._send = send
        self._silent = True

    async def write(self, data: bytes, more: bool = True) -> None:
        self._silent = False
        if not self.started:
            self.started = True
            await self._send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def end(self, data: bytes) -> None:
        await self.write(data, more=False)

    @asynccontextmanager
    async def keep_alive(self) -> AsyncIterator[None]:
        """Send a comment every `KEEP_ALIVE_SECONDS` while nothing else is sent."""
        task = asyncio.ensure_future(self._send_comments())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait((task,))  # if a comment could not be written, the next write fails too

    async def _send_comments(self) -> None:
        while True:
            self._silent = True
            await asyncio.sleep(KEEP_ALIVE_SECONDS)
            if self._silent:
                await self.write(b": still working\n\n")


def backend_api_error(error: BackendError) -> ApiError:
    """A backend's failure for the client: a status that blames the request is passed on, any other is a 503."""
    status = error.status
    if status in (400, 404, 408, 413, 422, 429, 501, 504):
        retry_after = None if error.retry_after is None else ceil(error.retry_after)
        details = error.details or {}
        return ApiError(
            status,
            str(error),
            param=details.get("param"),
            code=details.get("code"),
            retry_after=retry_after if status != 429 else retry_after or 1,
        )
    return ApiError(503, f"the model server does not answer: {error}", code="backend_unavailable", retry_after=5)
