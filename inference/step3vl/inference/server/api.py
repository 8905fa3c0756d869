"""The bodies that clients send: OpenAI's fields, those that vLLM adds, and `pacore`.

A field that would change the answer and that we do not have is refused; one that we do not know is passed over, as
other servers do, because clients send much that concerns nobody.
"""

import json
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from step3vl.data.sample import ImagePart, Message, Part, TextPart, ToolCall
from step3vl.inference.jobs import Request
from step3vl.inference.sampling import Sampling
from step3vl.inference.server.errors import ApiError

SEEDS = 2**63
MAX_LOGPROBS = 20
MAX_ROUNDS = 8


class Body(BaseModel):
    """Frozen; `null` means the same as leaving a field out, since many clients send it."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any) -> Any:
        return {key: value for key, value in data.items() if value is not None} if isinstance(data, dict) else data


class TextItem(Body):
    type: Literal["text"]
    text: str


class ImageUrl(Body):
    url: str = Field(min_length=1)


class ImageItem(Body):
    type: Literal["image_url"]
    image_url: ImageUrl

    @field_validator("image_url", mode="before")
    @classmethod
    def _plain_url(cls, value: Any) -> Any:
        return {"url": value} if isinstance(value, str) else value


Item = Annotated[TextItem | ImageItem, Field(discriminator="type")]


class Function(Body):
    name: str = Field(min_length=1)
    arguments: str = "{}"

    @field_validator("arguments")
    @classmethod
    def _is_an_object(cls, value: str) -> str:
        if not isinstance(_parsed(value), dict):
            raise ValueError("must be a JSON object in a string")
        return value


class Call(Body):
    type: Literal["function"] = "function"
    function: Function


class Turn(Body):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: tuple[Item, ...] = ()
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: tuple[Call, ...] = ()

    @field_validator("content", mode="before")
    @classmethod
    def _plain_text(cls, value: Any) -> Any:
        return [{"type": "text", "text": value}] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _belongs_to_its_role(self) -> "Turn":
        if self.role != "assistant":
            if self.tool_calls:
                raise ValueError(f"a {self.role} message cannot call tools")
            if not self.content:
                raise ValueError(f"a {self.role} message needs content")
        if self.role in ("system", "developer", "assistant") and any(isinstance(i, ImageItem) for i in self.content):
            raise ValueError(f"a {self.role} message holds text only; pictures belong to user and tool messages")
        return self


class ToolFunction(Body):
    name: str = Field(min_length=1)
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Tool(Body):
    type: Literal["function"]
    function: ToolFunction


class StreamOptions(Body):
    include_usage: bool = False


class PaCoReOptions(Body):
    """How a PaCoRe model answers, in a request's `pacore`: fields of PaCoReConfig, as in the level where left out.

    `events` adds the hypotheses' own deltas to a stream, for a client that shows them side by side; `trace` adds every
    hypothesis and message to the reply.
    """

    model_config = ConfigDict(extra="forbid")

    rounds: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(default=None, min_length=1, max_length=MAX_ROUNDS)
    seed: int | None = Field(default=None, ge=-SEEDS, lt=SEEDS)
    minimum: int | None = Field(default=None, ge=1)
    retries: int | None = Field(default=None, ge=0, le=10)
    deadline: float | None = Field(default=None, gt=0)
    consensus: float | None = Field(default=None, gt=0, le=1)
    unfinished: bool | None = None
    events: bool = False
    trace: bool = False


class Generation(Body):
    """What chat and completion requests share. `asks` is the field that holds the prompt."""

    asks: ClassVar[str]

    model: str
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    n: int = Field(default=1, ge=1)
    max_tokens: int | None = Field(default=None, ge=1)
    temperature: float = Field(default=1.0, ge=0, le=100)
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: int = Field(default=0, ge=-1)
    min_p: float = Field(default=0.0, ge=0, le=1)
    repetition_penalty: float = Field(default=1.0, gt=0, le=100)
    presence_penalty: float = Field(default=0.0, ge=-2, le=2)
    frequency_penalty: float = Field(default=0.0, ge=-2, le=2)
    seed: int | None = Field(default=None, ge=-SEEDS, lt=SEEDS)
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = Field(default=(), max_length=16)
    logit_bias: dict[str, float] = Field(default_factory=dict)

    @field_validator("stop", mode="before")
    @classmethod
    def _one_stop(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("logit_bias")
    @classmethod
    def _no_bias(cls, value: dict[str, float]) -> dict[str, float]:
        if value:
            raise ValueError("is not supported")
        return value

    def limit(self) -> int | None:
        """The most tokens that the client wants."""
        return self.max_tokens

    def asked_logprobs(self) -> int | None:
        """None for no log-probabilities, otherwise how many likely tokens stand beside each chosen one."""
        raise NotImplementedError

    def sampling(self, max_new_tokens: int) -> Sampling:
        return Sampling(
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=max(self.top_k, 0),
            min_p=self.min_p,
            repetition_penalty=self.repetition_penalty,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            seed=self.seed,
            stop=self.stop,
            logprobs=self.asked_logprobs(),
            max_new_tokens=max_new_tokens,
        )


class ChatBody(Generation):
    """A request to /v1/chat/completions."""

    asks = "messages"

    messages: tuple[Turn, ...] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool = False
    top_logprobs: int = Field(default=0, ge=0, le=MAX_LOGPROBS)
    tools: tuple[Tool, ...] = ()
    tool_choice: Any = "auto"
    response_format: dict[str, Any] = Field(default_factory=dict)
    pacore: PaCoReOptions | None = None

    @field_validator("tool_choice")
    @classmethod
    def _none_or_auto(cls, value: Any) -> Any:
        if value not in ("none", "auto"):
            raise ValueError("may be 'none' or 'auto'; the model cannot be forced to call a tool")
        return value

    @field_validator("response_format")
    @classmethod
    def _text_only(cls, value: dict[str, Any]) -> dict[str, Any]:
        if value and value.get("type") != "text":
            raise ValueError("may only be of type 'text'")
        return value

    @model_validator(mode="after")
    def _asks_something(self) -> "ChatBody":
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs: true")
        if not any(turn.role == "user" for turn in self.messages):
            raise ValueError("messages need at least one of role 'user'")
        return self

    def limit(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    def asked_logprobs(self) -> int | None:
        return self.top_logprobs if self.logprobs else None

    def image_urls(self) -> list[str]:
        """URLs of the pictures, in the order in which the messages show them."""
        return [item.image_url.url for turn in self.messages for item in turn.content if isinstance(item, ImageItem)]

    def conversation(self) -> tuple[Message, ...]:
        """The messages in the model's terms; pictures are numbered as in `image_urls`."""
        numbers = iter(range(len(self.image_urls())))
        return tuple(_message(turn, numbers) for turn in self.messages)

    def signatures(self) -> tuple[dict[str, Any], ...]:
        """The tools that the model may call, as the template shows them."""
        if self.tool_choice == "none":
            return ()
        return tuple(tool.model_dump(exclude_none=True) for tool in self.tools)


class CompletionBody(Generation):
    """A request to /v1/completions: prompts, as texts or token ids, that are continued as they stand."""

    asks = "prompt"

    prompt: tuple[str | tuple[int, ...], ...] = Field(min_length=1, max_length=64)
    max_tokens: int | None = Field(default=16, ge=1)  # OpenAI's
    logprobs: int | None = Field(default=None, ge=0, le=MAX_LOGPROBS)
    echo: bool = False
    suffix: str = ""
    pacore: Any = None

    @field_validator("prompt", mode="before")
    @classmethod
    def _several_prompts(cls, value: Any) -> Any:
        prompts = value if isinstance(value, list) and not _are_ids(value) else [value]
        if not all(isinstance(prompt, str) or _are_ids(prompt) for prompt in prompts):
            raise ValueError("must be a string, a list of token ids, or a list of strings or of lists of token ids")
        return prompts

    @field_validator("suffix", "pacore")
    @classmethod
    def _nothing_of_this(cls, value: Any) -> Any:
        if value:
            raise ValueError("is not supported where a prompt is continued")
        return value

    @model_validator(mode="after")
    def _can_be_given(self) -> "CompletionBody":
        if self.stream and len(self.prompt) > 1:
            raise ValueError("only a single prompt can be streamed")
        if self.echo and self.logprobs is not None:
            raise ValueError("echo cannot be had with logprobs: a prompt's own are not known")
        if self.echo and not all(isinstance(prompt, str) for prompt in self.prompt):
            raise ValueError("echo needs the prompt as text")
        return self

    def requests(self) -> list[Request]:
        return [
            Request(text=prompt) if isinstance(prompt, str) else Request(token_ids=prompt) for prompt in self.prompt
        ]

    def asked_logprobs(self) -> int | None:
        return self.logprobs


class TokenizeBody(Body):
    """A request to /tokenize: a prompt as it stands, or messages as in a chat."""

    model: str | None = None
    prompt: str | None = None
    messages: tuple[Turn, ...] = ()
    tools: tuple[Tool, ...] = ()

    @model_validator(mode="after")
    def _one_of_both(self) -> "TokenizeBody":
        if (self.prompt is None) == (not self.messages):
            raise ValueError("give either prompt or messages")
        return self


def refuse(errors: Any) -> ApiError:
    """The first of pydantic's errors in OpenAI's words, with the field's path."""
    first = errors[0]
    steps = [str(step) for step in first["loc"] if step != "body"]
    place = ".".join(step for index, step in enumerate(steps) if steps[index - 1 : index] != [step])  # a union's tag
    if first["type"] == "json_invalid":
        return ApiError(400, f"the body is not valid JSON: {first.get('ctx', {}).get('error', first['msg'])}")
    message = first["msg"].removeprefix("Value error, ")
    return ApiError(400, f"{place}: {message}" if place else message, param=place or None)


def _are_ids(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(id_) is int and 0 <= id_ < 2**31 for id_ in value)


def _message(turn: Turn, numbers: Iterator[int]) -> Message:
    parts: list[Part] = [
        TextPart(text=item.text) if isinstance(item, TextItem) else ImagePart(image=next(numbers))
        for item in turn.content
    ]
    return Message(
        role="system" if turn.role == "developer" else turn.role,
        content=tuple(parts),
        reasoning_content=(turn.reasoning_content or turn.reasoning) if turn.role == "assistant" else None,
        tool_calls=tuple(
            ToolCall(name=call.function.name, arguments=_parsed(call.function.arguments)) for call in turn.tool_calls
        ),
    )


def _parsed(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except (ValueError, RecursionError):
        return None
