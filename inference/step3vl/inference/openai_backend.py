"""A backend over HTTP: pooled connections, streamed replies, and another attempt where one may help."""

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import replace
from typing import Any

import httpx

from step3vl.data.errors import UserError
from step3vl.data.sample import Message, Part, TextPart
from step3vl.inference.backend import BackendError, Deltas, Usage
from step3vl.inference.jobs import Delta, Request
from step3vl.inference.sampling import Sampling
from step3vl.inference.wire import (
    Choice,
    Events,
    Pictures,
    chat_body,
    chat_messages,
    completion_body,
    sampling_fields,
)

JSON = {"Content-Type": "application/json"}
FIRST_WAIT = 0.25  # seconds; doubles with each attempt
UNKNOWN_PATH = (404, 405, 501)
LONGEST_WAIT = 30.0  # seconds between two attempts, whatever a server asks for


class OpenAIBackend:
    """Any server that speaks OpenAI's chat completions, such as vLLM, SGLang or `step3vl serve`.

    A prompt that is continued as it stands goes to the server's /completions, which reads it with its own rules.

    All n rollouts are asked for in one request, so that a picture travels once; of a server that answers with fewer,
    or refuses n above 1, the others are asked for one by one from then on. Connections are kept and shared.
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
        """`url` ends before `/chat/completions`; a missing `/v1` is added. Without `model` the server's first is used.

        `timeout` is the longest silence in seconds, `deadline` the longest time for one request, attempts included.
        A request is tried again on 408, 425, 429, 5xx, silence and lost connections, as long as nothing of the answer
        has come. `extra` are fields of the body that this class does not know.
        """
        try:
            if (place := httpx.URL(url)).scheme not in ("http", "https") or not place.host:
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
        self._pictures = Pictures()
        self._together = True  # whether the server gives n rollouts in one request
        self._tokenizes = True  # whether the server has /tokenize
        self._learned = bool(model) and context is not None
        self._learning = asyncio.Lock()
        self._http = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {api_key}"} if api_key else None,
            timeout=httpx.Timeout(timeout, connect=min(timeout, 10.0), pool=None),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def tokenize(self, request: Request) -> list[int] | None:
        """By the server's `/tokenize`, without pictures' tokens, or None where it has none."""
        if request.token_ids is not None:
            return list(request.token_ids)
        await self._learn()
        if not self._tokenizes:
            return None
        plain = [message.model_copy(update={"content": _texts(message)}) for message in request.messages]
        body: dict[str, Any] = {"model": self.name}
        if request.text is not None:
            body["prompt"] = request.text
        else:
            body |= {"messages": chat_messages(plain), "add_generation_prompt": True}
        if request.tools:
            body["tools"] = list(request.tools)
        try:
            reply = await self._http.post(f"{self.url.removesuffix('/v1')}/tokenize", json=body)
            ids = list(reply.json()["tokens"]) if reply.is_success else None
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            ids = None
        self._tokenizes = ids is not None
        return ids

    def stream(self, request: Request, sampling: Sampling, n: int = 1) -> Deltas:
        deltas = Deltas(n)
        return deltas.over(self._stream(request, sampling, n, deltas))

    async def _stream(
        self, request: Request, sampling: Sampling, n: int, deltas: Deltas
    ) -> AsyncGenerator[Delta, None]:
        await self._learn()
        end = None if self.deadline is None else asyncio.get_running_loop().time() + self.deadline
        missing = set(range(n))
        refused: BackendError | None = None
        if request.images and not request.messages:
            raise BackendError(f"{self.url} takes pictures in messages only", 400)
        if self._together or n == 1:
            try:
                async with aclosing(self._ask(request, sampling, range(n), deltas, end)) as asked:
                    async for delta in asked:
                        missing.discard(delta.index)
                        yield delta
            except BackendError as error:
                if n == 1 or len(missing) < n or error.status not in (400, 422):
                    raise
                refused = error  # it may be n that the server does not take
        rest = sorted(missing)
        # After a refusal one alone shows whether it was n that the server did not take.
        for part in (rest[:1], rest[1:]) if refused else (rest,):
            try:
                async with aclosing(self._ask_singly(request, sampling, part, deltas, end)) as asked:
                    async for delta in asked:
                        self._together = False
                        yield delta
            except BackendError as error:
                raise (refused or error) from None
            refused = None

    async def _ask_singly(
        self, request: Request, sampling: Sampling, rollouts: Sequence[int], deltas: Deltas, end: float | None
    ) -> AsyncGenerator[Delta, None]:
        """Each rollout in a request of its own, side by side. An error is raised when the others have ended."""
        inbox: asyncio.Queue[Delta | BackendError | None] = asyncio.Queue()

        async def one(index: int) -> None:
            try:
                async with aclosing(self._ask(request, sampling, range(index, index + 1), deltas, end)) as asked:
                    async for delta in asked:
                        inbox.put_nowait(delta)
                inbox.put_nowait(None)
            except BackendError as error:
                inbox.put_nowait(error)

        tasks = [asyncio.create_task(one(index)) for index in rollouts]
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
        self, request: Request, sampling: Sampling, rollouts: range, deltas: Deltas, end: float | None
    ) -> AsyncGenerator[Delta, None]:
        """One HTTP request for these rollouts, tried again as long as nothing of the answer has come."""
        chat = bool(request.messages)
        fields = sampling_fields(sampling, len(rollouts), rollouts.start, chat)
        fields |= {"stream": True, "stream_options": {"include_usage": True}, **self.extra}
        if chat:
            path, body = "/chat/completions", chat_body(self.name, request, self._pictures, fields)
        else:
            path, body = "/completions", completion_body(self.name, request, fields)
        attempt = 0
        while True:
            begun = False
            try:
                async with aclosing(self._read(path, body, rollouts, deltas, end)) as read:
                    async for delta in read:
                        begun = True
                        yield delta
                return
            except BackendError as error:
                attempt += 1
                asked = error.retry_after
                wait = min(LONGEST_WAIT, FIRST_WAIT * 2**attempt * random.random() if asked is None else asked)
                late = end is not None and asyncio.get_running_loop().time() + wait > end
                if begun or late or not error.retryable or attempt > self.retries:
                    raise
            await asyncio.sleep(wait)

    async def _read(
        self, path: str, body: bytes, rollouts: range, deltas: Deltas, end: float | None
    ) -> AsyncGenerator[Delta, None]:
        choices = [Choice(index) for index in rollouts]
        usage: dict[str, Any] | None = None
        seen, done = 0, False
        with self._transport_errors():
            async with asyncio.timeout_at(end):
                response = await self._http.send(
                    self._http.build_request("POST", self.url + path, content=body, headers=JSON),
                    stream=True,
                )
            try:
                if not response.is_success:
                    await response.aread()
                    if path == "/completions" and response.status_code in UNKNOWN_PATH:
                        raise BackendError(f"{self._refused(response)}; it may know chat completions only", 501)
                    raise self._refused(response)
                events, chunks = Events(), response.aiter_bytes()
                while True:
                    async with asyncio.timeout_at(end):
                        chunk = await anext(chunks, None)
                    if chunk is None:  # not at [DONE], so that the connection is read to its end and used again
                        break
                    for data in events.feed(chunk):
                        if data == b"[DONE]":
                            done = True
                            continue
                        event = json.loads(data)
                        if "error" in event:
                            raise self._failed(event["error"])
                        for given in event.get("choices") or ():
                            choice = choices[given.get("index", 0)]
                            seen = max(seen, choice.index + 1 - rollouts.start)
                            delta = choice.take(given)
                            deltas.tokens[choice.index] = choice.tokens
                            if delta is not None:
                                yield delta
                        usage = event.get("usage") or usage
            finally:
                await response.aclose()
        if usage is not None:
            details = usage.get("completion_tokens_details") or {}
            used = Usage(
                usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0, details.get("reasoning_tokens")
            )
            if len(rollouts) == 1:
                deltas.tokens[rollouts.start] = used.completion_tokens
            deltas.usage = used if deltas.usage is None else deltas.usage + replace(used, prompt_tokens=0)
        # A server that knows no n leaves the other choices out; they are asked for afterwards.
        expected = choices[:seen] if seen and done else choices
        if not all(choice.finished for choice in expected):
            raise BackendError(f"{self.url}: the reply ended before it was finished", 502)

    async def _learn(self) -> None:
        """The model's name and context, once. A server that lists no models is asked by the name that was given."""
        if self._learned:
            return
        async with self._learning:
            if self._learned:
                return
            try:
                with self._transport_errors():
                    reply = await self._http.get(f"{self.url}/models")
                    if not reply.is_success:
                        raise self._refused(reply)
                    models = reply.json()["data"]
                    known = next((model for model in models if model["id"] == self.name), models[0])
            except BackendError:
                if not self.name:
                    raise
                return
            except (LookupError, TypeError):
                if not self.name:
                    raise BackendError(f"{self.url}/models lists no models; name one", 502, retryable=False) from None
                self._learned = True
                return
            self._learned = True
            self.name = self.name or known["id"]
            if known["id"] == self.name and self.context is None:
                self.context = known.get("max_model_len")

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

    def _refused(self, response: httpx.Response) -> BackendError:
        try:
            body = response.json()
            message = body.get("error", body)
            message = message.get("message", message.get("detail", message)) if isinstance(message, dict) else message
        except (ValueError, AttributeError):
            message = response.text[:200] or response.reason_phrase
        wait = response.headers.get("retry-after", "")
        return BackendError(
            f"{self.url} answered {response.status_code}: {message}",
            response.status_code,
            retry_after=float(wait) if wait.isdecimal() else None,
        )

    def _failed(self, error: Any) -> BackendError:
        """What a server says in the midst of a stream."""
        known = error if isinstance(error, dict) else {"message": error}
        code = known.get("code")
        status = code if isinstance(code, int) and 400 <= code < 600 else 500
        return BackendError(f"{self.url} failed: {known.get('message')}", status)


def _texts(message: Message) -> tuple[Part, ...]:
    return tuple(part for part in message.content if isinstance(part, TextPart))
