"""Requests and their results: what a backend is asked, and the deltas and completions that it returns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from PIL.Image import Image as PILImage

from step3vl.data.sample import Image, ImagePart, Message, Sample, ToolCall

FinishReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True)
class Request:
    """A conversation to answer, or a prompt to continue.

    Args:
        messages: The conversation. Its image parts refer to `images` by index.
        images: Decoded images or encoded image files.
        tools: JSON-schema function signatures.
        text: A prompt to continue as is, in place of messages. Names of special tokens in it are plain text.
        token_ids: The prompt already encoded. With images, its image tokens belong to them in order. When given
            together with messages or text it is their encoding for the engine.
        extra: More fields of the body for a server, over those of the sampling settings. An engine ignores them.
    """

    messages: Sequence[Message] = ()
    images: Sequence[PILImage | Image] = ()
    tools: Sequence[dict[str, Any]] = ()
    text: str | None = None
    token_ids: Sequence[int] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_sample(cls, sample: Sample) -> Self:
        """The question of a conversation: everything before its final answer, with its images and tools."""
        messages = sample.prompt()
        count = sum(isinstance(part, ImagePart) for message in messages for part in message.content)
        return cls(messages, sample.images[:count], sample.tools)


@dataclass(frozen=True)
class TokenLogprob:
    """A sampled token and the likeliest alternatives, each as (token_id, text, logprob), likeliest first.

    Log-probabilities are those of the distribution that was sampled from, see `engine.sampling.sample_tokens`. Tokens
    that could not be sampled are left out of `top`. A text may be part of a character.
    """

    token_id: int
    text: str
    logprob: float
    top: tuple[tuple[int, str, float], ...] = ()


@dataclass(frozen=True)
class Delta:
    """What one step adds to rollout `index`. The last delta of a rollout has a `finish_reason`.

    `text` may lag behind `token_ids`: it holds complete characters only, and never a possible start of a stop string.
    """

    index: int
    text: str
    token_ids: list[int]
    logprobs: list[TokenLogprob] | None
    finish_reason: FinishReason | None


@dataclass(frozen=True)
class Completion:
    """One finished reply.

    Attributes:
        token_ids: The sampled tokens, with the end token if there was one and the tokens of a stop string.
        text: The reply, reasoning included, up to the stop string.
        reasoning: The part before `</think>`.
        answer: The part after it, without tool calls.
        logprobs: One log-probability per token, of the distribution that was sampled from.
        finish_reason: "stop", "length" or "cancelled".
        prompt_tokens: Tokens of the prompt, 0 where a server does not report them.
        tool_calls: The parsed calls of the answer.
        token_logprobs: `logprobs` with the likeliest alternatives, where `Sampling.logprobs` asks for some.
    """

    token_ids: list[int]
    text: str
    reasoning: str
    answer: str
    logprobs: list[float] | None
    finish_reason: FinishReason
    prompt_tokens: int
    tool_calls: tuple[ToolCall, ...] = ()
    token_logprobs: tuple[TokenLogprob, ...] | None = None
