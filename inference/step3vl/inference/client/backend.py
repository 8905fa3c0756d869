"""The interface of everything that answers requests: the engine of this process, or an OpenAI-compatible server."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, runtime_checkable

import httpx

from step3vl.data.errors import UserError
from step3vl.data.tokens import parse_reply
from step3vl.inference.client.requests import Completion, Delta, FinishReason, Request, TokenLogprob
from step3vl.inference.client.sampling import Sampling

RETRYABLE = frozenset({408, 425, 429, 500, 502, 503, 504})


class BackendError(UserError):
    """A backend did not answer.

    Args:
        message: What went wrong.
        status: The HTTP status, or the one that fits best.
        retryable: Whether the same request may succeed later; by default the status decides.
        retry_after: Seconds to wait before that, where the backend names them.
        details: The error object of a server that refused the request: `message`, `param`, `code`.
    """

    def __init__(
        self,
        message: str,
        status: int,
        retryable: bool | None = None,
        retry_after: float | None = None,
        details: Mapping[str, Any] | None = None,
    ):
        super().__init__(message)
        self.status = status
        self.retryable = status in RETRYABLE if retryable is None else retryable
        self.retry_after = retry_after
        self.details = details


@dataclass(frozen=True)
class Usage:
    """Token counts of a request. The prompt counts once, because its rollouts share it.

    `reasoning_tokens` are the completion tokens that a server counts as reasoning, None where it does not report them.
    """

    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int | None = field(default=None, compare=False)

    @classmethod
    def from_json(cls, usage: Mapping[str, Any]) -> Self:
        """Read OpenAI's `usage` object."""
        details = usage.get("completion_tokens_details") or {}
        return cls(
            usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0, details.get("reasoning_tokens")
        )

    @property
    def total_tokens(self) -> int:
        """Prompt and completion tokens."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: "Usage") -> "Usage":
        reported = [usage.reasoning_tokens for usage in (self, other) if usage.reasoning_tokens is not None]
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            sum(reported) if reported else None,
        )


class DeltaStream(AsyncIterator[Delta]):
    """The deltas of n rollouts in order of arrival. `aclose` cancels what still runs and frees it.

    Attributes:
        usage: Token counts, set at the end; None where a server does not report them.
        tokens: Tokens sampled for each rollout, None where a server does not report them.
    """

    def __init__(self, n: int):
        self.usage: Usage | None = None
        self.tokens: list[int | None] = [None] * n
        self._source: AsyncGenerator[Delta, None]

    def bind(self, source: AsyncGenerator[Delta, None]) -> Self:
        """Set the generator that yields the deltas."""
        self._source = source
        return self

    async def __anext__(self) -> Delta:
        return await anext(self._source)

    async def aclose(self) -> None:
        await self._source.aclose()


@runtime_checkable
class Backend(Protocol):
    """Answers requests. Every failure is a `BackendError`. A backend belongs to the event loop that uses it.

    Attributes:
        name: The model's name.
        context: Tokens that a prompt and its reply may have together, None where unknown.
    """

    name: str
    context: int | None

    async def tokenize(self, request: Request) -> list[int] | None:
        """Return the prompt's token ids, None where the backend cannot. A server may omit those of images."""
        ...

    def stream(self, request: Request, sampling: Sampling, n: int = 1) -> DeltaStream:
        """Sample n rollouts of a request. Use the stream in `contextlib.aclosing`."""
        ...

    async def close(self) -> None:
        """Release connections and threads."""
        ...


@runtime_checkable
class RemoteBackend(Backend, Protocol):
    """A backend that is a server of its own, which a gateway can hand requests to as they are."""

    def forward(self, path: str, body: Mapping[str, Any]) -> AbstractAsyncContextManager[httpx.Response]:
        """Send a body unchanged; yield the server's response, a refusal too, with its content still to be read.

        Args:
            path: Below the server's root, such as `/v1/chat/completions`.
            body: The JSON object.

        Raises:
            BackendError: The server cannot be reached, or its response breaks off while it is read.
        """
        ...

    async def resolve_model(self) -> None:
        """Look up `name` and `context` where they are not configured. Raises BackendError without a name."""
        ...

    async def models(self) -> list[dict[str, Any]]:
        """Return the entries of the server's `/v1/models`; empty where it lists none."""
        ...


@dataclass
class RolloutBuilder:
    """Accumulates the deltas of one rollout.

    `tokens` is set by whoever learns the count; the times are those of `time.perf_counter`.
    """

    pieces: list[str] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprob] | None = None
    finish_reason: FinishReason | None = None
    tokens: int | None = None
    first_time: float | None = None
    last_time: float = 0.0

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self.pieces)

    def add(self, delta: Delta) -> None:
        """Append a delta."""
        self.last_time = time.perf_counter()
        if self.first_time is None:
            self.first_time = self.last_time
        self.pieces.append(delta.text)
        self.token_ids += delta.token_ids
        if delta.logprobs is not None:
            self.logprobs = self.logprobs or []
            self.logprobs += delta.logprobs
        self.finish_reason = delta.finish_reason

    def as_delta(self, index: int) -> Delta:
        """Return everything so far as a single delta."""
        return Delta(index, self.text, self.token_ids, self.logprobs, self.finish_reason)

    def completion(self, prompt_tokens: int) -> Completion:
        """Parse the text into a completion."""
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
    """Wait for n completions and their token counts.

    Where a server does not report tokens, the usage is None, `prompt_tokens` is 0 and `token_ids` are empty.
    """
    rollouts = [RolloutBuilder() for _ in range(n)]
    deltas = backend.stream(request, sampling, n)
    async with aclosing(deltas):
        async for delta in deltas:
            rollouts[delta.index].add(delta)
    prompt_tokens = deltas.usage.prompt_tokens if deltas.usage else 0
    return [rollout.completion(prompt_tokens) for rollout in rollouts], deltas.usage


async def complete(backend: Backend, request: Request, sampling: Sampling, n: int = 1) -> list[Completion]:
    """Wait for n completions, as `collect` does."""
    return (await collect(backend, request, sampling, n))[0]
