"""The state behind the routes: the models, admission, and how a request becomes a generation by a backend."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.responses import JSONResponse, Response

from step3vl.inference.client import Backend, BackendError, RemoteBackend, ReplySplitter, Request, Sampling
from step3vl.inference.pacore import LEVELS
from step3vl.inference.server.admission import Admission
from step3vl.inference.server.chat_completions import ChatGeneration
from step3vl.inference.server.completions import CompletionGeneration
from step3vl.inference.server.config import ServerConfig
from step3vl.inference.server.errors import ApiError
from step3vl.inference.server.forwarding import ForwardedResponse, Target
from step3vl.inference.server.generation import (
    AdmittedResponse,
    Generation,
    GenerationResponse,
    backend_api_error,
)
from step3vl.inference.server.metrics import Metrics
from step3vl.inference.server.pacore_responses import PaCoReGeneration
from step3vl.inference.server.protocol import (
    ChatCompletionRequest,
    CompletionRequest,
    GenerationRequest,
    PaCoReOptions,
    TokenizeRequest,
    validation_error,
)
from step3vl.inference.server.request_fields import other_fields, refuse_unsupported
from step3vl.inference.server.request_images import RequestImageLoader
from step3vl.inference.server.responses import Envelope, Json, UsageCounter

LISTING_SECONDS = 10.0  # for which the model names of a server are kept
Body = TypeVar("Body", bound=BaseModel)


class ServedModel(NamedTuple):
    """A model id: its backend, and the rounds of PaCoRe over it, empty for a plain answer."""

    root: str
    backend: Backend
    rounds: tuple[int, ...] = ()
    backend_name: str | None = None
    """The server's own name for the model, where the id is none that was configured here."""


class Service:
    """Shared by all routes of an app.

    Args:
        backends: The backend of each model name; each also gets a model id for every PaCoRe level. A server's own
            model names are served too.
        config: The server's limits.
    """

    def __init__(self, backends: Mapping[str, Backend], config: ServerConfig):
        self.config = config
        self.admission = Admission(config.concurrency, config.queue)
        self.metrics = Metrics(lambda: self.admission.running, lambda: self.admission.waiting)
        self.image_loader = RequestImageLoader(config)
        self.draining = False
        self._started = int(time.time())
        self._models: dict[str, ServedModel] = {}
        self._listings: dict[int, tuple[frozenset[str], float]] = {}  # by backend: its own names, and until when
        for name, backend in backends.items():
            self._models[name] = ServedModel(name, backend)
            for level, rounds in LEVELS.items():
                self._models[f"{name}-pacore-{level}"] = ServedModel(name, backend, rounds)

    def drain(self) -> None:
        """Refuse new requests; running and queued ones are still answered."""
        self.draining = True

    async def close(self) -> None:
        await self.image_loader.close()
        for model in self._configured():
            await model.backend.close()

    async def models(self) -> list[Json]:
        """The entries of /v1/models; those of servers behind this one follow as they are."""
        listed: list[Json] = []
        for backend in (model.backend for model in self._configured()):
            if isinstance(backend, RemoteBackend):
                listed += await backend.models()
                with suppress(BackendError):
                    await backend.resolve_model()  # which sets the context
        entries = {name: self._entry(name, model) for name, model in self._models.items()}
        return [*entries.values(), *(entry for entry in listed if entry["id"] not in entries)]

    async def find(self, name: Any) -> ServedModel:
        """The model of this id: one that is configured here, or that a server behind this one lists.

        Raises:
            ApiError: 400 without a name, 404 without such a model.
        """
        if not isinstance(name, str):
            raise ApiError(400, "model: must be the name of a model", param="model")
        if name in self._models:
            return self._models[name]
        root, _, level = name.rpartition("-pacore-")
        candidates = {name: (), **({root: LEVELS[level]} if level in LEVELS else {})}
        for model in self._configured():
            listed = await self._listed_names(model.backend)
            for backend_name, rounds in candidates.items():
                if backend_name in listed:
                    return ServedModel(backend_name, model.backend, rounds, backend_name)
        names = ", ".join(model.root for model in self._configured())
        message = f"there is no model {name[:100]!r} here, but {names}"
        raise ApiError(404, message, param="model", code="model_not_found")

    async def chat(self, body: Json, key: str) -> AdmittedResponse:
        """Answer a chat.

        Raises:
            ApiError: For whatever can be refused before the request is admitted.
        """
        model = await self.find(body.get("model"))
        remote = isinstance(model.backend, RemoteBackend)
        if remote and not model.rounds and body.get("pacore") is None:
            return await self._forward(model, "/v1/chat/completions", body, key)
        if not remote:
            refuse_unsupported(body, ChatCompletionRequest)
        chat = parse(ChatCompletionRequest, body)
        rounds = (chat.pacore and chat.pacore.rounds) or model.rounds or (LEVELS["low"] if chat.pacore else ())
        self._check_rollouts(chat, rounds)
        try:
            messages = chat.conversation()
        except ValidationError as error:
            raise validation_error(error.errors()) from None
        extra = other_fields(body, ChatCompletionRequest) if remote else {}
        if model.backend_name is not None:
            extra["model"] = model.backend_name
        envelope, counter = Envelope(chat.model, chat=True), UsageCounter()

        async def request() -> list[Request]:
            images = await self.image_loader.load(chat.images())
            return [Request(messages, images, chat.tool_definitions(), extra=extra)]

        def generation(encoded: Sequence[Request], sampling: Sampling) -> Generation:
            (prompt,) = encoded
            splitter = partial(ReplySplitter, bool(prompt.tools), None if chat.parallel_tool_calls else 1)
            if not rounds:
                return ChatGeneration(model.backend, prompt, sampling, chat.n, splitter, envelope, counter)
            plain = replace(prompt, token_ids=None)  # the messages are rewritten from round to round
            options = chat.pacore or PaCoReOptions()
            return PaCoReGeneration(model.backend, plain, sampling, rounds, options, splitter, envelope, counter)

        return self._respond(model, request, chat, key, generation)

    async def complete(self, body: Json, key: str) -> AdmittedResponse:
        """Continue prompts. Raises as `chat` does."""
        model = await self.find(body.get("model"))
        if model.rounds or body.get("pacore"):
            field = "model" if model.rounds else "pacore"
            raise ApiError(400, f"{field}: PaCoRe answers chats; ask it at /v1/chat/completions", param=field)
        if isinstance(model.backend, RemoteBackend):
            return await self._forward(model, "/v1/completions", body, key)
        refuse_unsupported(body, CompletionRequest)
        completion = parse(CompletionRequest, body)
        self._check_limit("n", completion.n * len(completion.prompt))
        envelope, counter = Envelope(completion.model, chat=False), UsageCounter()

        async def requests() -> list[Request]:
            return completion.requests()

        def generation(encoded: Sequence[Request], sampling: Sampling) -> Generation:
            return CompletionGeneration(
                model.backend, encoded, sampling, completion.n, completion.echo, envelope, counter
            )

        return self._respond(model, requests, completion, key, generation)

    async def tokenize(self, body: Json, key: str) -> Response:
        """The token ids of a prompt, in vLLM's format.

        Raises:
            ApiError: 501 where the backend cannot tokenize.
        """
        model = await self.find(body.get("model") or next(iter(self._models)))
        if isinstance(model.backend, RemoteBackend):
            return await self._forward(model, "/tokenize", body, key)
        refuse_unsupported(body, TokenizeRequest)
        tokenize = parse(TokenizeRequest, body)
        if tokenize.prompt is not None:
            request = Request(text=tokenize.prompt)
        else:
            chat = ChatCompletionRequest(model=model.root, messages=tokenize.messages, tools=tokenize.tools)
            images = await self.image_loader.load(chat.images())
            request = Request(chat.conversation(), images, chat.tool_definitions())
        (ids,) = await _tokenize(model.backend, [request])
        if ids is None:
            raise ApiError(501, "the model server behind this one does not tokenize prompts")
        return JSONResponse({"count": len(ids), "max_model_len": model.backend.context, "tokens": ids})

    def _configured(self) -> list[ServedModel]:
        return [model for model in self._models.values() if not model.rounds]

    async def _listed_names(self, backend: Backend) -> frozenset[str]:
        """The names that a server lists, looked up at most every few seconds."""
        if not isinstance(backend, RemoteBackend):
            return frozenset()
        names, expiry = self._listings.get(id(backend), (frozenset(), 0.0))
        if time.monotonic() >= expiry:
            names = frozenset(entry["id"] for entry in await backend.models())
            self._listings[id(backend)] = (names, time.monotonic() + LISTING_SECONDS)
        return names

    def _entry(self, name: str, model: ServedModel) -> Json:
        remote = isinstance(model.backend, RemoteBackend)
        context = model.backend.context
        default = None if remote else min(self.config.default_max_tokens, self.config.max_tokens, context or 2**63)
        return {
            "id": name,
            "object": "model",
            "created": self._started,
            "owned_by": "step3vl",
            "root": model.root,
            "max_model_len": context,
            "default_max_tokens": default,
            "pacore": {"rounds": model.rounds} if model.rounds else None,
        }

    async def _forward(self, model: ServedModel, path: str, body: Json, key: str) -> ForwardedResponse:
        """Hand a request to the server behind this one. Raises ApiError for this server's own limits."""
        backend = model.backend
        assert isinstance(backend, RemoteBackend)
        if self.draining:
            raise _draining()
        n, prompts = body.get("n"), body.get("prompt")
        count = len(prompts) if isinstance(prompts, list) and all(isinstance(prompt, str) for prompt in prompts) else 1
        self._check_limit("n", (n if isinstance(n, int) else 1) * count)
        try:
            await backend.resolve_model()
        except BackendError as error:
            raise backend_api_error(error) from None
        target = Target(backend, path, model.backend_name or backend.name)
        fields = {name: value for name, value in body.items() if name != "pacore"}
        return ForwardedResponse(
            target, fields, self.image_loader, self.config, **self._options(str(body.get("model")), key)
        )

    def _options(self, model: str, key: str) -> dict[str, Any]:
        return {
            "model": model,
            "key": key,
            "timeout": self.config.timeout,
            "admission": self.admission,
            "metrics": self.metrics,
        }

    def _respond(
        self,
        model: ServedModel,
        load: Callable[[], Awaitable[list[Request]]],
        body: GenerationRequest,
        key: str,
        generation: Callable[[Sequence[Request], Sampling], Generation],
    ) -> GenerationResponse:
        if self.draining:
            raise _draining()

        async def prepare() -> Generation:
            """The generation, once the prompts are known to fit into the context.

            Images are loaded now, after admission, so that a long queue holds none.
            """
            requests = await load()
            token_ids = await _tokenize(model.backend, requests)
            prompt_tokens = max(len(ids or ()) for ids in token_ids)
            max_new_tokens = self._max_new_tokens(body, model.backend, prompt_tokens)
            # The server numbers images in the order of the messages, as token ids need them.
            encoded = [replace(request, token_ids=ids) for request, ids in zip(requests, token_ids, strict=True)]
            return generation(encoded, body.sampling(max_new_tokens))

        return GenerationResponse(
            prepare,
            stream=body.stream,
            include_usage=body.stream_options.include_usage,
            **self._options(body.model, key),
        )

    def _check_rollouts(self, body: ChatCompletionRequest, rounds: Sequence[int]) -> None:
        if not rounds:
            self._check_limit("n", body.n)
            return
        self._check_limit("pacore.rounds", sum(rounds))
        if body.n > 1:
            raise ApiError(400, "n: PaCoRe gives one answer", param="n")
        if body.logprob_count() is not None:
            raise ApiError(400, "logprobs: PaCoRe has none", param="logprobs")

    def _check_limit(self, field: str, rollouts: int) -> None:
        limit = self.config.rollouts
        if rollouts > limit:
            raise ApiError(400, f"{field}: {rollouts} rollouts in one request; the limit is {limit}", param=field)

    def _max_new_tokens(self, body: GenerationRequest, backend: Backend, prompt_tokens: int) -> int:
        """The most tokens of a reply: the client's limit, as far as the server and the context allow.

        Raises ApiError 400 when the prompt leaves no room at all.
        """
        context = backend.context
        default = self.config.max_tokens if isinstance(backend, RemoteBackend) else self.config.default_max_tokens
        limit = min(body.token_limit() or max(default, body.min_tokens), self.config.max_tokens)
        if context is None:
            return limit
        if prompt_tokens >= context:
            field = body.prompt_field
            raise ApiError(
                400,
                f"This model's maximum context length is {context} tokens, and the {field} alone take "
                f"{prompt_tokens}. Please reduce the length of the {field}.",
                param=field,
                code="context_length_exceeded",
            )
        return min(limit, context - prompt_tokens)


def parse(model: type[Body], body: Json) -> Body:
    """The body as this model. Raises ApiError 400."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise validation_error(error.errors()) from None


def _draining() -> ApiError:
    return ApiError(503, "the server is shutting down", code="draining", retry_after=5)


async def _tokenize(backend: Backend, requests: Sequence[Request]) -> list[list[int] | None]:
    try:
        return [await backend.tokenize(request) for request in requests]
    except BackendError as error:
        raise backend_api_error(error) from None
