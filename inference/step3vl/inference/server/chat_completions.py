"""Chat completions: from the backend's deltas to OpenAI's chunks, or to one complete response."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from step3vl.inference.client import (
    Backend,
    Delta,
    PieceKind,
    ReplySplitter,
    Request,
    RolloutBuilder,
    Sampling,
    TokenLogprob,
)
from step3vl.inference.server.responses import (
    Envelope,
    Json,
    UsageCounter,
    chat_logprobs,
    reasoning_fields,
    tool_call_objects,
)


class ChoiceStream:
    """Turns the deltas of one rollout into the chunks of one choice.

    Args:
        envelope: The fields that all chunks share.
        index: The index of the choice.
        splitter: Splits the reply; a new one.
        counter: Receives the completion and reasoning tokens.
    """

    def __init__(self, envelope: Envelope, index: int, splitter: ReplySplitter, counter: UsageCounter):
        self.envelope = envelope
        self.index = index
        self.counter = counter
        self._splitter = splitter
        self._logprobs: list[TokenLogprob] = []

    def feed(self, delta: Delta) -> list[bytes]:
        self.counter.completion += len(delta.token_ids)
        if self._splitter.reasoning:  # asked before the delta, so that the end of the reasoning counts as reasoning
            self.counter.reasoning += len(delta.token_ids)
        pieces = self._splitter.feed(delta.text)
        if delta.logprobs:
            self._logprobs += delta.logprobs
        if delta.finish_reason is not None:
            pieces += self._splitter.finish()
        chunks = []
        for kind, text in pieces:
            if kind == "content":
                chunks.append(self._chunk({"content": text}))
            else:
                chunks.append(self._chunk(reasoning_fields(text)))
        if delta.finish_reason is not None:
            chunks += self._finish(delta.finish_reason)
        return chunks

    def _finish(self, reason: str) -> list[bytes]:
        calls = self._splitter.tool_calls
        # One call a chunk, as OpenAI sends them: LlamaIndex reads only the first of a chunk.
        chunks = [self._chunk({"tool_calls": [call]}) for call in tool_call_objects(calls, indexed=True)]
        return [*chunks, self._chunk({}, finish="tool_calls" if calls else reason)]

    def _chunk(self, delta: Json, finish: str | None = None) -> bytes:
        """With the log-probabilities of all tokens since the last chunk, which may be more than its text."""
        logprobs = chat_logprobs(self._logprobs) if self._logprobs else None
        self._logprobs = []
        return self.envelope.chat_chunk(self.index, delta, finish, logprobs)


class ChoiceBuilder:
    """Collects the deltas of one rollout for a response that is not streamed: what its stream would join to."""

    def __init__(self, splitter: ReplySplitter) -> None:
        self.rollout = RolloutBuilder()
        self.reasoning_tokens = 0
        self.texts: dict[PieceKind, str] = {"reasoning": "", "content": ""}
        self._splitter = splitter

    @property
    def tokens(self) -> int:
        return len(self.rollout.token_ids)

    def feed(self, delta: Delta) -> None:
        self.rollout.add(delta)
        if self._splitter.reasoning:
            self.reasoning_tokens += len(delta.token_ids)
        pieces = self._splitter.feed(delta.text)
        if delta.finish_reason is not None:
            pieces += self._splitter.finish()
        for kind, text in pieces:
            self.texts[kind] += text

    def choice(self, index: int, logprobs: bool) -> Json:
        """OpenAI's choice object."""
        calls = self._splitter.tool_calls
        message: Json = {
            "role": "assistant",
            "content": self.texts["content"],
            **reasoning_fields(self.texts["reasoning"]),
            "refusal": None,
        }
        if calls:
            message["tool_calls"] = tool_call_objects(calls)
        return {
            "index": index,
            "message": message,
            "logprobs": chat_logprobs(self.rollout.logprobs or ()) if logprobs else None,
            "finish_reason": "tool_calls" if calls else self.rollout.finish_reason,
        }


@dataclass
class ChatGeneration:
    """Generates n choices of a chat; a `Generation`."""

    backend: Backend
    request: Request
    sampling: Sampling
    n: int
    splitter: Callable[[], ReplySplitter]
    """Creates the splitter of each choice."""
    envelope: Envelope
    counter: UsageCounter

    async def stream(self) -> AsyncGenerator[bytes, None]:
        choices = [ChoiceStream(self.envelope, index, self.splitter(), self.counter) for index in range(self.n)]
        started = False
        deltas = self.backend.stream(self.request, self.sampling, self.n)
        async with aclosing(deltas):
            async for delta in deltas:
                if not started:
                    started = True
                    for index in range(self.n):
                        yield self.envelope.chat_chunk(index, {"role": "assistant", "content": ""})
                if chunks := choices[delta.index].feed(delta):
                    yield b"".join(chunks)
        self.counter.replace_by(deltas.usage)

    async def complete(self) -> Json:
        builders = [ChoiceBuilder(self.splitter()) for _ in range(self.n)]
        deltas = self.backend.stream(self.request, self.sampling, self.n)
        async with aclosing(deltas):
            async for delta in deltas:
                builders[delta.index].feed(delta)
        self.counter.completion = sum(builder.tokens for builder in builders)
        self.counter.reasoning = sum(builder.reasoning_tokens for builder in builders)
        self.counter.replace_by(deltas.usage)
        logprobs = self.sampling.logprobs is not None
        choices = [builder.choice(index, logprobs) for index, builder in enumerate(builders)]
        return self.envelope.response(choices, self.counter.to_json())
