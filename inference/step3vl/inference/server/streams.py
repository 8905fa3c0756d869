"""The way of a chat's n rollouts from the backend's deltas to OpenAI's chunks, or to one whole reply."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from step3vl.data.template import END_THINK
from step3vl.data.tokens import parse_reply, split_answer
from step3vl.inference.backend import Backend, Rollout
from step3vl.inference.jobs import Delta, Request, TokenLogprob
from step3vl.inference.sampling import Sampling
from step3vl.inference.server.shapes import (
    Envelope,
    Json,
    Tally,
    chat_logprobs,
    thought,
    tool_calls,
)
from step3vl.inference.splitter import Splitter


class ChoiceStream:
    """One choice of a streamed reply: deltas in, chunks out."""

    def __init__(self, envelope: Envelope, index: int, tools: bool, tally: Tally):
        self.envelope = envelope
        self.index = index
        self.tally = tally
        self._tools = tools
        self._splitter = Splitter(tools)
        self._logprobs: list[TokenLogprob] = []

    def feed(self, delta: Delta) -> list[bytes]:
        self.tally.completion += len(delta.token_ids)
        if self._splitter.thinking:  # before the delta, so that the end of the thought counts with it
            self.tally.reasoning += len(delta.token_ids)
        pieces = self._splitter.feed(delta.text)
        if delta.logprobs:
            self._logprobs += delta.logprobs
        if delta.finish_reason is not None:
            pieces += self._splitter.finish(delta.finish_reason == "stop")
        chunks = []
        for kind, text in pieces:
            if kind == "content":
                chunks.append(self._chunk({"content": text}))
            else:
                chunks.append(self._chunk(thought(text)))
        if delta.finish_reason is not None:
            chunks += self._end(delta.finish_reason)
        return chunks

    def _end(self, reason: str) -> list[bytes]:
        calls = parse_reply(self._splitter.text).tool_calls if self._tools else ()
        chunks = [self._chunk({"tool_calls": tool_calls(calls, indexed=True)})] if calls else []
        return [*chunks, self._chunk({}, finish="tool_calls" if calls else reason)]

    def _chunk(self, delta: Json, finish: str | None = None) -> bytes:
        """With the log-probabilities of all tokens since the last chunk, which may be more than its text."""
        logprobs = chat_logprobs(self._logprobs) if self._logprobs else None
        self._logprobs = []
        return self.envelope.delta(self.index, delta, finish, logprobs)


async def stream_choices(
    backend: Backend, request: Request, sampling: Sampling, n: int, envelope: Envelope, tally: Tally
) -> AsyncGenerator[bytes, None]:
    """The chunks of n replies as they come, without the usage."""
    choices = [ChoiceStream(envelope, index, bool(request.tools), tally) for index in range(n)]
    opened = False
    deltas = backend.stream(request, sampling, n)
    async with aclosing(deltas):
        async for delta in deltas:
            if not opened:
                opened = True
                for index in range(n):
                    yield envelope.delta(index, {"role": "assistant", "content": ""})
            if chunks := choices[delta.index].feed(delta):
                yield b"".join(chunks)
    tally.settle(deltas.usage)


class Whole:
    """One choice of a reply that is sent whole."""

    def __init__(self) -> None:
        self.rollout = Rollout()
        self.thought_tokens = 0
        self._thinking = True

    @property
    def tokens(self) -> int:
        return len(self.rollout.token_ids)

    def feed(self, delta: Delta) -> None:
        self.rollout.add(delta)
        if self._thinking:
            self.thought_tokens = self.tokens
            self._thinking = END_THINK not in delta.text and not self._ends_thought()

    def choice(self, index: int, tools: bool, logprobs: bool) -> Json:
        """The choice as OpenAI shapes it. A reply that was cut within its thought has an empty answer."""
        text, finish = self.rollout.text, self.rollout.finish_reason
        reasoning, answer = split_answer(text)
        calls: Sequence = ()
        if finish != "stop" and END_THINK not in text:
            reasoning, answer = text, ""
        elif tools:
            _, answer, calls = parse_reply(text)
        detail = {"logprobs": chat_logprobs(self.rollout.logprobs or ()) if logprobs else None}
        message: Json = {"role": "assistant", "content": answer, **thought(reasoning), "refusal": None}
        if calls:
            message["tool_calls"] = tool_calls(calls)
        return {"index": index, "message": message, **detail, "finish_reason": "tool_calls" if calls else finish}

    def _ends_thought(self) -> bool:
        return END_THINK in "".join(self.rollout.pieces[-len(END_THINK) :])


async def whole_choices(
    backend: Backend, request: Request, sampling: Sampling, n: int, envelope: Envelope, tally: Tally
) -> Json:
    """The reply with n choices, complete."""
    choices = [Whole() for _ in range(n)]
    deltas = backend.stream(request, sampling, n)
    async with aclosing(deltas):
        async for delta in deltas:
            choices[delta.index].feed(delta)
    tally.completion = sum(choice.tokens for choice in choices)
    tally.reasoning = sum(choice.thought_tokens for choice in choices)
    tally.settle(deltas.usage)
    shaped = [
        choice.choice(index, bool(request.tools), sampling.logprobs is not None)
        for index, choice in enumerate(choices)
    ]
    return envelope.whole(shaped, tally.usage())
