"""OpenAI's wire format: requests to body bytes, streamed events to deltas.

Pure functions and parsers without I/O; `openai_backend.OpenAIBackend` does the HTTP.
"""

import base64
import io
import json
import secrets
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from PIL.Image import Image as PILImage

from step3vl.data.sample import Image, ImagePart, Message, ToolCall
from step3vl.data.tokens import tool_call_text
from step3vl.inference.client.requests import Delta, FinishReason, Request, TokenLogprob
from step3vl.inference.client.sampling import DEFAULT, Sampling

Json = dict[str, Any]
UNKNOWN_TOKEN = -1  # `TokenLogprob.token_id` where a server names tokens by their text alone
END_OF_REASONING = "\n</think>\n"
IMAGE_CACHE_BYTES = 256 * 2**20  # of encoded images kept between requests
_SLOT = f"image {secrets.token_hex(8)} "  # placeholder in the body for an image's bytes; no text can contain it


class DataUrlCache:
    """Data URLs of images as bytes of a JSON string, encoded once per distinct image.

    An encoded image keeps its bytes. A decoded image is written as PNG and keyed by its object identity while it
    lives, so it must not be modified between requests.
    """

    def __init__(self) -> None:
        self._urls: OrderedDict[str | int, bytes] = OrderedDict()
        self._references: dict[int, weakref.ref[PILImage]] = {}
        self._size = 0

    def url(self, image: PILImage | Image) -> bytes:
        """Return `"data:image/…;base64,…"` with its quotes."""
        key = image.sha256 if isinstance(image, Image) else id(image)
        if key in self._urls:
            self._urls.move_to_end(key)
            return self._urls[key]
        if isinstance(image, Image):
            format_, data = image.format, image.read()
        else:
            buffer = io.BytesIO()
            image.save(buffer, "PNG", compress_level=1)
            format_, data = "png", buffer.getvalue()
            self._references[id(image)] = weakref.ref(image, lambda _: self._forget(key))
        url = b'"data:image/%s;base64,%s"' % (format_.encode(), base64.b64encode(data))
        self._urls[key] = url
        self._size += len(url)
        while self._size > IMAGE_CACHE_BYTES and len(self._urls) > 1:
            self._forget(next(iter(self._urls)))
        return url

    def _forget(self, key: str | int) -> None:
        if isinstance(key, int):
            self._references.pop(key, None)
        self._size -= len(self._urls.pop(key, b""))


def chat_body(model: str, request: Request, urls: DataUrlCache, fields: Mapping[str, Any]) -> bytes:
    """Return the JSON body of a chat request. The images' data URLs bypass the JSON encoder."""
    body: Json = {"model": model, "messages": chat_messages(request.messages), **fields}
    if request.tools:
        body["tools"] = list(request.tools)
    first, *others = json.dumps(body, separators=(",", ":")).encode().split(f'"{_SLOT}'.encode())
    chunks = [first]
    for other in others:
        index, rest = other.split(b'"', 1)
        chunks += [urls.url(request.images[int(index)]), rest]
    return b"".join(chunks)


def completion_body(model: str, request: Request, fields: Mapping[str, Any]) -> bytes:
    """Return the JSON body of a request to continue a prompt as is."""
    prompt = list(request.token_ids or ()) if request.text is None else request.text
    return json.dumps({"model": model, "prompt": prompt, **fields}, separators=(",", ":")).encode()


def sampling_fields(sampling: Sampling, n: int, index: int, chat: bool) -> Json:
    """Return sampling settings as OpenAI's fields. What is off is omitted, because many servers refuse unknown fields.

    Args:
        sampling: The settings.
        n: Rollouts of the request.
        index: Number of the first rollout; rollouts that are requested singly get distinct seeds by it.
        chat: Whether the request is a chat, whose `logprobs` fields differ from those of a completion.
    """
    fields: Json = {
        "n": n,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_new_tokens,
    }
    if sampling.seed is not None:
        fields["seed"] = sampling.seed + (index << 20)
    names = ("top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty")
    fields |= {name: value for name in names if (value := getattr(sampling, name)) != getattr(DEFAULT, name)}
    if sampling.logit_bias:
        fields["logit_bias"] = {str(token): bias for token, bias in sampling.logit_bias.items()}
    if sampling.min_new_tokens:
        fields["min_tokens"] = sampling.min_new_tokens
    if sampling.ignore_eos:
        fields["ignore_eos"] = True
    if sampling.stop:
        fields["stop"] = list(sampling.stop)
    if sampling.stop_token_ids:
        fields["stop_token_ids"] = list(sampling.stop_token_ids)
    if sampling.logprobs is not None:
        fields |= {"logprobs": True, "top_logprobs": sampling.logprobs} if chat else {"logprobs": sampling.logprobs}
    return fields


def chat_messages(messages: Sequence[Message]) -> list[Json]:
    """Return messages in OpenAI's format, with a placeholder for each image's bytes.

    Tool calls get ids by their position, and the tool messages after them refer to these in order.
    """
    converted: list[Json] = []
    call_ids: list[str] = []
    for number, message in enumerate(messages):
        turn: Json = {"role": message.role, "content": _content(message)}
        if message.name is not None:
            turn["name"] = message.name
        if message.reasoning_content:
            turn["reasoning_content"] = message.reasoning_content
        if message.tool_calls:
            call_ids = [f"call_{number}_{index}" for index in range(len(message.tool_calls))]
            turn["tool_calls"] = [
                {
                    "id": id_,
                    "type": "function",
                    "function": {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)},
                }
                for id_, call in zip(call_ids, message.tool_calls, strict=True)
            ]
        if message.role == "tool":
            turn["tool_call_id"] = call_ids.pop(0) if call_ids else f"call_{number}"
        converted.append(turn)
    return converted


def _content(message: Message) -> str | list[Json]:
    if not any(isinstance(part, ImagePart) for part in message.content):
        return "".join(part.text for part in message.content if not isinstance(part, ImagePart))
    return [
        {"type": "image_url", "image_url": {"url": f"{_SLOT}{part.image}"}}
        if isinstance(part, ImagePart)
        else {"type": "text", "text": part.text}
        for part in message.content
    ]


class EventParser:
    """Server-sent events from bytes as they arrive: the `data` of each, without comments and other fields."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Add bytes and yield the data of the events that are complete."""
        *lines, self._rest = (self._rest + data).replace(b"\r\n", b"\n").split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip()


class ChoiceParser:
    """One choice of a streamed reply. Reasoning that comes apart from the answer is joined to it again.

    Servers send reasoning as `reasoning_content` or as `reasoning`, or leave it in the content where they run no
    reasoning parser; the text of the deltas is in each case what the model wrote.
    """

    def __init__(self, index: int):
        self.index = index
        self.finished = False
        self.tokens: int | None = None
        self._reasoning = False  # within reasoning that has not ended
        self._calls: dict[int, list[str]] = {}  # number -> [name, arguments]

    def parse(self, choice: Mapping[str, Any]) -> Delta | None:
        """Return the delta of one chunk's choice; None when it adds nothing."""
        delta = choice.get("delta") or {}
        text = delta.get("reasoning_content") or delta.get("reasoning") or ""
        self._reasoning = self._reasoning or bool(text)
        content = delta.get("content") or choice.get("text") or ""
        for call in delta.get("tool_calls") or ():
            parts = self._calls.setdefault(call.get("index", len(self._calls)), ["", ""])
            function = call.get("function") or {}
            parts[0] += function.get("name") or ""
            parts[1] += function.get("arguments") or ""
        finish = _finish(choice.get("finish_reason"))
        if finish is not None and self._calls:
            content += _calls_text(self._calls.values())
        if content and self._reasoning:
            text, self._reasoning = text + END_OF_REASONING, False
        text += content
        logprobs = _logprobs(choice.get("logprobs"))
        token_ids = list(choice.get("token_ids") or ())
        if token_ids or logprobs:
            self.tokens = (self.tokens or 0) + max(len(token_ids), len(logprobs or ()))
        if not text and finish is None and not token_ids and not logprobs:
            return None
        self.finished = finish is not None
        return Delta(self.index, text, token_ids, logprobs, finish)


def _finish(reason: str | None) -> FinishReason | None:
    if reason is None:
        return None
    return "length" if reason == "length" else "stop"


def _calls_text(calls: Iterable[Sequence[str]]) -> str:
    """Return calls that a server has parsed as the model wrote them. Invalid arguments are kept verbatim."""
    bodies = []
    for name, arguments in calls:
        try:
            bodies.append(tool_call_text(ToolCall.model_validate({"name": name, "arguments": arguments or "{}"})))
        except ValueError:
            bodies.append(f'\n{{"name": "{name}", "arguments": {arguments}}}\n')
    return "\n<tool_calls>" + "".join(f"\n<tool_call>{body}</tool_call>" for body in bodies) + "\n</tool_calls>"


def _likeliest(top: Mapping[str, float]) -> tuple[tuple[int, str, float], ...]:
    ordered = sorted(top.items(), key=lambda pair: -pair[1])
    return tuple((UNKNOWN_TOKEN, text, logprob) for text, logprob in ordered)


def _logprobs(logprobs: Mapping[str, Any] | None) -> list[TokenLogprob] | None:
    if logprobs and logprobs.get("tokens"):  # the columns of the completions endpoint
        columns = (
            logprobs["tokens"],
            logprobs["token_logprobs"],
            logprobs.get("top_logprobs") or [None] * len(logprobs["tokens"]),
        )
        return [
            TokenLogprob(UNKNOWN_TOKEN, text, logprob, _likeliest(top or {}))
            for text, logprob, top in zip(*columns, strict=True)
        ]
    if not logprobs or not logprobs.get("content"):
        return None
    return [
        TokenLogprob(
            token_id=UNKNOWN_TOKEN,
            text=token["token"],
            logprob=token["logprob"],
            top=tuple((UNKNOWN_TOKEN, other["token"], other["logprob"]) for other in token.get("top_logprobs") or ()),
        )
        for token in logprobs["content"]
    ]
