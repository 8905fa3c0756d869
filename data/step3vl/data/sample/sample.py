"""One training example: parts of text and images, what makes it verifiable, and where it comes from.

A `Sample` is a document (parts without roles, for pretraining), a conversation (messages with roles), or a preference
(a conversation with another answer that was rejected in favour of its last). It names its images by index; an image is
encoded bytes as they came, held in memory or pointed to on disk.
"""

import hashlib
import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    FiniteFloat,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from step3vl.data.config import FrozenModel, explain_validation_error
from step3vl.data.sample.canonical import content_json
from step3vl.data.sample.parts import Image, Parts, TextPart
from step3vl.data.sample.truth import Truth

SAMPLE_VERSION = 2
"""The newest version of a row's fields: 2 of a preference, 1 of any other sample. Fields may be added within a
version, but none changes its meaning."""

Kind = Literal["document", "conversation", "preference"]


def _absent(value: object) -> bool:
    """Fields that a sample does not use are left out of rows and ids, so that a new field changes no old id."""
    return value is None or value == ()


def _parse_object(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _dump_object(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)


def _is_json(value: dict[str, Any]) -> dict[str, Any]:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"not a JSON object: {error}") from None
    return value


# A JSON object whose order of keys the model sees: rows keep it as JSON text, as OpenAI's `arguments` are kept.
JsonObject = Annotated[
    dict[str, Any],
    BeforeValidator(_parse_object),
    AfterValidator(_is_json),
    PlainSerializer(_dump_object, return_type=str, when_used="json"),
]


class ToolCall(FrozenModel):
    """A function call that the assistant requests."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.:/-]+$")
    """Name of the function."""

    arguments: JsonObject
    """Its arguments."""


class Message(FrozenModel):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant", "tool"]
    """The speaker. A `tool` turn carries the result of a call, or the next screen of a GUI trajectory."""

    content: Parts
    """Texts and images in reading order."""

    name: Literal["observation"] | None = Field(default=None, exclude_if=_absent)
    """Marks a system turn as an observation of the environment between turns."""

    reasoning_content: str | None = None
    """The reasoning before an assistant's answer, named as in chat templates."""

    tool_calls: tuple[ToolCall, ...] = Field(default=(), exclude_if=_absent)
    """The calls that an assistant requests."""

    loss_weight: float | None = Field(default=None, ge=0, allow_inf_nan=False, exclude_if=_absent)
    """Weight of an assistant's turn in the loss. None: 1 after the last user turn, 0 before it."""

    @model_validator(mode="after")
    def _fits_its_role(self) -> Self:
        if self.role != "assistant":
            values = self.reasoning_content, self.tool_calls, self.loss_weight
            if values != (None, (), None):
                names = ("reasoning_content", "tool_calls", "loss_weight")
                name = next(name for name, value in zip(names, values, strict=True) if value not in (None, ()))
                raise ValueError(f"a {self.role} message has {name}; only an assistant message may have it")
        if self.name is not None and self.role != "system":
            raise ValueError(f"a {self.role} message has the name {self.name}; only a system message may have it")
        return self


class Source(FrozenModel):
    """Provenance of a sample."""

    uri: str
    """What was read."""

    licence: str
    """Its licence, as an SPDX identifier where there is one."""

    collected_by: str
    """The builder that made the sample."""

    parents: tuple[str, ...] = ()
    """Ids of the samples that it was made from."""

    traits: dict[str, str] = Field(default_factory=dict, exclude_if=lambda traits: not traits)
    """What the builder chose, by kind: `font`, `layout`, `family`, `language`, ... The card says how diverse it is."""


class TokenCount(FrozenModel):
    """Tokens of a sample for one tokenizer and one set of image sizes."""

    text: int = Field(ge=0)
    """Text tokens, markup included."""

    image: int = Field(ge=0)
    """Image tokens, wrappers included."""

    @property
    def total(self) -> int:
        """Tokens of text and images together."""
        return self.text + self.image


class Sample(FrozenModel):
    """One training example. `Sample.make` derives the id from the content."""

    version: int = Field(default=1, exclude_if=lambda version: version == 1)
    """Version of these fields; left out where it is 1."""

    id: str = Field(pattern=r"^[0-9a-f]{32}$")
    """Hash of the content, see `content_id`."""

    domain: str = Field(pattern=r"^[a-z0-9_]+$")
    """The domain that built the sample."""

    task: str = Field(pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)*$")
    """Dotted name of the task, such as `grounding.point`."""

    content: Parts | None = None
    """The parts of a document."""

    messages: tuple[Message, ...] | None = None
    """The turns of a conversation."""

    rejected: Message | None = Field(default=None, exclude_if=_absent)
    """The answer of texts that was rejected in favour of the last turn, which makes the sample a preference."""

    tools: tuple[JsonObject, ...] = Field(default=(), exclude_if=_absent)
    """Signatures of the functions that a conversation may call, as in OpenAI's API."""

    images: tuple[Image, ...] = ()
    """The images in the order in which the parts show them."""

    truth: Truth | None = None
    """What makes the answer verifiable."""

    source: Source
    """Provenance."""

    scores: dict[str, FiniteFloat] = Field(default_factory=dict)
    """Scores of filters and judges by name."""

    tokens: TokenCount | None = None
    """Token counts, once they are known."""

    @model_validator(mode="before")
    @classmethod
    def _check_version(cls, values: Any) -> Any:
        version = values.get("version", 1) if isinstance(values, (dict, Mapping)) else 1
        if isinstance(version, int) and version > SAMPLE_VERSION:
            raise ValueError(f"the row has version {version}; this step3vl reads up to {SAMPLE_VERSION}: upgrade it")
        return values

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if (self.content is None) == (self.messages is None):
            raise ValueError("a sample has either content (a document) or messages (a conversation)")
        parts = self.parts()
        if not parts:
            raise ValueError("a sample needs at least one part")
        if self.messages is not None:
            self._check_roles([message.role for message in self.messages])
        elif self.tools or self.rejected:
            raise ValueError("tools and a rejected answer belong to a conversation; a document has none")
        if self.rejected is not None:
            self._check_rejected(self.rejected)
        # A check for the other class would be a call of Python's for every text.
        indices = [part.image for part in parts if not isinstance(part, TextPart)]
        if indices != list(range(len(self.images))):
            raise ValueError(
                f"image parts must name the {len(self.images)} images once each, in order; found {indices}"
            )
        return self

    @staticmethod
    def _check_roles(roles: list[str]) -> None:
        if roles[-1] != "assistant":
            raise ValueError(f"messages must end with an assistant turn, not with a {roles[-1]} turn")
        if "user" not in roles:
            raise ValueError("messages need at least one user turn")
        if "tool" in roles:
            for previous, role in pairwise(roles):
                if role == "tool" and previous not in ("assistant", "tool"):
                    raise ValueError(f"a tool turn must follow an assistant or tool turn, not a {previous} turn")
            if roles[0] == "tool":
                raise ValueError("messages cannot begin with a tool turn")

    def _check_rejected(self, rejected: Message) -> None:
        if self.version < 2:
            raise ValueError("a sample with a rejected answer has version 2")
        if rejected.role != "assistant" or not all(isinstance(part, TextPart) for part in rejected.content):
            raise ValueError("a rejected answer is an assistant turn of texts")
        if self.messages is not None and rejected == self.messages[-1]:
            raise ValueError("the rejected answer is the same as the one that was chosen")

    @classmethod
    def make(
        cls,
        *,
        domain: str,
        task: str,
        source: Source,
        content: Parts | None = None,
        messages: tuple[Message, ...] | None = None,
        rejected: Message | None = None,
        tools: tuple[dict[str, Any], ...] = (),
        images: tuple[Image, ...] = (),
        truth: Truth | None = None,
        scores: dict[str, float] | None = None,
    ) -> Self:
        """Build a validated sample whose id is a hash of its canonical content.

        Source and scores are not content: two builds of the same example have the same id.

        Args:
            domain: The domain that builds the sample.
            task: Dotted name of the task.
            source: Provenance.
            content: The parts of a document; or else `messages`.
            messages: The turns of a conversation; or else `content`.
            rejected: The answer that was rejected in favour of the last turn.
            tools: Signatures of the functions that a conversation may call.
            images: The images in the order in which the parts show them.
            truth: What makes the answer verifiable.
            scores: Scores of filters and judges by name.

        Raises:
            pydantic.ValidationError: A field is wrong.
        """
        sample = cls(
            version=1 if rejected is None else 2,
            id="0" * 32,
            domain=domain,
            task=task,
            content=content,
            messages=messages,
            rejected=rejected,
            tools=tools,
            images=images,
            truth=truth,
            source=source,
            scores=scores or {},
        )
        object.__setattr__(sample, "id", sample.content_id())  # nobody else has it yet, and a copy takes longer
        return sample

    def content_id(self) -> str:
        """32 hexadecimal digits of the canonical content: domain, task, parts, rejected answer, tools, truth and the
        images' hashes."""
        return hashlib.blake2b(content_json(self).encode(), digest_size=16).hexdigest()

    @property
    def kind(self) -> Kind:
        """Whether the sample is a document, a conversation or a preference."""
        if self.rejected is not None:
            return "preference"
        return "document" if self.messages is None else "conversation"

    def parts(self) -> Parts:
        """Every part in reading order, over all messages; a rejected answer is not among them."""
        if self.messages is None:
            return self.content or ()
        return tuple([part for message in self.messages for part in message.content])

    def prompt(self) -> tuple[Message, ...]:
        """The conversation without its final answer. Raises ValueError for a document."""
        if self.messages is None:
            raise ValueError(f"sample {self.id} is a document and has no prompt")
        return self.messages[:-1]

    def answer(self) -> str:
        """The text of the final assistant turn. Raises ValueError for a document."""
        if self.messages is None:
            raise ValueError(f"sample {self.id} is a document and has no answer")
        return "".join(part.text for part in self.messages[-1].content if isinstance(part, TextPart))

    def last_text(self) -> str:
        """What the sample ends with: the answer of a conversation, or the last text of a document."""
        if self.messages is not None:
            return self.answer()
        return next((part.text for part in reversed(self.parts()) if isinstance(part, TextPart)), "")

    def to_row(self) -> dict[str, Any]:
        """The sample as a JSON-able dict, with pointers to images and never their bytes."""
        return self.model_dump(mode="json", exclude_none=True)

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Self:
        """The inverse of `to_row`. Raises ValueError naming the sample, the field and what is wrong with it."""
        try:
            return cls.model_validate(row)
        except ValidationError as error:
            name = row.get("id") if isinstance(row, dict) else None
            raise ValueError(f"sample {name or 'without an id'}: {explain_validation_error(error)}") from None
