"""OpenAI's completions on the wire: a request as the body's bytes, a reply's events as deltas.

Pure functions and small parsers without any I/O; `openai_backend.OpenAIBackend` moves the bytes.
"""

import base64
import io
import json
import secrets
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from PIL.Image import Image as Picture

from step3vl.data.sample import Image, ImagePart, Message, ToolCall
from step3vl.data.template import tool_call_text
from step3vl.inference.jobs import Delta, FinishReason, Request, TokenLogprob
from step3vl.inference.sampling import DEFAULT, Sampling

Json = dict[str, Any]
UNKNOWN_TOKEN = -1  # `TokenLogprob.token_id` where a server names tokens by their text alone
END_OF_THOUGHT = "\n</think>\n"
PICTURE_BYTES = 256 * 2**20  # encoded pictures that are remembered between requests
_SLOT = f"picture {secrets.token_hex(8)} "  # stands in the body for a picture's bytes; nobody's text can hold it


class Pictures:
    """Data URLs of pictures as the bytes of a JSON string, made once for each distinct picture.

    A picture file keeps its bytes. A decoded picture is written as PNG, which loses nothing, and is known by its
    identity as long as it lives, so it must not be changed between requests.
    """

    def __init__(self) -> None:
        self._urls: OrderedDict[str | int, bytes] = OrderedDict()
        self._alive: dict[int, weakref.ref[Picture]] = {}
        self._size = 0

    def url(self, picture: Picture | Image) -> bytes:
        """`"data:image/…;base64,…"` with its quotes."""
        key = picture.sha256 if isinstance(picture, Image) else id(picture)
        if key in self._urls:
            self._urls.move_to_end(key)
            return self._urls[key]
        if isinstance(picture, Image):
            kind, data = picture.format, picture.read()
        else:
            buffer = io.BytesIO()
            picture.save(buffer, "PNG", compress_level=1)
            kind, data = "png", buffer.getvalue()
            self._alive[id(picture)] = weakref.ref(picture, lambda _: self._forget(key))
        url = b'"data:image/%s;base64,%s"' % (kind.encode(), base64.b64encode(data))
        self._urls[key] = url
        self._size += len(url)
        while self._size > PICTURE_BYTES and len(self._urls) > 1:
            self._forget(next(iter(self._urls)))
        return url

    def _forget(self, key: str | int) -> None:
        if isinstance(key, int):
            self._alive.pop(key, None)
        self._size -= len(self._urls.pop(key, b""))


def chat_body(model: str, request: Request, pictures: Pictures, fields: Mapping[str, Any]) -> bytes:
    """The JSON body of a chat request. Pictures' bytes are put in as they are, past the JSON encoder."""
    body: Json = {"model": model, "messages": chat_messages(request.messages), **fields}
    if request.tools:
        body["tools"] = list(request.tools)
    first, *others = json.dumps(body, separators=(",", ":")).encode().split(f'"{_SLOT}'.encode())
    chunks = [first]
    for other in others:
        index, rest = other.split(b'"', 1)
        chunks += [pictures.url(request.images[int(index)]), rest]
    return b"".join(chunks)


def completion_body(model: str, request: Request, fields: Mapping[str, Any]) -> bytes:
    """The JSON body of a request to continue a prompt as it stands."""
    prompt = list(request.token_ids or ()) if request.text is None else request.text
    return json.dumps({"model": model, "prompt": prompt, **fields}, separators=(",", ":")).encode()


def sampling_fields(sampling: Sampling, n: int, index: int, chat: bool) -> Json:
    """Sampling in OpenAI's words. What is off is left out, because many servers refuse fields that they do not know.

    `index` is the first rollout's number, so that rollouts which are asked for one by one draw from their own seeds.
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
    if sampling.stop:
        fields["stop"] = list(sampling.stop)
    if sampling.logprobs is not None:
        fields |= {"logprobs": True, "top_logprobs": sampling.logprobs} if chat else {"logprobs": sampling.logprobs}
    return fields


def chat_messages(messages: Sequence[Message]) -> list[Json]:
    """Messages in OpenAI's shape, with a slot where a picture's bytes belong.

    Calls of tools get ids by their place, and the tool turns after them name these in order.
    """
    shaped: list[Json] = []
    waiting: list[str] = []
    for number, message in enumerate(messages):
        turn: Json = {"role": message.role, "content": _content(message)}
        if message.name is not None:
            turn["name"] = message.name
        if message.reasoning_content:
            turn["reasoning_content"] = message.reasoning_content
        if message.tool_calls:
            waiting = [f"call_{number}_{place}" for place in range(len(message.tool_calls))]
            turn["tool_calls"] = [
                {
                    "id": id_,
                    "type": "function",
                    "function": {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)},
                }
                for id_, call in zip(waiting, message.tool_calls, strict=True)
            ]
        if message.role == "tool":
            turn["tool_call_id"] = waiting.pop(0) if waiting else f"call_{number}"
        shaped.append(turn)
    return shaped


def _content(message: Message) -> str | list[Json]:
    if not any(isinstance(part, ImagePart) for part in message.content):
        return "".join(part.text for part in message.content if not isinstance(part, ImagePart))
    return [
        {"type": "image_url", "image_url": {"url": f"{_SLOT}{part.image}"}}
        if isinstance(part, ImagePart)
        else {"type": "text", "text": part.text}
        for part in message.content
    ]


class Events:
    """Server-sent events out of bytes as they come: the `data` of each, without comments and other fields."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        *lines, self._rest = (self._rest + data).replace(b"\r\n", b"\n").split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip()


class Choice:
    """One rollout of a streamed reply. The thought comes apart from the answer and is joined to it again.

    Servers send the thought as `reasoning_content` or as `reasoning`, or leave it in the content where no parser of
    thoughts runs; the text of the deltas is in each case what the model said.
    """

    def __init__(self, index: int):
        self.index = index
        self.finished = False
        self.tokens: int | None = None
        self._thought = False  # a thought has been given whose end has not
        self._calls: dict[int, list[str]] = {}  # number -> [name, arguments]

    def take(self, choice: Mapping[str, Any]) -> Delta | None:
        """The delta of one chunk's choice; None when it adds nothing."""
        delta = choice.get("delta") or {}
        text = delta.get("reasoning_content") or delta.get("reasoning") or ""
        self._thought = self._thought or bool(text)
        content = delta.get("content") or choice.get("text") or ""
        for call in delta.get("tool_calls") or ():
            known = self._calls.setdefault(call.get("index", len(self._calls)), ["", ""])
            function = call.get("function") or {}
            known[0] += function.get("name") or ""
            known[1] += function.get("arguments") or ""
        finish = _finish(choice.get("finish_reason"))
        if finish is not None and self._calls:
            content += _calls_text(self._calls.values())
        if content and self._thought:
            text, self._thought = text + END_OF_THOUGHT, False
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
    """Calls that a server has parsed, as the model wrote them. Arguments that are no JSON object stay as they are."""
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


def _logprobs(given: Mapping[str, Any] | None) -> list[TokenLogprob] | None:
    if given and given.get("tokens"):  # the older endpoint's columns
        columns = (
            given["tokens"],
            given["token_logprobs"],
            given.get("top_logprobs") or [None] * len(given["tokens"]),
        )
        return [
            TokenLogprob(UNKNOWN_TOKEN, text, logprob, _likeliest(top or {}))
            for text, logprob, top in zip(*columns, strict=True)
        ]
    if not given or not given.get("content"):
        return None
    return [
        TokenLogprob(
            token_id=UNKNOWN_TOKEN,
            text=token["token"],
            logprob=token["logprob"],
            top=tuple((UNKNOWN_TOKEN, other["token"], other["logprob"]) for other in token.get("top_logprobs") or ()),
        )
        for token in given["content"]
    ]
