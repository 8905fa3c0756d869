"""uvicorn's HTTP protocol with the two limits that it lacks: the time and the size of a request's head."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024


def head_limited_protocol(seconds: float) -> type[HttpToolsProtocol]:
    """A protocol class that closes a connection whose request head is not complete after `seconds`.

    The time starts with the connection and with each request on it. An idle keep-alive connection is uvicorn's to
    close.
    """

    class HeadLimitedProtocol(HttpToolsProtocol):
        _head_timer: asyncio.TimerHandle | None = None
        _head_bytes = 0

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._start_timer()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_timer()
            super().connection_lost(exc)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._start_timer()

        def on_headers_complete(self) -> None:
            self._stop_timer()
            super().on_headers_complete()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self._head_timer is not None:
                self._head_bytes += len(data)
                if self._head_bytes > MAX_HEAD_BYTES:
                    self.send_400_response("The head of the request is too large.")

        def _start_timer(self) -> None:
            self._stop_timer()
            self._head_timer = self.loop.call_later(seconds, self.transport.close)

        def _stop_timer(self) -> None:
            self._head_bytes = 0
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

    return HeadLimitedProtocol
