"""uvicorn's protocol with the two limits that it lacks: how long and how large the head of a request may be."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 64 * 1024


def patient(seconds: float) -> type[HttpToolsProtocol]:
    """A protocol that closes connections whose next request has begun, or should have, and has no whole head by then.

    A kept connection on which nothing comes is uvicorn's to close.
    """

    class PatientProtocol(HttpToolsProtocol):
        _waiting: asyncio.TimerHandle | None = None
        _head = 0

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._expect_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._have_head()
            super().connection_lost(exc)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._expect_head()

        def on_headers_complete(self) -> None:
            self._have_head()
            super().on_headers_complete()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self._waiting is not None:
                self._head += len(data)
                if self._head > HEAD_BYTES:
                    self.send_400_response("The head of the request is too large.")

        def _expect_head(self) -> None:
            self._have_head()
            self._waiting = self.loop.call_later(seconds, self.transport.close)

        def _have_head(self) -> None:
            self._head = 0
            if self._waiting is not None:
                self._waiting.cancel()
                self._waiting = None

    return PatientProtocol
