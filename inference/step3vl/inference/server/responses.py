"""OpenAI's response objects as plain dictionaries, and the count of tokens."""

import json
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from step3vl.data.sample import ToolCall
from step3vl.inference.client import TokenLogprob, Usage

MIN_LOGPROB = -9999.0  # what OpenAI writes for a log-probability of minus infinity, which JSON cannot hold
Json = dict[str, Any]
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode  # created once: there is an event a token


@dataclass
class UsageCounter:
    """The tokens of a request. The prompt counts once, however many choices share it."""

    prompt: int = 0
    completion: int = 0
    reasoning: int = 0
    rounds: list[Json] = field(default_factory=list)
    """One account for each round of PaCoRe."""

    def replace_by(self, usage: Usage | None) -> None:
        """Take the backend's own count where there is one; `reasoning` stays where it does not count that."""
        if usage is not None:
            self.prompt, self.completion = usage.prompt_tokens, usage.completion_tokens
            if usage.reasoning_tokens is not None:
                self.reasoning = usage.reasoning_tokens

    def add(self, other: "UsageCounter") -> None:
        self.prompt += other.prompt
        self.completion += other.completion
        self.reasoning += other.reasoning

    def to_json(self) -> Json:
        """OpenAI's `usage` object."""
        usage: Json = {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "completion_tokens_details": {"reasoning_tokens": self.reasoning},
        }
        if self.rounds:
            usage["pacore"] = {"rounds": self.rounds}
        return usage


class Envelope:
    """The fields that every object of one response repeats: id, object, created, model.

    Args:
        model: The model id that the client asked for.
        chat: Whether this is a chat completion; otherwise it is a text completion.
    """

    def __init__(self, model: str, chat: bool):
        prefix, object_type = ("chatcmpl", "chat.completion") if chat else ("cmpl", "text_completion")
        self._response_fields = {
            "id": f"{prefix}-{uuid.uuid4().hex}",
            "object": object_type,
            "created": int(time.time()),
            "model": model,
        }
        self._chunk_fields = {**self._response_fields, "object": f"{object_type}.chunk" if chat else object_type}

    def response(self, choices: Sequence[Json], usage: Json, **extra: Any) -> Json:
        """A complete response."""
        return {**self._response_fields, "choices": choices, "usage": usage, **extra}

    def chunk(self, choices: Sequence[Json], **extra: Any) -> bytes:
        """One event of a streamed response."""
        return event({**self._chunk_fields, "choices": choices, **extra})

    def chat_chunk(self, index: int, delta: Json, finish: str | None = None, logprobs: Json | None = None) -> bytes:
        """A chunk with one choice of a chat completion."""
        return self.chunk([{"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}])

    def text_chunk(self, index: int, text: str, finish: str | None = None, logprobs: Json | None = None) -> bytes:
        """A chunk with one choice of a text completion."""
        return self.chunk([{"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}])


def encode_json(data: Json) -> bytes:
    """Compact JSON in UTF-8."""
    return _encode(data).encode()


def event(data: Json) -> bytes:
    """A server-sent event."""
    return b"data: " + encode_json(data) + b"\n\n"


def reasoning_fields(text: str) -> Json:
    """The reasoning under both names that clients read."""
    return {"reasoning_content": text, "reasoning": text}


def tool_call_objects(calls: Iterable[ToolCall], indexed: bool = False) -> list[Json]:
    """OpenAI's tool calls with fresh ids; in a stream (`indexed`) each also carries its index."""
    return [
        {
            **({"index": index} if indexed else {}),
            "id": f"call_{uuid.uuid4().hex[:24]}",
            "type": "function",
            "function": {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)},
        }
        for index, call in enumerate(calls)
    ]


def chat_logprobs(tokens: Iterable[TokenLogprob]) -> Json:
    """The `logprobs` object of a chat completion's choice."""
    return {
        "content": [
            {
                **_token_object(token.text, token.logprob),
                "top_logprobs": [_token_object(text, logprob) for _, text, logprob in token.top],
            }
            for token in tokens
        ],
        "refusal": None,
    }


def completion_logprobs(tokens: Iterable[TokenLogprob], offset: int = 0) -> Json:
    """The `logprobs` object of a text completion's choice: columns, with offsets in characters from `offset` on."""
    columns: Json = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
    for token in tokens:
        columns["tokens"].append(token.text)
        columns["token_logprobs"].append(max(token.logprob, MIN_LOGPROB))
        columns["top_logprobs"].append({text: max(logprob, MIN_LOGPROB) for _, text, logprob in token.top})
        columns["text_offset"].append(offset)
        offset += len(token.text)
    return columns


def _token_object(text: str, logprob: float) -> Json:
    return {"token": text, "logprob": max(logprob, MIN_LOGPROB), "bytes": list(text.encode())}
