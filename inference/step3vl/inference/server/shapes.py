"""OpenAI's reply objects as plain dictionaries, and the account of tokens."""

import json
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from step3vl.data.sample import ToolCall
from step3vl.inference.backend import Usage
from step3vl.inference.jobs import TokenLogprob

NEVER = -9999.0  # what OpenAI writes for a log-probability of minus infinity, which JSON cannot
Json = dict[str, Any]
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode  # made once: there is an event a token


@dataclass
class Tally:
    """Tokens of a request. The prompt counts once, however many replies share it."""

    prompt: int = 0
    completion: int = 0
    reasoning: int = 0
    rounds: list[Json] = field(default_factory=list)

    def settle(self, used: Usage | None) -> None:
        """Take the backend's own account where it gives one; thoughts stay uncounted where it names no tokens."""
        if used is not None:
            self.prompt, self.completion = used.prompt_tokens, used.completion_tokens
            if used.reasoning_tokens is not None:
                self.reasoning = used.reasoning_tokens

    def add(self, other: "Tally") -> None:
        self.prompt += other.prompt
        self.completion += other.completion
        self.reasoning += other.reasoning

    def usage(self) -> Json:
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
    """The fields that every object of one reply repeats."""

    def __init__(self, model: str, chat: bool):
        prefix, kind = ("chatcmpl", "chat.completion") if chat else ("cmpl", "text_completion")
        self._whole = {
            "id": f"{prefix}-{uuid.uuid4().hex}",
            "object": kind,
            "created": int(time.time()),
            "model": model,
        }
        self._chunk = {**self._whole, "object": f"{kind}.chunk" if chat else kind}

    def whole(self, choices: Sequence[Json], usage: Json, **more: Any) -> Json:
        return {**self._whole, "choices": choices, "usage": usage, **more}

    def chunk(self, choices: Sequence[Json], **more: Any) -> bytes:
        return event({**self._chunk, "choices": choices, **more})

    def delta(self, index: int, delta: Json, finish: str | None = None, logprobs: Json | None = None) -> bytes:
        """A chunk of one choice of a chat."""
        return self.chunk([{"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}])

    def text(self, index: int, text: str, finish: str | None = None, logprobs: Json | None = None) -> bytes:
        """A chunk of one choice of a completion."""
        return self.chunk([{"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}])


def event(data: Json) -> bytes:
    """A server-sent event."""
    return b"data: " + _encode(data).encode() + b"\n\n"


def thought(text: str) -> Json:
    """The thought under both names that clients read."""
    return {"reasoning_content": text, "reasoning": text}


def tool_calls(calls: Iterable[ToolCall], indexed: bool = False) -> list[Json]:
    """Calls with ids of their own; in a stream each also says which of the calls it is."""
    return [
        {
            **({"index": number} if indexed else {}),
            "id": f"call_{uuid.uuid4().hex[:24]}",
            "type": "function",
            "function": {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)},
        }
        for number, call in enumerate(calls)
    ]


def chat_logprobs(tokens: Iterable[TokenLogprob]) -> Json:
    return {
        "content": [
            {
                **_token(token.text, token.logprob),
                "top_logprobs": [_token(text, logprob) for _, text, logprob in token.top],
            }
            for token in tokens
        ],
        "refusal": None,
    }


def completion_logprobs(tokens: Iterable[TokenLogprob], offset: int = 0) -> Json:
    """As the older endpoint writes them: columns, with offsets in characters; the first token stands at `offset`."""
    columns: Json = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
    for token in tokens:
        columns["tokens"].append(token.text)
        columns["token_logprobs"].append(max(token.logprob, NEVER))
        columns["top_logprobs"].append({text: max(logprob, NEVER) for _, text, logprob in token.top})
        columns["text_offset"].append(offset)
        offset += len(token.text)
    return columns


def _token(text: str, logprob: float) -> Json:
    return {"token": text, "logprob": max(logprob, NEVER), "bytes": list(text.encode())}
