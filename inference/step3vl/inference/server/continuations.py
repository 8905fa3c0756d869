"""Prompts that are continued as they stand: from the backend's deltas to the older endpoint's chunks, or one reply."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from step3vl.inference.backend import Backend, collect
from step3vl.inference.jobs import Request
from step3vl.inference.sampling import Sampling
from step3vl.inference.server.shapes import Envelope, Json, Tally, completion_logprobs
from step3vl.inference.waiting import together


async def stream_texts(
    backend: Backend, request: Request, sampling: Sampling, n: int, envelope: Envelope, tally: Tally, echo: bool
) -> AsyncGenerator[bytes, None]:
    """The chunks of n continuations as they come, without the usage; `echo` sends the prompt's text before each."""
    opened = not echo
    offsets = [0] * n
    deltas = backend.stream(request, sampling, n)
    async with aclosing(deltas):
        async for delta in deltas:
            if not opened:
                opened = True
                for index in range(n):
                    yield envelope.text(index, request.text or "")
            tally.completion += len(delta.token_ids)
            logprobs = completion_logprobs(delta.logprobs, offsets[delta.index]) if delta.logprobs else None
            offsets[delta.index] += sum(len(token.text) for token in delta.logprobs or ())
            if delta.text or logprobs or delta.finish_reason:
                yield envelope.text(delta.index, delta.text, delta.finish_reason, logprobs)
    tally.settle(deltas.usage)


async def whole_texts(
    backend: Backend,
    requests: Sequence[Request],
    sampling: Sampling,
    n: int,
    envelope: Envelope,
    tally: Tally,
    echo: bool,
) -> Json:
    """The reply with n continuations of each prompt."""
    answers = await together(collect(backend, request, sampling, n) for request in requests)
    choices: list[Json] = []
    for request, (completions, usage) in zip(requests, answers, strict=True):
        own = Tally(completion=sum(len(completion.token_ids) for completion in completions))
        own.settle(usage)
        tally.add(own)
        for completion in completions:
            text = (request.text or "") + completion.text if echo else completion.text
            logprobs = None if sampling.logprobs is None else completion_logprobs(completion.token_logprobs or ())
            choice = {"index": len(choices), "text": text, "logprobs": logprobs}
            choices.append({**choice, "finish_reason": completion.finish_reason})
    return envelope.whole(choices, tally.usage())
