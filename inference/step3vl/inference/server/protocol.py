"""The request bodies: OpenAI's fields, those that vLLM adds, and `pacore`.

Fields that a model here does not read are the business of `request_fields`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, field_validator, model_validator

from step3vl.data.config import Config
from step3vl.data.sample import Message
from step3vl.inference.client import Request, Sampling
from step3vl.inference.pacore import PaCoReConfig
from step3vl.inference.server.chat_messages import ApiModel, ChatMessage, ImageUrl, ToolDefinition, to_conversation
from step3vl.inference.server.errors import ApiError

SEEDS = 2**63
MAX_LOGPROBS = 20
MAX_ROUNDS = 8


class StreamOptions(ApiModel):
    include_usage: bool = False


class PaCoReOptions(ApiModel, Config):
    """How a PaCoRe model answers: a request's `pacore`. A field that is left out is as in the model's level."""

    model_config = ConfigDict(extra="forbid")

    RENAMED: ClassVar[Mapping[str, str]] = PaCoReConfig.RENAMED

    rounds: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(default=None, min_length=1, max_length=MAX_ROUNDS)
    """The number of hypotheses of each round."""
    seed: int | None = Field(default=None, ge=-SEEDS, lt=SEEDS)
    """By default that of the request."""
    min_rollouts: int | None = Field(default=None, ge=1)
    """The hypotheses that a round needs; the others may fail."""
    retries: int | None = Field(default=None, ge=0, le=10)
    """How often a failed rollout is repeated."""
    deadline: float | None = Field(default=None, gt=0)
    """Seconds after which exploration ends and the answer is made from what is there."""
    consensus: float | None = Field(default=None, gt=0, le=1)
    """The share of equal answers that ends a round early."""
    include_truncated: bool | None = None
    """Whether a reply that was cut counts as a hypothesis."""
    events: bool = False
    """Add the deltas of the hypotheses to a stream, for a client that shows them side by side."""
    trace: bool = False
    """Add every hypothesis and conclusion to the response."""


class GenerationRequest(ApiModel):
    """The fields that chat and text completions share."""

    prompt_field: ClassVar[str]  # the field that holds the prompt, named in errors

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
    stop: tuple[str, ...] = Field(default=(), max_length=16)
    stop_token_ids: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(), max_length=1024)
    logit_bias: dict[Annotated[int, Field(ge=0)], Annotated[float, Field(ge=-100, le=100)]] = Field(
        default_factory=dict, max_length=1024
    )
    min_tokens: int = Field(default=0, ge=0)
    ignore_eos: bool = False

    @field_validator("stop", mode="before")
    @classmethod
    def _accept_single_stop(cls, value: Any) -> Any:
        """An empty string, which clients with an empty form field send, stops nothing."""
        stops = [value] if isinstance(value, str) else value
        return [stop for stop in stops if stop != ""] if isinstance(stops, list) else stops

    def token_limit(self) -> int | None:
        """The most completion tokens that the client asks for."""
        return self.max_tokens

    def logprob_count(self) -> int | None:
        """None for no log-probabilities, otherwise how many likely tokens to list beside each sampled token."""
        raise NotImplementedError

    def sampling(self, max_new_tokens: int) -> Sampling:
        """The settings of a reply of at most `max_new_tokens`. Raises ApiError 400 when `min_tokens` are more."""
        if self.min_tokens > max_new_tokens:
            raise ApiError(
                400, f"min_tokens: {self.min_tokens} are more than the {max_new_tokens} of a reply", param="min_tokens"
            )
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
            stop_token_ids=self.stop_token_ids,
            logit_bias=self.logit_bias,
            min_new_tokens=self.min_tokens,
            ignore_eos=self.ignore_eos,
            logprobs=self.logprob_count(),
            max_new_tokens=max_new_tokens,
        )


class ChatCompletionRequest(GenerationRequest):
    """A request to /v1/chat/completions."""

    prompt_field = "messages"

    messages: tuple[ChatMessage, ...] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool = False
    top_logprobs: int = Field(default=0, ge=0, le=MAX_LOGPROBS)
    tools: tuple[ToolDefinition, ...] = ()
    tool_choice: Any = "auto"
    parallel_tool_calls: bool = True
    """False cuts a reply's calls after the first, as in vLLM."""
    pacore: PaCoReOptions | None = None

    @model_validator(mode="after")
    def _check_consistency(self) -> "ChatCompletionRequest":
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs: true")
        if not any(message.role == "user" for message in self.messages):
            raise ValueError("messages need at least one of role 'user'")
        return self

    def token_limit(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    def logprob_count(self) -> int | None:
        return self.top_logprobs if self.logprobs else None

    def images(self) -> list[ImageUrl]:
        """The images, in the order of the messages."""
        return [image for message in self.messages for image in message.images()]

    def conversation(self) -> tuple[Message, ...]:
        """The messages for the model; images are numbered as in `images`."""
        return to_conversation(self.messages)

    def tool_definitions(self) -> tuple[dict[str, Any], ...]:
        """The tools that the model may call, as the chat template renders them."""
        if self.tool_choice == "none":
            return ()
        return tuple(tool.model_dump(exclude_none=True) for tool in self.tools)


class CompletionRequest(GenerationRequest):
    """A request to /v1/completions: prompts, as texts or token ids, that are continued without a chat template."""

    prompt_field = "prompt"

    prompt: tuple[str | tuple[int, ...], ...] = Field(min_length=1, max_length=64)
    max_tokens: int | None = Field(default=16, ge=1)  # OpenAI's default
    logprobs: int | None = Field(default=None, ge=0, le=MAX_LOGPROBS)
    echo: bool = False
    suffix: str = ""
    pacore: Any = None

    @field_validator("prompt", mode="before")
    @classmethod
    def _accept_single_prompt(cls, value: Any) -> Any:
        prompts = value if isinstance(value, list) and not _are_token_ids(value) else [value]
        if not all(isinstance(prompt, str) or _are_token_ids(prompt) for prompt in prompts):
            raise ValueError("must be a string, a list of token ids, or a list of strings or of lists of token ids")
        return prompts

    @field_validator("suffix", "pacore")
    @classmethod
    def _refuse_chat_fields(cls, value: Any) -> Any:
        if value:
            raise ValueError("is not supported where a prompt is continued")
        return value

    @model_validator(mode="after")
    def _check_consistency(self) -> "CompletionRequest":
        if self.stream and len(self.prompt) > 1:
            raise ValueError("only a single prompt can be streamed")
        if self.echo and self.logprobs is not None:
            raise ValueError("echo cannot be combined with logprobs: those of the prompt are not computed")
        if self.echo and not all(isinstance(prompt, str) for prompt in self.prompt):
            raise ValueError("echo needs the prompt as text")
        return self

    def requests(self) -> list[Request]:
        """One request for the backend for each prompt."""
        return [
            Request(text=prompt) if isinstance(prompt, str) else Request(token_ids=prompt) for prompt in self.prompt
        ]

    def logprob_count(self) -> int | None:
        return self.logprobs


class TokenizeRequest(ApiModel):
    """A request to /tokenize: a plain prompt, or messages as in a chat."""

    model: str | None = None
    prompt: str | None = None
    messages: tuple[ChatMessage, ...] = ()
    tools: tuple[ToolDefinition, ...] = ()

    @model_validator(mode="after")
    def _check_alternatives(self) -> "TokenizeRequest":
        if (self.prompt is None) == (not self.messages):
            raise ValueError("give either prompt or messages")
        return self


def validation_error(errors: Any) -> ApiError:
    """The first of pydantic's errors in OpenAI's terms, with the path of the field."""
    first = errors[0]
    steps = [str(step) for step in first["loc"] if step != "body"]
    field = ".".join(step for index, step in enumerate(steps) if steps[index - 1 : index] != [step])  # a union's tag
    if first["type"] == "json_invalid":
        return ApiError(400, f"the body is not valid JSON: {first.get('ctx', {}).get('error', first['msg'])}")
    message = first["msg"].removeprefix("Value error, ")
    return ApiError(400, f"{field}: {message}" if field else message, param=field or None)


def _are_token_ids(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(id_) is int and 0 <= id_ < 2**31 for id_ in value)
