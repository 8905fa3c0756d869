"""What the routes share: the models, who may be answered now, and how a request becomes work for a backend."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from pydantic import ValidationError

from step3vl.inference.backend import Backend, BackendError
from step3vl.inference.jobs import Request
from step3vl.inference.pacore import LEVELS
from step3vl.inference.sampling import Sampling
from step3vl.inference.server.admission import Admission
from step3vl.inference.server.answer import Answer, Work, from_backend
from step3vl.inference.server.api import ChatBody, CompletionBody, Generation, PaCoReOptions, TokenizeBody, refuse
from step3vl.inference.server.config import ServerConfig
from step3vl.inference.server.continuations import stream_texts, whole_texts
from step3vl.inference.server.errors import ApiError
from step3vl.inference.server.metrics import Metrics
from step3vl.inference.server.pacore_replies import PaCoReReply
from step3vl.inference.server.pictures import Pictures
from step3vl.inference.server.shapes import Envelope, Json, Tally
from step3vl.inference.server.streams import stream_choices, whole_choices


class Model(NamedTuple):
    """What an id stands for: a backend, and the rounds of PaCoRe over it, none for a plain answer."""

    root: str
    backend: Backend
    rounds: tuple[int, ...] = ()


class Service:
    """Made once for an app."""

    def __init__(self, backends: Mapping[str, Backend], config: ServerConfig):
        self.config = config
        self.admission = Admission(config.concurrency, config.queue)
        self.metrics = Metrics(lambda: self.admission.running, lambda: self.admission.waiting)
        self.pictures = Pictures(config)
        self.draining = False
        self._started = int(time.time())
        self._models: dict[str, Model] = {}
        for name, backend in backends.items():
            self._models[name] = Model(name, backend)
            self._models |= {f"{name}-pacore-{level}": Model(name, backend, k) for level, k in LEVELS.items()}

    def drain(self) -> None:
        """Take no new work; what runs and what waits is still answered."""
        self.draining = True

    async def close(self) -> None:
        await self.pictures.close()
        for model in self._models.values():
            if not model.rounds:
                await model.backend.close()

    def models(self) -> list[Json]:
        return [
            {
                "id": name,
                "object": "model",
                "created": self._started,
                "owned_by": "step3vl",
                "root": model.root,
                "max_model_len": model.backend.context,
                "pacore": {"rounds": model.rounds} if model.rounds else None,
            }
            for name, model in self._models.items()
        ]

    def find(self, name: str) -> Model:
        """Raises ApiError 404."""
        model = self._models.get(name)
        if model is None:
            known = ", ".join(name for name, model in self._models.items() if not model.rounds)
            raise ApiError(
                404, f"there is no model {name[:100]!r} here, but {known}", param="model", code="model_not_found"
            )
        return model

    async def chat(self, body: ChatBody, key: str) -> Answer:
        """Raises ApiError for what can be refused before the request's turn comes."""
        model = self.find(body.model)
        rounds = (body.pacore and body.pacore.rounds) or model.rounds or (LEVELS["low"] if body.pacore else ())
        self._check(body, rounds)
        try:
            messages = body.conversation()
        except ValidationError as error:
            raise refuse(error.errors()) from None
        images = await self.pictures.load(body.image_urls())
        request = Request(messages, images, body.signatures())
        envelope, tally = Envelope(body.model, chat=True), Tally()

        def work(encoded: Sequence[Request], sampling: Sampling) -> Work:
            if rounds:  # the messages are rewritten from round to round
                options = body.pacore or PaCoReOptions()
                reply = PaCoReReply(model.backend, request, sampling, rounds, options, envelope, tally)
                return Work(envelope, tally, reply.stream, reply.whole)
            asked = (model.backend, encoded[0], sampling, body.n, envelope, tally)
            return Work(envelope, tally, lambda: stream_choices(*asked), lambda: whole_choices(*asked))

        return self._answer(model, [request], body, key, work)

    def complete(self, body: CompletionBody, key: str) -> Answer:
        """As `chat`."""
        model = self.find(body.model)
        if model.rounds:
            raise ApiError(400, "model: PaCoRe answers chats; ask it at /v1/chat/completions", param="model")
        self._limit("n", body.n * len(body.prompt))
        backend, n, echo = model.backend, body.n, body.echo
        envelope, tally = Envelope(body.model, chat=False), Tally()

        def work(encoded: Sequence[Request], sampling: Sampling) -> Work:
            return Work(
                envelope,
                tally,
                lambda: stream_texts(backend, encoded[0], sampling, n, envelope, tally, echo),
                lambda: whole_texts(backend, encoded, sampling, n, envelope, tally, echo),
            )

        return self._answer(model, body.requests(), body, key, work)

    async def tokenize(self, body: TokenizeBody) -> Json:
        """A prompt's ids as the model reads it, as vLLM tells them. Raises ApiError 501 where a backend does not."""
        model = self.find(body.model) if body.model else next(iter(self._models.values()))
        if body.prompt is not None:
            request = Request(text=body.prompt)
        else:
            chat = ChatBody(model=model.root, messages=body.messages, tools=body.tools)
            request = Request(chat.conversation(), await self.pictures.load(chat.image_urls()), chat.signatures())
        (ids,) = await _ids(model.backend, [request])
        if ids is None:
            raise ApiError(501, "the model server behind this one does not tell its tokens")
        return {"count": len(ids), "max_model_len": model.backend.context, "tokens": ids}

    def _answer(
        self,
        model: Model,
        requests: Sequence[Request],
        body: Generation,
        key: str,
        work: Callable[[Sequence[Request], Sampling], Work],
    ) -> Answer:
        if self.draining:
            raise ApiError(503, "the server is shutting down", code="draining", retry_after=5)

        async def prepare() -> Work:
            """What there is to do, once it is clear that the prompts fit."""
            encoded = await _ids(model.backend, requests)
            room = self._room(body, model.backend.context, max(len(ids or ()) for ids in encoded))
            # The server numbers pictures in the order in which they are shown, as ids want them.
            ready = [replace(request, token_ids=ids) for request, ids in zip(requests, encoded, strict=True)]
            return work(ready, body.sampling(room))

        return Answer(
            prepare,
            model=body.model,
            key=key,
            streams=body.stream,
            include_usage=body.stream_options.include_usage,
            timeout=self.config.timeout,
            admission=self.admission,
            metrics=self.metrics,
        )

    def _check(self, body: ChatBody, rounds: Sequence[int]) -> None:
        if not rounds:
            self._limit("n", body.n)
            return
        self._limit("pacore.rounds", sum(rounds))
        if body.n > 1:
            raise ApiError(400, "n: PaCoRe gives one answer", param="n")
        if body.asked_logprobs() is not None:
            raise ApiError(400, "logprobs: PaCoRe has none", param="logprobs")

    def _limit(self, what: str, rollouts: int) -> None:
        if rollouts > self.config.rollouts:
            raise ApiError(
                400, f"{what}: {rollouts} rollouts in one request; the limit is {self.config.rollouts}", param=what
            )

    def _room(self, body: Generation, context: int | None, prompt: int) -> int:
        """The most tokens of a reply: what was asked for, as far as the server and the context allow.

        Raises ApiError 400 when the prompt leaves no room at all.
        """
        most = min(body.limit() or self.config.max_tokens, self.config.max_tokens)
        if context is None:
            return most
        if prompt >= context:
            raise ApiError(
                400,
                f"This model's maximum context length is {context} tokens, and the {body.asks} alone take {prompt}. "
                f"Please reduce the length of the {body.asks}.",
                param=body.asks,
                code="context_length_exceeded",
            )
        return min(most, context - prompt)


async def _ids(backend: Backend, requests: Sequence[Request]) -> list[list[int] | None]:
    try:
        return [await backend.tokenize(request) for request in requests]
    except BackendError as error:
        raise from_backend(error) from None
