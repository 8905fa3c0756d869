"""Text completions: from the backend's deltas to the chunks of /v1/completions, or to one complete response."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from step3vl.inference.client import Backend, Request, Sampling, collect, gather
from step3vl.inference.server.responses import Envelope, Json, UsageCounter, completion_logprobs


@dataclass
class CompletionGeneration:
    """Generates n completions of each prompt; a `Generation`. Only a single prompt can be streamed."""

    backend: Backend
    requests: Sequence[Request]
    sampling: Sampling
    n: int
    echo: bool
    """Whether the text of the prompt comes before each completion."""
    envelope: Envelope
    counter: UsageCounter

    async def stream(self) -> AsyncGenerator[bytes, None]:
        (request,) = self.requests
        started = not self.echo
        offsets = [0] * self.n
        deltas = self.backend.stream(request, self.sampling, self.n)
        async with aclosing(deltas):
            async for delta in deltas:
                if not started:
                    started = True
                    for index in range(self.n):
                        yield self.envelope.text_chunk(index, request.text or "")
                self.counter.completion += len(delta.token_ids)
                logprobs = completion_logprobs(delta.logprobs, offsets[delta.index]) if delta.logprobs else None
                offsets[delta.index] += sum(len(token.text) for token in delta.logprobs or ())
                if delta.text or logprobs or delta.finish_reason:
                    yield self.envelope.text_chunk(delta.index, delta.text, delta.finish_reason, logprobs)
        self.counter.replace_by(deltas.usage)

    async def complete(self) -> Json:
        results = await gather(collect(self.backend, request, self.sampling, self.n) for request in self.requests)
        choices: list[Json] = []
        for request, (completions, usage) in zip(self.requests, results, strict=True):
            prompt_counter = UsageCounter(completion=sum(len(completion.token_ids) for completion in completions))
            prompt_counter.replace_by(usage)
            self.counter.add(prompt_counter)
            for completion in completions:
                text = (request.text or "") + completion.text if self.echo else completion.text
                logprobs = None
                if self.sampling.logprobs is not None:
                    logprobs = completion_logprobs(completion.token_logprobs or ())
                choice = {"index": len(choices), "text": text, "logprobs": logprobs}
                choices.append({**choice, "finish_reason": completion.finish_reason})
        return self.envelope.response(choices, self.counter.to_json())
