"""The engine of this process as a backend."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager

from step3vl.data.errors import UserError
from step3vl.inference.client.backend import BackendError, DeltaStream, Usage
from step3vl.inference.client.requests import Delta, Request
from step3vl.inference.client.sampling import Sampling
from step3vl.inference.engine.engine import Engine
from step3vl.inference.engine.job import Job


class EngineBackend:
    """A backend over an engine.

    Args:
        engine: The engine.
        name: What clients call the model.
    """

    def __init__(self, engine: Engine, name: str = "step3vl"):
        self.engine = engine
        self.name = name
        self.context: int | None = engine.context

    async def tokenize(self, request: Request) -> list[int] | None:
        """Return the prompt's token ids, those of images included."""
        with _engine_errors():
            return await asyncio.to_thread(self.engine.tokenize, request)

    def stream(self, request: Request, sampling: Sampling, n: int = 1) -> DeltaStream:
        """Sample n rollouts of a request. Use the stream in `contextlib.aclosing`."""
        deltas = DeltaStream(n)
        return deltas.bind(self._stream(request, sampling, n, deltas))

    async def close(self) -> None:
        """Close the engine."""
        await asyncio.to_thread(self.engine.close)

    async def _stream(
        self, request: Request, sampling: Sampling, n: int, deltas: DeltaStream
    ) -> AsyncGenerator[Delta, None]:
        inbox = _Inbox(asyncio.get_running_loop())
        tokens = [0] * n
        running = n
        with _engine_errors():
            job = await self._submit(request, sampling, n, inbox)
            try:
                while running:
                    for delta in await inbox.get_all():
                        tokens[delta.index] += len(delta.token_ids)
                        running -= delta.finish_reason is not None
                        if delta.finish_reason == "cancelled":
                            await asyncio.to_thread(job.result)  # raises what the engine failed with
                            raise BackendError("the engine was closed", 503, retryable=False)
                        yield delta
            finally:
                job.cancel()
                deltas.tokens = list(tokens)
                deltas.usage = Usage(len(job.prompt.ids), sum(tokens))

    async def _submit(self, request: Request, sampling: Sampling, n: int, inbox: "_Inbox") -> Job:
        """Submit a job; in a thread where images are decoded or texts tokenized on the way."""
        if request.token_ids is not None and not request.images:
            return self.engine.submit(request, sampling, n, inbox.put)
        submitting = asyncio.ensure_future(asyncio.to_thread(self.engine.submit, request, sampling, n, inbox.put))
        try:
            return await asyncio.shield(submitting)
        except asyncio.CancelledError:
            submitting.add_done_callback(_cancel_job)
            raise


def _cancel_job(submitting: "asyncio.Future[Job]") -> None:
    if not submitting.cancelled() and submitting.exception() is None:
        submitting.result().cancel()


class _Inbox:
    """Passes deltas from the engine's thread to an event loop; many that come together wake it once."""

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self._loop = loop
        self._deltas: deque[Delta] = deque()
        self._filled = asyncio.Event()
        self._woken = False

    def put(self, delta: Delta) -> None:
        self._deltas.append(delta)
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._filled.set)

    async def get_all(self) -> list[Delta]:
        await self._filled.wait()
        self._filled.clear()
        self._woken = False  # before the deltas are removed, so that a delta that comes now wakes the loop again
        deltas = []
        while self._deltas:
            deltas.append(self._deltas.popleft())
        return deltas


@contextmanager
def _engine_errors() -> Iterator[None]:
    """Raise the engine's errors as BackendError: 400 for a request that it refuses, 500 for its own failure."""
    try:
        yield
    except BackendError:
        raise
    except UserError as error:
        raise BackendError(str(error), 400) from None
    except Exception as error:
        message = f"the engine failed: {type(error).__name__}: {error}"
        raise BackendError(message, 500, retryable=False) from error
