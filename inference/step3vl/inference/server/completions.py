"""Text completions: from the backend's deltas to the chunks of /v1/completions, or to one complete response."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from step3vl.inference.client import Backend, Request, Sampling, collect, gather
from step3vl.inference.server.responses import Envelope, Json, UsageCounter, completion_logprobs


async def stream_completions(
    backend: Backend,
    request: Request,
    sampling: Sampling,
    n: int,
    envelope: Envelope,
    counter: UsageCounter,
    echo: bool,
) -> AsyncGenerator[bytes, None]:
    """Yield the chunks of n completions as they come, without the usage.

    `echo` sends the text of the prompt before each completion; `counter` receives the tokens.
    """
    started = not echo
    offsets = [0] * n
    deltas = backend.stream(request, sampling, n)
    async with aclosing(deltas):
        async for delta in deltas:
            if not started:
                started = True
                for index in range(n):
                    yield envelope.text_chunk(index, request.text or "")
            counter.completion += len(delta.token_ids)
            logprobs = completion_logprobs(delta.logprobs, offsets[delta.index]) if delta.logprobs else None
            offsets[delta.index] += sum(len(token.text) for token in delta.logprobs or ())
            if delta.text or logprobs or delta.finish_reason:
                yield envelope.text_chunk(delta.index, delta.text, delta.finish_reason, logprobs)
    counter.replace_by(deltas.usage)


async def complete_prompts(
    backend: Backend,
    requests: Sequence[Request],
    sampling: Sampling,
    n: int,
    envelope: Envelope,
    counter: UsageCounter,
    echo: bool,
) -> Json:
    """The complete response with n completions of each prompt, in the order of the prompts."""
    results = await gather(collect(backend, request, sampling, n) for request in requests)
    choices: list[Json] = []
    for request, (completions, usage) in zip(requests, results, strict=True):
        prompt_counter = UsageCounter(completion=sum(len(completion.token_ids) for completion in completions))
        prompt_counter.replace_by(usage)
        counter.add(prompt_counter)
        for completion in completions:
            text = (request.text or "") + completion.text if echo else completion.text
            logprobs = None if sampling.logprobs is None else completion_logprobs(completion.token_logprobs or ())
            choice = {"index": len(choices), "text": text, "logprobs": logprobs}
            choices.append({**choice, "finish_reason": completion.finish_reason})
    return envelope.response(choices, counter.to_json())
