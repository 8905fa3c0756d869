"""Whatever answers requests, behind one interface: the engine in this process, or any OpenAI-compatible server."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from typing import Protocol, Self

from step3vl.data.errors import UserError
from step3vl.data.tokens import parse_reply
from step3vl.inference.engine import Engine
from step3vl.inference.jobs import Completion, Delta, FinishReason, Job, Request, TokenLogprob
from step3vl.inference.sampling import Sampling

RETRYABLE = frozenset({408, 425, 429, 500, 502, 503, 504})


class BackendError(UserError):
    """A backend did not answer. `status` is HTTP's; `retryable` says that asking again may help, after `retry_after`
    seconds where the backend names a time.
    """

    def __init__(self, message: str, status: int, retryable: bool | None = None, retry_after: float | None = None):
        super().__init__(message)
        self.status = status
        self.retryable = status in RETRYABLE if retryable is None else retryable
        self.retry_after = retry_after


@dataclass(frozen=True)
class Usage:
    """Tokens of a request. A prompt counts once, since the rollouts share it.

    `reasoning_tokens` are those of the completion that a server counts as thought, None where it does not tell.
    """

    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int | None = field(default=None, compare=False)  # not every backend tells it

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: "Usage") -> "Usage":
        thought = [one.reasoning_tokens for one in (self, other) if one.reasoning_tokens is not None]
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            sum(thought) if thought else None,
        )


class Deltas(AsyncIterator[Delta]):
    """The deltas of n rollouts, in the order in which they come. `aclose` ends what still runs and frees it.

    At the end `usage` says how many tokens there were, and `tokens` how many each rollout has drawn; None where a
    server does not tell.
    """

    def __init__(self, n: int):
        self.usage: Usage | None = None
        self.tokens: list[int | None] = [None] * n
        self._source: AsyncGenerator[Delta, None]

    def over(self, source: AsyncGenerator[Delta, None]) -> Self:
        self._source = source
        return self

    async def __anext__(self) -> Delta:
        return await anext(self._source)

    async def aclose(self) -> None:
        await self._source.aclose()


class Backend(Protocol):
    """Answers requests. `context` is how many tokens a prompt and its answer may have, None where it is not known.

    What goes wrong is a `BackendError`. A backend belongs to the event loop that uses it.
    """

    name: str
    context: int | None

    async def tokenize(self, request: Request) -> list[int] | None:
        """The prompt's ids, None where the backend cannot tell. A server may leave out those of pictures."""
        ...

    def stream(self, request: Request, sampling: Sampling, n: int = 1) -> Deltas:
        """n rollouts of a request; ends when all of them have. Use it in `contextlib.aclosing`."""
        ...

    async def close(self) -> None:
        """Free connections and threads."""
        ...


@dataclass
class Rollout:
    """One rollout as its deltas add up. `tokens` is for whoever learns it; times are of `time.perf_counter`."""

    pieces: list[str] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprob] | None = None
    finish_reason: FinishReason | None = None
    tokens: int | None = None
    first: float | None = None
    last: float = 0.0

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def add(self, delta: Delta) -> None:
        self.last = time.perf_counter()
        if self.first is None:
            self.first = self.last
        self.pieces.append(delta.text)
        self.token_ids += delta.token_ids
        if delta.logprobs is not None:
            self.logprobs = self.logprobs or []
            self.logprobs += delta.logprobs
        self.finish_reason = delta.finish_reason

    def whole(self, index: int) -> Delta:
        """All of it as one delta."""
        return Delta(index, self.text, self.token_ids, self.logprobs, self.finish_reason)

    def completion(self, prompt_tokens: int) -> Completion:
        text = self.text
        reply = parse_reply(text)
        return Completion(
            token_ids=self.token_ids,
            text=text,
            reasoning=reply.reasoning,
            answer=reply.answer,
            tool_calls=reply.tool_calls,
            logprobs=None if self.logprobs is None else [token.logprob for token in self.logprobs],
            token_logprobs=None if self.logprobs is None else tuple(self.logprobs),
            finish_reason=self.finish_reason or "cancelled",
            prompt_tokens=prompt_tokens,
        )


async def collect(
    backend: Backend, request: Request, sampling: Sampling, n: int = 1
) -> tuple[list[Completion], Usage | None]:
    """n whole completions, and their tokens where the backend tells.

    Where a server does not tell them, `prompt_tokens` is 0 and `token_ids` are empty.
    """
    rollouts = [Rollout() for _ in range(n)]
    deltas = backend.stream(request, sampling, n)
    async with aclosing(deltas):
        async for delta in deltas:
            rollouts[delta.index].add(delta)
    prompt_tokens = deltas.usage.prompt_tokens if deltas.usage else 0
    return [rollout.completion(prompt_tokens) for rollout in rollouts], deltas.usage


async def complete(backend: Backend, request: Request, sampling: Sampling, n: int = 1) -> list[Completion]:
    """The completions of `collect`."""
    return (await collect(backend, request, sampling, n))[0]


class EngineBackend:
    """The engine of this process. `name` is what clients call the model."""

    def __init__(self, engine: Engine, name: str = "step3vl"):
        self.engine = engine
        self.name = name
        self.context: int | None = engine.context

    async def tokenize(self, request: Request) -> list[int] | None:
        with _engine_errors():
            return await asyncio.to_thread(self.engine.tokenize, request)

    def stream(self, request: Request, sampling: Sampling, n: int = 1) -> Deltas:
        deltas = Deltas(n)
        return deltas.over(self._stream(request, sampling, n, deltas))

    async def close(self) -> None:
        await asyncio.to_thread(self.engine.close)

    async def _stream(
        self, request: Request, sampling: Sampling, n: int, deltas: Deltas
    ) -> AsyncGenerator[Delta, None]:
        inbox = _Inbox(asyncio.get_running_loop())
        drawn = [0] * n
        running = n
        with _engine_errors():
            job = await self._submit(request, sampling, n, inbox)
            try:
                while running:
                    for delta in await inbox.take():
                        drawn[delta.index] += len(delta.token_ids)
                        running -= delta.finish_reason is not None
                        if delta.finish_reason == "cancelled":
                            await asyncio.to_thread(job.result)  # raises what the engine failed with
                            raise BackendError("the engine was closed", 503, retryable=False)
                        yield delta
            finally:
                job.cancel()
                deltas.tokens = list(drawn)
                deltas.usage = Usage(len(job.prompt.ids), sum(drawn))

    async def _submit(self, request: Request, sampling: Sampling, n: int, inbox: "_Inbox") -> Job:
        """In a thread, because pictures are decoded and texts encoded on the way in."""
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
    """Deltas from the engine's thread to an event loop; many that come together wake it once."""

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

    async def take(self) -> list[Delta]:
        await self._filled.wait()
        self._filled.clear()
        self._woken = False  # before the deltas are taken, so that one which comes now wakes the loop again
        taken = []
        while self._deltas:
            taken.append(self._deltas.popleft())
        return taken


@contextmanager
def _engine_errors() -> Iterator[None]:
    """What the engine raises as a BackendError: 400 for a request that it refuses, 500 for its own failure."""
    try:
        yield
    except BackendError:
        raise
    except UserError as error:
        raise BackendError(str(error), 400) from None
    except Exception as error:
        message = f"the engine failed: {type(error).__name__}: {error}"
        raise BackendError(message, 500, retryable=False) from error
