"""Requests to a server that speaks OpenAI's chat completions, each made once and then remembered.

A large model is neither loaded here nor deterministic. What makes a build reproducible is a cache of responses under a
URL of the user's, addressed by the content of the request: a rebuild asks the server nothing and writes the same
bytes, and of two workers that ask the same thing both use what the first of them stored.

Failures are of two kinds. What the request caused (a prompt that is too long, a response that is cut or no JSON) is a
`RequestFailed`, and the record's failure. What the server or the network caused is tried again with growing pauses, or
after the time that the server names, and then ends the step: the next build resumes.
"""

import base64
import email.utils
import hashlib
import io
import json
import os
import random
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple, Self

from PIL import Image as PILImage
from pydantic import Field, field_validator

from step3vl.data.config import Config
from step3vl.data.errors import InfrastructureError, UserError, describe_error
from step3vl.data.optional import require
from step3vl.data.sample import Image
from step3vl.data.storage import Store, is_url, store_of

CACHE_VERSION = 1  # of the files of the cache
_MAX_BODY = 8 * 2**20  # bytes of a response
_LONGEST_PAUSE = 60.0  # seconds between two attempts, unless the server asks for more
_LONGEST_RETRY_AFTER = 600.0  # seconds; a server that wants more is as good as gone
_RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_REFUSED = frozenset({401, 402, 403, 404, 405, 407})  # the configuration is wrong, whatever the record


class EndpointConfig(Config):
    """A server, the model on it, and how it is asked."""

    url: str
    """Base URL of the API, such as `http://10.0.0.5:8000/v1`."""
    model: str
    """The model's name on the server. It addresses the cache, where the URL does not: name another model otherwise."""
    cache: str
    """Folder (absolute) or URL of the responses, which every worker reaches. Keep it with the corpus."""
    api_key_env: str | None = None
    """Name of the environment variable with the API key, on every worker."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Further fields of the request, such as `{temperature: 0.7, top_p: 0.9, seed: 1}`."""
    max_tokens: int = Field(default=1024, gt=0)
    """Tokens of a response; one that reaches them is cut, and fails."""
    max_side: int | None = Field(default=None, gt=0)
    """Larger images are shrunk for the request, in pixels of the longer side."""
    concurrency: int = Field(default=8, gt=0, le=256)
    """Requests at a time of each worker; there are `models.workers` of them."""
    attempts: int = Field(default=6, gt=0)
    """Attempts at a request."""
    backoff: float = Field(default=1.0, ge=0)
    """Seconds before the second attempt; doubled for each further one, up to 60, with jitter."""
    timeout: float = Field(default=120.0, gt=0)
    """Seconds that an attempt may take in all, however slowly the response arrives."""
    price_in: float = Field(default=0.0, ge=0)
    """Of a million prompt tokens, in any currency."""
    price_out: float = Field(default=0.0, ge=0)
    """Of a million tokens of responses."""

    @field_validator("url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"{url!r} is no URL of a server; give its base, such as http://host:8000/v1")
        return url.rstrip("/")

    @field_validator("cache")
    @classmethod
    def _is_absolute(cls, cache: str) -> str:
        if not (is_url(cache) or cache.startswith("/")):
            raise ValueError(f"{cache!r} is relative, and workers may run anywhere; give an absolute folder or a URL")
        return cache.rstrip("/")

    @field_validator("options")
    @classmethod
    def _are_further(cls, options: dict[str, Any]) -> dict[str, Any]:
        if fixed := {"model", "messages", "max_tokens", "stream", "n"} & set(options):
            raise ValueError(f"options may not set {', '.join(sorted(fixed))}")
        return options

    def price(self, usage: "Usage") -> float:
        """What requests cost."""
        return (usage.prompt_tokens * self.price_in + usage.completion_tokens * self.price_out) / 1e6

    def bill(self, response: "Response") -> dict[str, Any]:
        """The fields of `Paid` for a response."""
        return {
            "model": response.model or self.model,
            "usage": response.usage,
            "price": round(self.price(response.usage), 9),
        }

    def store(self) -> tuple[Store, str]:
        """The store of the cache and the folder in it, as `use_store` says how."""
        return store_of(self.cache)


class Usage(Config):
    """Tokens of responses, whenever the server was asked for them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    def paid(self, price: float) -> dict[str, float]:
        """What a commit record says of them, and what `corpus cost` adds up: see the property `paid` of a value."""
        return {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.completion_tokens, "price": price}

    def __add__(self, other: Self) -> Self:
        return type(self)(
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
        )


class Paid(Config):
    """What a model on a server made of a record, with what it cost. Staged with the record."""

    model: str
    """As the server names it."""
    usage: Usage = Usage()
    price: float = Field(default=0.0, ge=0)
    """Of the request."""

    @property
    def paid(self) -> dict[str, float]:
        """Tokens and price, for `corpus cost`."""
        return self.usage.paid(self.price)


class Prompt(NamedTuple):
    """What a model is asked."""

    text: str
    images: tuple[Image, ...] = ()
    """Shown before the text."""
    system: str = ""


class Conversation(NamedTuple):
    """The turns before an answer, as the JSON of a shard has them; image parts are numbers of images."""

    messages: Sequence[Mapping[str, Any]]
    images: tuple[Image, ...] = ()


class Response(Config):
    """What a model answered."""

    text: str
    usage: Usage = Usage()
    model: str = ""
    """As the server names it."""
    cut: bool = Field(default=False, exclude_if=lambda value: not value)
    """Whether it ends at `max_tokens`."""


class _Outcome(Config):
    """A file of the cache. A failure is kept, too, so that a rebuild has the same dead letters; remove it to retry."""

    request: dict[str, Any]
    """With the hashes of images."""
    response: Response | None = None
    failed: str = ""


class RequestFailed(ValueError):
    """The server refuses this request, or its response is of no use. The record's failure."""


class _Retry(Exception):
    """An attempt failed; the next one may succeed.

    Attributes:
        reason: What is wrong.
        pause: Seconds that the server asks to wait.
        by_request: Whether the request itself may be the cause, should every attempt fail.
    """

    def __init__(self, reason: str, pause: float = 0.0, by_request: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.pause, self.by_request = reason, pause, by_request


class Endpoint:
    """A server behind its cache. Threads may share it.

    Args:
        config: The server.
        sleep: Waits between attempts.

    Raises:
        UserError: The environment lacks the API key.
    """

    def __init__(self, config: EndpointConfig, sleep: Any = time.sleep) -> None:
        httpx = require("httpx", "pipelines")
        self._config, self._sleep = config, sleep
        headers = {}
        if config.api_key_env is not None:
            key = os.environ.get(config.api_key_env)
            if not key:
                raise UserError(f"the environment variable {config.api_key_env} holds no API key for {config.url}")
            headers["Authorization"] = f"Bearer {key}"
        limits = httpx.Limits(max_connections=config.concurrency, max_keepalive_connections=config.concurrency)
        # No redirects, which would take the key elsewhere, and no proxies or keys of the environment.
        verify = config.url.startswith("https:")  # the certificates take a third of a second to load
        self._client = httpx.Client(
            headers=headers, timeout=config.timeout, limits=limits, trust_env=False, verify=verify
        )
        self._pool = ThreadPoolExecutor(config.concurrency, "endpoint")
        self._jitter = random.Random()
        self.requests = 0
        """Attempts of this process; none for what the cache holds."""

    def complete_all(self, prompts: Sequence[Prompt]) -> list[Response]:
        """The responses to prompts, several at a time; equal prompts are one request.

        Raises:
            RequestFailed: The first of the prompts that fails; the responses to all others are in the cache.
            InfrastructureError: The server does not answer, or refuses all requests.
        """
        keys = [(prompt.text, tuple(image.sha256 for image in prompt.images), prompt.system) for prompt in prompts]
        distinct = dict(zip(keys, prompts, strict=True))
        futures = {key: self._pool.submit(self.complete, prompt) for key, prompt in distinct.items()}
        for future in futures.values():
            with suppress(RequestFailed):  # not before the others are there: they would be asked again
                future.result()
        return [futures[key].result() for key in keys]

    def sample_all(self, conversation: Conversation, seeds: Sequence[int]) -> list[Response]:
        """Responses of the model, one for each seed, also those that are empty or cut. Raises as `complete`."""
        futures = [self._pool.submit(self._complete, conversation, seed) for seed in seeds]
        return [future.result() for future in futures]

    def complete(self, prompt: Prompt) -> Response:
        """The response to a prompt, from the cache or the server. Raises as `complete_all` does."""
        return self._complete(prompt)

    def _complete(self, prompt: Prompt | Conversation, seed: int | None = None) -> Response:
        """A response; with a seed whatever the model says, and else one that is of use."""
        messages, content = self._messages(prompt)
        fixed = {"model": self._config.model, "max_tokens": self._config.max_tokens, **self._config.options}
        if seed is not None:
            fixed["seed"] = seed
        request = {**fixed, "messages": content}
        # A response that is cut is one of these requests' outcomes and the other's failure.
        address = [CACHE_VERSION, request] if seed is None else [CACHE_VERSION, request, "as it is"]
        key = hashlib.sha256(json.dumps(address, sort_keys=True).encode()).hexdigest()
        store, folder = self._config.store()
        path = f"{folder}/{key[:2]}/{key}.json"
        outcome = _stored(store, path)
        if outcome is None:
            try:
                response = self._ask({**fixed, "messages": messages}, as_it_is=seed is not None)
                outcome = _Outcome(request=request, response=response)
            except RequestFailed as error:
                outcome = _Outcome(request=request, failed=str(error))
            if not store.create_new(path, outcome.model_dump_json(indent=1, exclude_none=True).encode()):
                outcome = _stored(store, path) or outcome
        if outcome.response is None:
            raise RequestFailed(outcome.failed)
        return outcome.response

    def _messages(self, prompt: Prompt | Conversation) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The messages as they are sent, and as they address the cache: with hashes in place of images."""
        sent, hashed = [], []
        for image in prompt.images:
            format, data = _encoded(image, self._config.max_side)
            url = f"data:image/{format};base64,{base64.b64encode(data).decode()}"
            sent.append({"type": "image_url", "image_url": {"url": url}})
            hashed.append({"type": "image", "sha256": hashlib.sha256(data).hexdigest()})
        if isinstance(prompt, Conversation):
            return _turns(prompt.messages, sent), _turns(prompt.messages, hashed)
        text = {"type": "text", "text": prompt.text}
        system = [{"role": "system", "content": prompt.system}] if prompt.system else []
        if not sent:  # servers of text models take no list of parts
            messages = [*system, {"role": "user", "content": prompt.text}]
            return messages, messages
        return (
            [*system, {"role": "user", "content": [*sent, text]}],
            [*system, {"role": "user", "content": [*hashed, text]}],
        )

    def _ask(self, body: dict[str, Any], as_it_is: bool) -> Response:
        """The server's response, after as many attempts as it takes.

        Args:
            body: Of the request.
            as_it_is: Whether a response is also one that is empty or cut.
        """
        config = self._config
        for attempt in range(config.attempts):
            try:
                return self._attempt(body, as_it_is)
            except _Retry as error:
                last = error
            if attempt + 1 < config.attempts:
                pause = min(config.backoff * 2**attempt, _LONGEST_PAUSE) * self._jitter.uniform(0.5, 1)
                self._sleep(max(pause, last.pause))
        if last.by_request and self._is_up():
            raise RequestFailed(f"{last.reason}, at each of {config.attempts} attempts")
        raise InfrastructureError(
            f"{config.url}: {last.reason}, at each of {config.attempts} attempts; start the server, or raise "
            "`attempts`, `backoff` or `timeout`"
        )

    def _attempt(self, body: dict[str, Any], as_it_is: bool) -> Response:
        config = self._config
        self.requests += 1
        status, headers, data = self._post(body)
        if status == 200:
            return _parse(data, as_it_is)
        reason = f"the server answers {status}: {_message(data)}"
        if status in _RETRIED:
            raise _Retry(reason, _retry_after(headers.get("Retry-After")), by_request=status == 500)
        if status in _REFUSED or 300 <= status < 400:
            raise InfrastructureError(
                f"{config.url}, model {config.model}: {reason}; correct `url`, `model` or the key"
            )
        raise RequestFailed(reason)

    def _post(self, body: dict[str, Any]) -> tuple[int, Any, bytes]:
        """Status, headers and body of a response. The time limit is for all of it, not for each packet."""
        import httpx

        deadline = time.monotonic() + self._config.timeout
        data = b""
        try:
            with self._client.stream("POST", f"{self._config.url}/chat/completions", json=body) as response:
                for chunk in response.iter_bytes():
                    data += chunk
                    if len(data) > _MAX_BODY:
                        raise _Retry(f"a response of more than {_MAX_BODY} bytes", by_request=True)
                    if time.monotonic() > deadline:
                        raise _Retry(f"no response within {self._config.timeout:g} s", by_request=True)
                return response.status_code, response.headers, data
        except httpx.TimeoutException as error:
            slow = not isinstance(error, httpx.ConnectTimeout)
            raise _Retry(f"no response within {self._config.timeout:g} s", by_request=slow) from None
        except httpx.RequestError as error:
            cut = isinstance(error, httpx.RemoteProtocolError | httpx.DecodingError)
            raise _Retry(f"the connection failed ({describe_error(error)})", by_request=cut) from None

    def _is_up(self) -> bool:
        """Whether the server answers at all, so that it is the request that it does not bear."""
        import httpx

        try:
            return (
                self._client.get(f"{self._config.url}/models", timeout=min(self._config.timeout, 10)).status_code < 500
            )
        except httpx.HTTPError:
            return False

    def close(self) -> None:
        """End the threads and the connections."""
        self._pool.shutdown(cancel_futures=True)
        self._client.close()


def open_endpoint(config: EndpointConfig) -> Endpoint:
    """The endpoint of a configuration, one in a process. Raises as `Endpoint` does."""
    return _opened(config.model_dump_json())


@cache
def _opened(config: str) -> Endpoint:
    return Endpoint(EndpointConfig.model_validate_json(config))


def _encoded(image: Image, max_side: int | None) -> tuple[str, bytes]:
    """Format and bytes of an image as it is sent: as it is, unless it is too large or of a format few servers read."""
    if image.format in ("jpeg", "png", "webp") and (max_side is None or max(image.width, image.height) <= max_side):
        return image.format, image.read()
    pixels = image.open()
    if max_side is not None:
        pixels.thumbnail((max_side, max_side), PILImage.Resampling.LANCZOS)
    buffer = io.BytesIO()
    pixels.save(buffer, "PNG")
    return "png", buffer.getvalue()


def _stored(store: Store, path: str) -> _Outcome | None:
    """What the cache holds; a damaged file is removed. Raises StoreError."""
    try:
        return _Outcome.model_validate_json(store.read_all(path))
    except FileNotFoundError:
        return None
    except ValueError:
        store.remove(path)
        return None


def _turns(messages: Sequence[Mapping[str, Any]], images: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A conversation in the format of the API, with what stands for its images. Turns without any are plain text."""
    turns = []
    for number, message in enumerate(messages):
        parts = [images[part["image"]] if part["type"] == "image" else part for part in message["content"]]
        plain = all(part["type"] == "text" for part in parts)
        turn = {"role": message["role"], "content": "".join(part["text"] for part in parts) if plain else parts}
        if reasoning := message.get("reasoning_content"):
            turn["reasoning_content"] = reasoning
        if message["role"] == "tool":
            turn["tool_call_id"] = f"call_{number}"
        turns.append(turn)
    return turns


def _parse(data: bytes, as_it_is: bool) -> Response:
    """The response in a body. What a server garbles, it may do right when it is asked again."""
    try:
        body = json.loads(data)
        (choice,) = body["choices"]
        text, ending = choice["message"]["content"], choice.get("finish_reason")
        if text is None and as_it_is:
            text = ""
        usage = body.get("usage") or {}
        counts = Usage(
            prompt_tokens=usage.get("prompt_tokens", 0), completion_tokens=usage.get("completion_tokens", 0)
        )
        if not isinstance(text, str):
            raise TypeError(f"its content is {type(text).__name__}")
        response = Response(text=text, usage=counts, model=str(body.get("model", "")), cut=ending == "length")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _Retry(f"a malformed response ({describe_error(error)})", by_request=True) from None
    if response.cut and not as_it_is:
        raise RequestFailed("the response was cut at max_tokens")
    if ending == "content_filter":
        raise RequestFailed("the server's content filter withheld the response")
    if not text.strip() and not as_it_is:
        raise _Retry("an empty response", by_request=True)
    return response


def _message(data: bytes) -> str:
    """The message of an error response, shortened."""
    try:
        error = json.loads(data)["error"]
        text = error["message"] if isinstance(error, dict) else error
    except (ValueError, KeyError, TypeError):
        text = data[:300].decode("utf-8", "replace")
    return " ".join(str(text).split())[:200]


def _retry_after(value: str | None) -> float:
    """Seconds of a `Retry-After` header, which gives seconds or a date; 0 without a sensible one."""
    if not value:
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError):
            return 0.0
    if not seconds <= _LONGEST_RETRY_AFTER:  # also for nan
        raise InfrastructureError(f"the server asks to wait {value} before the next request; run the build later")
    return max(seconds, 0.0)
