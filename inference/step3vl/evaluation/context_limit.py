"""Replies as long as the context allows: the paper's limit of 65,536 tokens is the whole context of its model."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from step3vl.data.sample import Image, ImageError, ImageSpec, plan_crops
from step3vl.inference.client import Backend, BackendError, Delta, DeltaStream, RemoteBackend, Request, Sampling

_CHAT_TOKENS = 16
"""What a server's template may add to the tokens that it counts."""


class WithinContext:
    """A backend that lowers `max_new_tokens` to what a prompt leaves of the context, where that is known.

    Servers such as vLLM refuse a request whose prompt and limit together are longer than the context.
    """

    def __init__(self, backend: Backend):
        self.backend = backend
        self.name = backend.name
        self.context = backend.context

    async def tokenize(self, request: Request) -> list[int] | None:
        """The prompt's token ids, as the backend counts them."""
        return await self.backend.tokenize(request)

    def stream(self, request: Request, sampling: Sampling, n: int = 1) -> DeltaStream:
        """Sample n rollouts of a request. Use the stream in `contextlib.aclosing`."""
        deltas = DeltaStream(n)
        return deltas.bind(self._stream(request, sampling, n, deltas))

    async def close(self) -> None:
        """Close the backend."""
        await self.backend.close()

    async def _stream(
        self, request: Request, sampling: Sampling, n: int, deltas: DeltaStream
    ) -> AsyncGenerator[Delta, None]:
        limit = min(sampling.max_new_tokens, await self._remaining(request, sampling.max_new_tokens))
        source = self.backend.stream(request, sampling.model_copy(update={"max_new_tokens": limit}), n)
        try:
            async with aclosing(source):
                async for delta in source:
                    yield delta
        finally:
            deltas.usage, deltas.tokens = source.usage, source.tokens

    async def _remaining(self, request: Request, limit: int) -> int:
        """Tokens that the prompt leaves for a reply; at least 1. The limit itself where nothing is known."""
        if isinstance(self.backend, RemoteBackend):
            await self.backend.resolve_model()
            self.name, self.context = self.backend.name, self.backend.context
        context = self.context
        if context is None:
            return limit
        ids = await self.backend.tokenize(request)
        if ids is None:
            return limit
        prompt_tokens = len(ids)
        if isinstance(self.backend, RemoteBackend):
            prompt_tokens += _CHAT_TOKENS + await asyncio.to_thread(_image_tokens, request)
        if prompt_tokens >= context:
            raise BackendError(f"a prompt of {prompt_tokens} tokens leaves nothing of the context of {context}", 400)
        return context - prompt_tokens


def _image_tokens(request: Request) -> int:
    """Tokens of the images of a request by the rules of this model; a server counts those of the text alone."""
    sizes = [(image.width, image.height) for image in request.images if isinstance(image, Image)]
    try:
        return sum(plan_crops(width, height, ImageSpec()).tokens for width, height in sizes)
    except ImageError:
        return 0  # this model would refuse such a size; another may not
