"""The gateway's plain requests: handed to the server behind it as they are, and its responses handed back.

The gateway owns the field `model`, its own limits and the images' URLs, which it checks and resolves itself; every
other field, known or not, is the server's business. What the client gets is what that server would have sent it.
"""

import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import httpx
from starlette.responses import Response

from step3vl.inference.client import BackendError, RemoteBackend, Usage
from step3vl.inference.server.chat_messages import ImageUrl
from step3vl.inference.server.config import ServerConfig
from step3vl.inference.server.errors import ApiError
from step3vl.inference.server.generation import AdmittedResponse, EventWriter
from step3vl.inference.server.request_images import RequestImageLoader, to_data_url
from step3vl.inference.server.responses import Json, UsageCounter, encode_json

PASSED_HEADERS = ("content-type", "retry-after")
TOKEN_LIMITS = ("max_tokens", "max_completion_tokens")
DONE = b"[DONE]"


class Target(NamedTuple):
    """Where a request goes: a server, a path on it, and its own name for the model."""

    backend: RemoteBackend
    path: str
    model: str


class ForwardedResponse(AdmittedResponse):
    """The response of the server behind a gateway.

    Args:
        target: Where the request goes.
        fields: The client's request.
        images: Checks and fetches the images that it names.
        config: The gateway's limits.
        options: As for `AdmittedResponse`.
    """

    def __init__(
        self,
        target: Target,
        fields: Mapping[str, Any],
        images: RequestImageLoader,
        config: ServerConfig,
        **options: Any,
    ):
        super().__init__(**options)
        self.target = target
        self.fields = fields
        self.images = images
        self.config = config

    async def generate(self, writer: EventWriter) -> Response | None:
        admitted = time.perf_counter()
        body = await self._resolve_images({**self.fields, "model": self.target.model})
        for name in TOKEN_LIMITS:
            if isinstance(body.get(name), int):
                body[name] = min(body[name], self.config.max_tokens)
        async with self.target.backend.forward(self.target.path, body) as response:
            if response.is_success and response.headers.get("content-type", "").startswith("text/event-stream"):
                await self.write_chunks(self._events(response), writer, admitted)
                await writer.end(b"")
                return None
            return self._whole(response, await response.aread())

    async def _resolve_images(self, body: Json) -> Json:
        """The body with the images of other URLs as data URLs; those of data URLs are checked and stay as they are."""
        copies = [_copy_message(message) for message in _messages(body)]
        urls = [url for message in copies for url in _media_urls(message)]
        loaded = await self.images.load([ImageUrl(url=url.value) for url in urls])
        for url, image in zip(urls, loaded, strict=True):
            if not url.value.lower().startswith("data:"):
                url.replace(to_data_url(image))
        return {**body, "messages": copies} if urls else body

    async def _events(self, response: httpx.Response) -> AsyncIterator[bytes]:
        """The server's events, each complete, so that a comment can come between two."""
        held, done = b"", False
        async for data in response.aiter_bytes():
            *events, held = (held + data).replace(b"\r\n", b"\n").split(b"\n\n")
            if events:
                done = done or any(event.endswith(DONE) for event in events)
                yield b"".join(self._renamed_event(event) + b"\n\n" for event in events)
        if held.strip():
            done = done or held.strip().endswith(DONE)
            yield self._renamed_event(held.rstrip()) + b"\n\n"
        if not done:
            raise BackendError("the model server's reply ended before it was finished", 502)

    def _renamed_event(self, event: bytes) -> bytes:
        """An event with the client's name for the model; its usage is counted."""
        if not event.startswith(b"data:") or (self.model == self.target.model and b'"usage"' not in event):
            return event
        with suppress(ValueError, AttributeError):
            data = json.loads(event[len(b"data:") :])
            if not data.get("choices"):
                self._count(data)
            if self._rename(data):
                return b"data: " + encode_json(data)
        return event

    def _whole(self, response: httpx.Response, content: bytes) -> Response:
        """A complete response or a refusal.

        Raises:
            ApiError: 503 where the server refuses the gateway's own key.
        """
        if response.status_code in (401, 403):
            message = f"the model server refuses this gateway with status {response.status_code}"
            raise ApiError(503, message, code="backend_unavailable")
        with suppress(ValueError):
            data = json.loads(content)
            self._count(data)
            if self._rename(data):
                content = encode_json(data)
        headers = {name: response.headers[name] for name in PASSED_HEADERS if name in response.headers}
        return Response(content, response.status_code, headers)

    def _rename(self, data: Any) -> bool:
        if not isinstance(data, dict) or data.get("model") != self.target.model or self.model == self.target.model:
            return False
        data["model"] = self.model
        return True

    def _count(self, data: Any) -> None:
        usage = data.get("usage") if isinstance(data, dict) else None
        if isinstance(usage, dict):
            counter = UsageCounter()
            counter.replace_by(Usage.from_json(usage))
            self.count_tokens(counter)


class MediaUrl(NamedTuple):
    """A URL in a message, and the object and key that hold it."""

    holder: dict[str, Any]
    key: str

    @property
    def value(self) -> str:
        return self.holder[self.key]

    def replace(self, url: str) -> None:
        self.holder[self.key] = url


def _messages(body: Mapping[str, Any]) -> list[Any]:
    messages = body.get("messages")
    return messages if isinstance(messages, list) else []


def _copy_message(message: Any) -> Any:
    """A copy deep enough to replace the URLs in it."""
    if not isinstance(message, dict) or not isinstance(message.get("content"), list):
        return message
    parts = [
        {key: dict(value) if isinstance(value, dict) else value for key, value in part.items()}
        if isinstance(part, dict)
        else part
        for part in message["content"]
    ]
    return {**message, "content": parts}


def _media_urls(message: Any) -> Iterator[MediaUrl]:
    """The images' URLs of a message.

    Raises:
        ApiError: 400 for a URL of another medium that the server behind the gateway would fetch.
    """
    content = message.get("content") if isinstance(message, dict) else None
    for part in content if isinstance(content, list) else ():
        for key, value in part.items() if isinstance(part, dict) else ():
            url = MediaUrl(value, "url") if isinstance(value, dict) else MediaUrl(part, key)
            if not key.endswith("_url") or not isinstance(url.holder.get(url.key), str):
                continue
            if key == "image_url":
                yield url
            elif not url.value.lower().startswith("data:"):
                raise ApiError(400, f"{key[:50]}: this gateway fetches images only; send a data URL", param="messages")
