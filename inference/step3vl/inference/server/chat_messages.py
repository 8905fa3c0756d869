"""The messages of a chat request in OpenAI's format, and what the model reads of them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from step3vl.data.sample import ImagePart, Message, Part, TextPart, ToolCall


class ApiModel(BaseModel):
    """Frozen; `null` means the same as leaving a field out, since many clients send it."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: Any) -> Any:
        return {key: value for key, value in data.items() if value is not None} if isinstance(data, dict) else data


class TextContent(ApiModel):
    type: Literal["text"]
    text: str


class RefusalContent(ApiModel):
    type: Literal["refusal"]
    refusal: str


class ImageUrl(ApiModel):
    url: str = Field(min_length=1)
    detail: Literal["auto", "low", "high", "original"] = "auto"
    """`low` shrinks the image, as OpenAI does; the others read it in full."""


class ImageContent(ApiModel):
    type: Literal["image_url"]
    image_url: ImageUrl

    @field_validator("image_url", mode="before")
    @classmethod
    def _accept_string(cls, value: Any) -> Any:
        return {"url": value} if isinstance(value, str) else value


Content = Annotated[TextContent | RefusalContent | ImageContent, Field(discriminator="type")]


class FunctionCall(ApiModel):
    name: str = Field(min_length=1)
    arguments: str = "{}"

    @field_validator("arguments", mode="before")
    @classmethod
    def _accept_object(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            return json.dumps(value, ensure_ascii=False)
        return value.strip() or "{}" if isinstance(value, str) else value

    def parse(self) -> ToolCall | None:
        """The call, None where its name or arguments are none that the model could have written."""
        try:
            return ToolCall(name=self.name, arguments=json.loads(self.arguments))
        except (ValidationError, ValueError, RecursionError):
            return None


class ToolCallContent(ApiModel):
    id: str | None = None
    type: Literal["function"] = "function"
    function: FunctionCall


class ChatMessage(ApiModel):
    """A message of a chat, in OpenAI's format."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: tuple[Content, ...] = ()
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: tuple[ToolCallContent, ...] = ()
    tool_call_id: str | None = None

    @field_validator("content", mode="before")
    @classmethod
    def _accept_string(cls, value: Any) -> Any:
        return [{"type": "text", "text": value}] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check_role(self) -> "ChatMessage":
        if self.role != "assistant":
            if self.tool_calls:
                raise ValueError(f"a {self.role} message cannot call tools")
            if not self.content and self.role != "tool":  # a tool may return nothing
                raise ValueError(f"a {self.role} message needs content")
        has_image = any(isinstance(part, ImageContent) for part in self.content)
        if self.role in ("system", "developer", "assistant") and has_image:
            raise ValueError(f"a {self.role} message holds text only; images belong to user and tool messages")
        return self

    def images(self) -> list[ImageUrl]:
        return [part.image_url for part in self.content if isinstance(part, ImageContent)]

    def to_message(self, first_image: int) -> Message:
        """The message for the model; its images are numbered from `first_image` on."""
        image_numbers = iter(range(first_image, first_image + len(self.content)))
        parts = [_part(part, image_numbers) for part in self.content]
        if self.role != "assistant":
            return Message(role="system" if self.role == "developer" else self.role, content=tuple(parts))
        if self.refusal and not parts:
            parts = [TextPart(text=self.refusal)]
        calls = [(call.function, call.function.parse()) for call in self.tool_calls]
        if invalid := [function for function, call in calls if call is None]:
            parts.append(TextPart(text=_invalid_calls_text(invalid)))
        return Message(
            role="assistant",
            content=tuple(parts),
            reasoning_content=self.reasoning_content or self.reasoning,
            tool_calls=tuple(call for _, call in calls if call is not None),
        )


class FunctionDefinition(ApiModel):
    name: str = Field(min_length=1)
    description: str | None = None
    parameters: dict[str, Any] | None = None


class ToolDefinition(ApiModel):
    type: Literal["function"]
    function: FunctionDefinition


def to_conversation(messages: Sequence[ChatMessage]) -> tuple[Message, ...]:
    """The messages for the model, tool results in the order of their calls.

    Images are numbered in the order in which the request has them.
    """
    conversation: list[tuple[ChatMessage, Message]] = []
    images = 0
    for message in messages:
        conversation.append((message, message.to_message(images)))
        images += len(message.images())
    ordered: list[Message] = []
    calls: list[str | None] = []
    results: list[tuple[ChatMessage, Message]] = []
    for message, converted in conversation:
        if message.role == "tool":
            results.append((message, converted))
            continue
        ordered += _in_call_order(results, calls)
        results, calls = [], [call.id for call in message.tool_calls]
        ordered.append(converted)
    return (*ordered, *_in_call_order(results, calls))


def _in_call_order(results: Sequence[tuple[ChatMessage, Message]], calls: Sequence[str | None]) -> list[Message]:
    """Results by the number of the call that their `tool_call_id` names; those that name none keep their places."""
    named = [position for position, (message, _) in enumerate(results) if message.tool_call_id in calls]
    by_call = sorted(named, key=lambda position: calls.index(results[position][0].tool_call_id))
    order = list(range(len(results)))
    for position, source in zip(named, by_call, strict=True):
        order[position] = source
    return [results[position][1] for position in order]


def _part(part: Content, image_numbers: Iterator[int]) -> Part:
    if isinstance(part, ImageContent):
        return ImagePart(image=next(image_numbers))
    return TextPart(text=part.text if isinstance(part, TextContent) else part.refusal)


def _invalid_calls_text(calls: Sequence[FunctionCall]) -> str:
    """Calls that are not valid, as the text that a model wrote in their place; see `extract_tool_calls`."""
    bodies = [f'<tool_call>\n{{"name": "{call.name}", "arguments": {call.arguments}}}\n</tool_call>' for call in calls]
    return "\n" + "\n".join(bodies)
