"""A backend over HTTP: pooled connections, streamed replies, and retries."""

import asyncio
import json
import random
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import replace
from itertools import count
from typing import Any

import httpx

from step3vl.data.errors import UserError
from step3vl.data.sample import Message, Part, TextPart
from step3vl.inference.client.backend import BackendError, DeltaStream, Usage
from step3vl.inference.client.requests import Delta, Request
from step3vl.inference.client.sampling import Sampling
from step3vl.inference.client.wire import (
    ChoiceParser,
    DataUrlCache,
    EventParser,
    chat_body,
    chat_messages,
    completion_body,
    sampling_fields,
)

JSON = {"Content-Type": "application/json"}
FIRST_RETRY_DELAY = 0.25  # seconds; doubles with each attempt
UNKNOWN_PATH_STATUSES = (404, 405, 501)
MODELS_TIMEOUT = 10.0  # seconds
MAX_RETRY_DELAY = 30.0  # seconds, whatever a server asks for


class OpenAIBackend:
    """Any server with OpenAI's chat completions, such as vLLM, SGLang or `step3vl serve`.

    A prompt to continue as is goes to the server's `/completions`, which tokenizes it by its own rules.

    All n rollouts are one request, so that an image is sent once. From a server that returns fewer choices, or refuses
    n above 1, the missing rollouts are requested singly from then on. Connections are kept and shared.
    """

    def __init__(
        self,
        url: str,
        model: str | None = None,
        *,
        api_key: str | None = None,
        context: int | None = None,
        timeout: float = 600.0,
        deadline: float | None = None,
        retries: int = 5,
        connections: int = 1024,
        extra: Mapping[str, Any] | None = None,
    ):
        """Create a backend; nothing is sent yet.

        Args:
            url: The server's address, with or without `/v1` and `/chat/completions`.
            model: The model's name; by default the first that the server lists.
            api_key: Sent as a bearer token.
            context: Tokens that a prompt and its reply may have; by default what the server reports.
            timeout: Longest silence, in seconds.
            deadline: Longest time for one request with its retries, in seconds.
            retries: How often a request is repeated on 408, 425, 429, 5xx, silence and lost connections, as long as
                nothing of the reply has arrived.
            connections: Most connections that are open at a time.
            extra: More fields of the request body.

        Raises:
            UserError: `url` is no HTTP address.
        """
        try:
            if (address := httpx.URL(url)).scheme not in ("http", "https") or not address.host:
                raise httpx.InvalidURL("no http:// or https:// and host")
        except httpx.InvalidURL as error:
            raise UserError(f"{url}: {error}; give a server's address such as http://localhost:8000/v1") from None
        root = url.rstrip("/").removesuffix("/chat/completions")
        self.url = root if root.endswith("/v1") else f"{root}/v1"
        self.name = model or ""
        self.context = context
        self.deadline = deadline
        self.retries = retries
        self.extra = dict(extra or {})
        self._urls = DataUrlCache()
        self._supports_n = True  # whether the server returns n choices for one request
        self._has_tokenize = True  # whether the server has /tokenize
        self._model_resolved = bool(model) and context is not None
        self._resolving = asyncio.Lock()
        self._http = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {api_key}"} if api_key else None,
            timeout=httpx.Timeout(timeout, connect=min(timeout, 10.0), pool=None),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def tokenize(self, request: Request) -> list[int] | None:
        """Return the ids by the server's `/tokenize`, without those of images; None where it has no such endpoint."""
        if request.token_ids is not None:
            return list(request.token_ids)
        await self.resolve_model()
        if not self._has_tokenize:
            return None
        text_only = [message.model_copy(update={"content": _texts(message)}) for message in request.messages]
        body: dict[str, Any] = {"model": self.name}
        if request.text is not None:
            body["prompt"] = request.text
        else:
            body |= {"messages": chat_messages(text_only), "add_generation_prompt": True}
        if request.tools:
            body["tools"] = list(request.tools)
        try:
            reply = await self._http.post(f"{self.url.removesuffix('/v1')}/tokenize", json=body)
            ids = list(reply.json()["tokens"]) if reply.is_success else None
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            ids = None
        self._has_tokenize = ids is not None
        return ids

    def stream(self, request: Request, sampling: Sampling, n: int = 1) -> DeltaStream:
        deltas = DeltaStream(n)
        return deltas.bind(self._stream(request, sampling, n, deltas))

    @asynccontextmanager
    async def forward(self, path: str, body: Mapping[str, Any]) -> AsyncIterator[httpx.Response]:
        """Send a body unchanged and yield the server's response, whatever its status, as it begins.

        Retried like `stream`; the last refusal is yielded. See `RemoteBackend.forward`.
        """
        end = None if self.deadline is None else asyncio.get_running_loop().time() + self.deadline
        data = json.dumps({**self.extra, **body}, ensure_ascii=False, separators=(",", ":")).encode()
        response = await self._post_with_retries(self.url.removesuffix("/v1") + path, data, end)
        try:
            with self._transport_errors():
                yield response
        finally:
            await response.aclose()

    async def _post_with_retries(self, url: str, body: bytes, end: float | None) -> httpx.Response:
        """Return a response with its content still to be read, or the last refusal with its content."""
        for attempt in count(1):
            try:
                response = await self._post(url, body, end)
                if response.is_success:
                    return response
                with self._transport_errors():
                    await response.aread()
                delay = self._retry_delay(self._status_error(response), attempt, end)
                if delay is None:
                    return response
            except BackendError as error:
                delay = self._retry_delay(error, attempt, end)
                if delay is None:
                    raise
            await asyncio.sleep(delay)
        raise AssertionError("unreachable")

    async def models(self) -> list[dict[str, Any]]:
        try:
            with self._transport_errors():
                reply = await self._http.get(f"{self.url}/models", timeout=MODELS_TIMEOUT)
                return [entry for entry in reply.json()["data"] if isinstance(entry["id"], str)]
        except (BackendError, LookupError, TypeError):
            return []

    async def _stream(
        self, request: Request, sampling: Sampling, n: int, deltas: DeltaStream
    ) -> AsyncGenerator[Delta, None]:
        await self.resolve_model()
        end = None if self.deadline is None else asyncio.get_running_loop().time() + self.deadline
        missing = set(range(n))
        refused: BackendError | None = None
        if request.images and not request.messages:
            raise BackendError(f"{self.url} takes images in messages only", 400)
        if self._supports_n or n == 1:
            try:
                async with aclosing(self._ask(request, sampling, range(n), deltas, end)) as replies:
                    async for delta in replies:
                        missing.discard(delta.index)
                        yield delta
            except BackendError as error:
                if n == 1 or len(missing) < n or error.status not in (400, 422):
                    raise
                refused = error  # n may be what the server does not support
        remaining = sorted(missing)
        # After a refusal a single rollout shows whether n was the reason.
        for part in (remaining[:1], remaining[1:]) if refused else (remaining,):
            try:
                async with aclosing(self._ask_singly(request, sampling, part, deltas, end)) as replies:
                    async for delta in replies:
                        self._supports_n = False
                        yield delta
            except BackendError as error:
                raise (refused or error) from None
            refused = None

    async def _ask_singly(
        self, request: Request, sampling: Sampling, rollouts: Sequence[int], deltas: DeltaStream, end: float | None
    ) -> AsyncGenerator[Delta, None]:
        """Request each rollout singly, all concurrently. An error is raised when the others have ended."""
        inbox: asyncio.Queue[Delta | BackendError | None] = asyncio.Queue()

        async def ask(index: int) -> None:
            try:
                async with aclosing(self._ask(request, sampling, range(index, index + 1), deltas, end)) as replies:
                    async for delta in replies:
                        inbox.put_nowait(delta)
                inbox.put_nowait(None)
            except BackendError as error:
                inbox.put_nowait(error)

        tasks = [asyncio.create_task(ask(index)) for index in rollouts]
        failed: BackendError | None = None
        running = len(tasks)
        try:
            while running:
                item = await inbox.get()
                if isinstance(item, Delta):
                    yield item
                    continue
                running -= 1
                failed = failed or item
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if failed is not None:
            raise failed

    async def _ask(
        self, request: Request, sampling: Sampling, rollouts: range, deltas: DeltaStream, end: float | None
    ) -> AsyncGenerator[Delta, None]:
        """Send one HTTP request for these rollouts, and retry as long as nothing of the reply has arrived."""
        chat = bool(request.messages)
        fields = sampling_fields(sampling, len(rollouts), rollouts.start, chat)
        fields |= {"stream": True, "stream_options": {"include_usage": True}, **self.extra, **request.extra}
        if chat:
            path, body = "/chat/completions", chat_body(self.name, request, self._urls, fields)
        else:
            path, body = "/completions", completion_body(self.name, request, fields)
        for attempt in count(1):
            started = False
            try:
                async with aclosing(self._read(path, body, rollouts, deltas, end)) as reply:
                    async for delta in reply:
                        started = True
                        yield delta
                return
            except BackendError as error:
                delay = self._retry_delay(error, attempt, end)
                if started or delay is None:
                    raise
            await asyncio.sleep(delay)

    def _retry_delay(self, error: BackendError, attempt: int, end: float | None) -> float | None:
        """Return the seconds to wait before the next attempt, None when there is none."""
        backoff = FIRST_RETRY_DELAY * 2**attempt * random.random()
        delay = min(MAX_RETRY_DELAY, backoff if error.retry_after is None else error.retry_after)
        late = end is not None and asyncio.get_running_loop().time() + delay > end
        return None if late or not error.retryable or attempt > self.retries else delay

    async def _read(
        self, path: str, body: bytes, rollouts: range, deltas: DeltaStream, end: float | None
    ) -> AsyncGenerator[Delta, None]:
        choices = [ChoiceParser(index) for index in rollouts]
        usage: dict[str, Any] | None = None
        choice_count, done = 0, False
        response = await self._post(self.url + path, body, end)
        with self._transport_errors():
            try:
                if not response.is_success:
                    await response.aread()
                    if path == "/completions" and response.status_code in UNKNOWN_PATH_STATUSES:
                        raise BackendError(f"{self._status_error(response)}; it may know chat completions only", 501)
                    raise self._status_error(response)
                events, chunks = EventParser(), response.aiter_bytes()
                while True:
                    async with asyncio.timeout_at(end):
                        chunk = await anext(chunks, None)
                    if chunk is None:  # not at [DONE], so that the connection is read to its end and reused
                        break
                    for data in events.feed(chunk):
                        if data == b"[DONE]":
                            done = True
                            continue
                        event = json.loads(data)
                        if "error" in event:
                            raise self._stream_error(event["error"])
                        for chunk_choice in event.get("choices") or ():
                            choice = choices[chunk_choice.get("index", 0)]
                            choice_count = max(choice_count, choice.index + 1 - rollouts.start)
                            delta = choice.parse(chunk_choice)
                            deltas.tokens[choice.index] = choice.tokens
                            if delta is not None:
                                yield delta
                        usage = event.get("usage") or usage
            finally:
                await response.aclose()
        if usage is not None:
            request_usage = Usage.from_json(usage)
            if len(rollouts) == 1:
                deltas.tokens[rollouts.start] = request_usage.completion_tokens
            if deltas.usage is None:
                deltas.usage = request_usage
            else:
                deltas.usage += replace(request_usage, prompt_tokens=0)
        # A server that ignores n omits the other choices; they are requested afterwards.
        expected = choices[:choice_count] if choice_count and done else choices
        if not all(choice.finished for choice in expected):
            raise BackendError(f"{self.url}: the reply ended before it was finished", 502)

    async def _post(self, url: str, body: bytes, end: float | None) -> httpx.Response:
        with self._transport_errors():
            async with asyncio.timeout_at(end):
                request = self._http.build_request("POST", url, content=body, headers=JSON)
                return await self._http.send(request, stream=True)

    async def resolve_model(self) -> None:
        """Look up the model's name and context, once. If a server lists no models, the configured name is used."""
        if self._model_resolved:
            return
        async with self._resolving:
            if self._model_resolved:
                return
            try:
                with self._transport_errors():
                    reply = await self._http.get(f"{self.url}/models")
                    if not reply.is_success:
                        raise self._status_error(reply)
                    models = reply.json()["data"]
                    entry = next((model for model in models if model["id"] == self.name), models[0])
            except BackendError:
                if not self.name:
                    raise
                return
            except (LookupError, TypeError):
                if not self.name:
                    raise BackendError(f"{self.url}/models lists no models; name one", 502, retryable=False) from None
                self._model_resolved = True
                return
            self._model_resolved = True
            self.name = self.name or entry["id"]
            if entry["id"] == self.name and self.context is None:
                self.context = entry.get("max_model_len")

    @contextmanager
    def _transport_errors(self) -> Iterator[None]:
        try:
            yield
        except httpx.TimeoutException as error:
            raise BackendError(f"{self.url}: no answer in time ({type(error).__name__})", 504) from None
        except TimeoutError:
            raise BackendError(f"{self.url}: no answer within {self.deadline:g} s", 504, retryable=False) from None
        except httpx.TransportError as error:
            raise BackendError(f"{self.url}: {error or type(error).__name__}", 503) from None
        except json.JSONDecodeError as error:
            raise BackendError(f"{self.url}: the reply is not JSON: {error}", 502) from None

    def _status_error(self, response: httpx.Response) -> BackendError:
        details: dict[str, Any] | None = None
        try:
            body = response.json()
            message = body.get("error", body)
            if isinstance(message, dict):
                details = message
                message = message.get("message", message.get("detail", message))
        except (ValueError, AttributeError):
            message = response.text[:200] or response.reason_phrase
        retry_after = response.headers.get("retry-after", "")
        return BackendError(
            f"{self.url} answered {response.status_code}: {message}",
            response.status_code,
            retry_after=float(retry_after) if retry_after.isdecimal() else None,
            details=details,
        )

    def _stream_error(self, error: Any) -> BackendError:
        """Convert an error event within a stream."""
        details = error if isinstance(error, dict) else {"message": error}
        code = details.get("code")
        status = code if isinstance(code, int) and 400 <= code < 600 else 500
        return BackendError(f"{self.url} failed: {details.get('message')}", status)


def _texts(message: Message) -> tuple[Part, ...]:
    return tuple(part for part in message.content if isinstance(part, TextPart))
