"""One training example: parts of text and pictures, what makes it verifiable, and where it comes from.

A `Sample` is a document (parts without roles, for pretraining) or a conversation (messages with roles). It names its
pictures by index; a picture is encoded bytes as they came, held in memory or pointed to on disk.
"""

import hashlib
import json
import reprlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from PIL import Image as PILImage
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    FiniteFloat,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from step3vl.data.action import Action
from step3vl.data.config import Config
from step3vl.data.crops import ImageSpec, PictureError
from step3vl.data.pictures import open_picture, to_rgb, upright
from step3vl.data.truth import Truth

SAMPLE_VERSION = 1  # of the row's fields; a field may be added, but none changes its meaning, within one version
Format = Literal["jpeg", "png", "webp", "gif", "bmp", "tiff"]
Kind = Literal["document", "conversation"]
EXTENSION = {"jpeg": "jpg", "png": "png", "webp": "webp", "gif": "gif", "bmp": "bmp", "tiff": "tif"}
# Pillow's names. Phones write MPO, a JPEG with further pictures behind it, of which the first is meant.
FORMAT = {"JPEG": "jpeg", "MPO": "jpeg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "TIFF": "tiff"}
_MOST_PIXELS = ImageSpec().max_pixels  # as many as pictures to the model may have by default; more are not decoded


class Pointer(Config):
    """Bytes at rest: a slice of a file."""

    path: str
    offset: int = Field(ge=0)
    size: int = Field(ge=0)

    def read(self) -> bytes:
        """Raises OSError when the file is gone, ValueError when it is shorter than the slice."""
        with Path(self.path).open("rb") as file:
            file.seek(self.offset)
            data = file.read(self.size)
        if len(data) != self.size:
            raise ValueError(f"{self.path} ends before {self.offset}+{self.size} bytes; the file was cut")
        return data


class Image(Config):
    """An encoded picture. Width and height are as seen, after the EXIF orientation."""

    format: Format
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    at: Pointer | None = None
    data: bytes | None = Field(default=None, repr=False, exclude=True)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Probe and fully decode the bytes once. Raises PictureError, a ValueError, when they are no whole picture."""
        picture = open_picture(data)
        kind = FORMAT.get(picture.format or "")
        if kind is None:
            raise PictureError(f"a {picture.format} picture is not one of {', '.join(EXTENSION)}: save it as PNG")
        width, height = picture.size
        if width * height > _MOST_PIXELS:
            raise PictureError(f"{width} x {height} pixels are more than {_MOST_PIXELS}; shrink or cut it")
        width, height = to_rgb(picture).size
        fields = {"format": kind, "width": width, "height": height, "sha256": hashlib.sha256(data).hexdigest()}
        return cls.model_validate({**fields, "data": data})

    def pointed(self, at: Pointer) -> Self:
        """The same picture with its bytes left at `at`."""
        return self.model_copy(update={"at": at, "data": None})

    def read(self) -> bytes:
        """The encoded bytes, from memory or from where they rest."""
        if self.data is not None:
            return self.data
        if self.at is None:
            raise ValueError(f"image {self.sha256[:12]} has neither bytes nor a pointer to them")
        return self.at.read()

    def open(self) -> PILImage.Image:
        """Decoded, upright, RGB."""
        return upright(self.read())


class TextPart(Config):
    type: Literal["text"] = "text"
    text: str


class ImagePart(Config):
    """`image` is an index into the sample's images."""

    type: Literal["image"] = "image"
    image: int = Field(ge=0)


def _absent(value: object) -> bool:
    """Fields that a sample does not use are left out of rows and ids, so that a new field changes no old id."""
    return value is None or value == ()


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]
Parts = tuple[Part, ...]


def explain(error: ValidationError) -> str:
    """The first mistake of a value, in one line: the field, what is wrong, and what stood there."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    said = first["msg"].removeprefix("Value error, ")
    found = "" if first["type"] in ("value_error", "missing") else f"; found {reprlib.repr(first['input'])}"
    more = error.error_count() - 1
    return f"{where + ': ' if where else ''}{said}{found}" + (f" (and {more} more)" if more else "")


def text(value: str) -> TextPart:
    return TextPart(text=value)


def image(index: int) -> ImagePart:
    return ImagePart(image=index)


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


# A JSON object whose order of keys the model gets to see: rows keep it as JSON text, as OpenAI's `arguments` are kept.
JsonObject = Annotated[
    dict[str, Any],
    BeforeValidator(_parse_object),
    AfterValidator(_is_json),
    PlainSerializer(_dump_object, return_type=str, when_used="json"),
]


class ToolCall(Config):
    """A call of a function that the assistant asks for."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.:/-]+$")
    arguments: JsonObject


class Message(Config):
    """One turn. `reasoning_content` is the thought before an assistant's answer, named as in chat templates.

    A `tool` turn carries what a call gave back, or the next screen of a GUI trajectory. A system turn that is named
    `observation` tells of the world between turns. `loss_weight` None means: the assistant's turns after the last
    user's are trained with weight 1 and earlier ones are not.
    """

    role: Literal["system", "user", "assistant", "tool"]
    content: Parts
    name: Literal["observation"] | None = Field(default=None, exclude_if=_absent)
    reasoning_content: str | None = None
    tool_calls: tuple[ToolCall, ...] = Field(default=(), exclude_if=_absent)
    loss_weight: float | None = Field(default=None, ge=0, allow_inf_nan=False, exclude_if=_absent)

    @model_validator(mode="after")
    def _fits_its_role(self) -> Self:
        of_assistants = {
            "reasoning_content": self.reasoning_content is not None,
            "tool_calls": bool(self.tool_calls),
            "loss_weight": self.loss_weight is not None,
        }
        wrong = [name for name, carried in of_assistants.items() if carried and self.role != "assistant"]
        if wrong:
            raise ValueError(f"a {self.role} message carries {wrong[0]}; only an assistant's may")
        if self.name is not None and self.role != "system":
            raise ValueError(f"a {self.role} message is named {self.name}; only a system message may be")
        return self


class Source(Config):
    """Where a sample comes from: what was read, under which licence, by which builder, from which earlier samples."""

    uri: str
    licence: str
    collected_by: str
    parents: tuple[str, ...] = ()


class TokenCount(Config):
    text: int = Field(ge=0)
    image: int = Field(ge=0)

    @property
    def total(self) -> int:
        return self.text + self.image


class Sample(Config):
    """One training example, version 1. `Sample.make` derives the id from the content."""

    id: str = Field(pattern=r"^[0-9a-f]{32}$")
    domain: str = Field(pattern=r"^[a-z0-9_]+$")
    task: str = Field(pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)*$")
    content: Parts | None = None
    messages: tuple[Message, ...] | None = None
    tools: tuple[JsonObject, ...] = Field(default=(), exclude_if=_absent)
    images: tuple[Image, ...] = ()
    truth: Truth | None = None
    source: Source
    scores: dict[str, FiniteFloat] = Field(default_factory=dict)
    tokens: TokenCount | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.content is None) == (self.messages is None):
            raise ValueError("a sample has either content (a document) or messages (a conversation)")
        if not self.parts():
            raise ValueError("a sample needs at least one part")
        if self.messages is not None:
            if self.messages[-1].role != "assistant":
                raise ValueError(f"messages must end with an assistant's turn, not a {self.messages[-1].role}'s")
            if not any(message.role == "user" for message in self.messages):
                raise ValueError("messages need at least one user turn")
            for before, message in pairwise(self.messages):
                if message.role == "tool" and before.role not in ("assistant", "tool"):
                    raise ValueError(f"a tool turn must follow an assistant's or a tool's, not a {before.role}'s")
            if self.messages[0].role == "tool":
                raise ValueError("messages cannot begin with a tool turn")
        elif self.tools:
            raise ValueError("tools belong to a conversation; a document has none")
        used = [part.image for part in self.parts() if isinstance(part, ImagePart)]
        if used != list(range(len(self.images))):
            raise ValueError(f"image parts must name the {len(self.images)} images once each, in order; found {used}")
        return self

    @classmethod
    def make(
        cls,
        *,
        domain: str,
        task: str,
        source: Source,
        content: Parts | None = None,
        messages: tuple[Message, ...] | None = None,
        tools: tuple[dict[str, Any], ...] = (),
        images: tuple[Image, ...] = (),
        truth: Truth | None = None,
        scores: dict[str, float] | None = None,
    ) -> Self:
        """A validated sample whose id is a hash of its canonical content.

        Source and scores are not content: the same example found twice has the same id.
        """
        sample = cls(
            id="0" * 32,
            domain=domain,
            task=task,
            content=content,
            messages=messages,
            tools=tools,
            images=images,
            truth=truth,
            source=source,
            scores=scores or {},
        )
        return sample.model_copy(update={"id": sample.content_id()})

    def content_id(self) -> str:
        """32 hexadecimal digits of the canonical content: domain, task, parts, tools, pictures' hashes and truth."""
        content = self.model_dump(mode="json", include={"domain", "task", "content", "messages", "tools", "truth"})
        content["images"] = [picture.sha256 for picture in self.images]
        canonical = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.blake2b(canonical.encode(), digest_size=16).hexdigest()

    @property
    def kind(self) -> Kind:
        return "document" if self.messages is None else "conversation"

    def parts(self) -> Parts:
        """Every part in reading order, over all messages."""
        if self.messages is None:
            return self.content or ()
        return tuple(part for message in self.messages for part in message.content)

    def prompt(self) -> tuple[Message, ...]:
        """The conversation without its final answer."""
        if self.messages is None:
            raise ValueError(f"sample {self.id} is a document and has no prompt")
        return self.messages[:-1]

    def answer(self) -> str:
        """The text of the final assistant turn."""
        if self.messages is None:
            raise ValueError(f"sample {self.id} is a document and has no answer")
        return "".join(part.text for part in self.messages[-1].content if isinstance(part, TextPart))

    def to_row(self) -> dict[str, Any]:
        """A JSON-able dict, with pointers to pictures and never their bytes."""
        return self.model_dump(mode="json", exclude_none=True)

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Self:
        """The inverse of `to_row`. Raises ValueError naming the sample, the field and what is wrong with it."""
        try:
            return cls.model_validate(row)
        except ValidationError as error:
            name = row.get("id") if isinstance(row, dict) else None
            raise ValueError(f"sample {name or 'without an id'}: {explain(error)}") from None


def conversation(question: Parts, answer: str, reasoning: str = "", system: str | None = None) -> tuple[Message, ...]:
    """The messages of a single exchange."""
    turns = [] if system is None else [Message(role="system", content=(text(system),))]
    turns.append(Message(role="user", content=question))
    turns.append(Message(role="assistant", content=(text(answer),), reasoning_content=reasoning))
    return tuple(turns)


class GuiStep(NamedTuple):
    """What an agent thought and did on a screen. `screen` is the number of its picture."""

    screen: int
    thought: str
    action: Action


def trajectory(goal: str, steps: Sequence[GuiStep], system: str | None = None) -> tuple[Message, ...]:
    """The messages of a GUI trajectory: the goal with the first screen, then thought and action and the next screen.

    Later screens come as `tool` turns. They ask nothing, so every thought stays in sight and every step is trained.
    """
    turns = [] if system is None else [Message(role="system", content=(text(system),))]
    for number, step in enumerate(steps):
        if number == 0:
            turns.append(Message(role="user", content=(image(step.screen), text(goal))))
        else:
            turns.append(Message(role="tool", content=(image(step.screen),)))
        answer = (text(step.action.to_text()),)
        turns.append(Message(role="assistant", content=answer, reasoning_content=step.thought))
    return tuple(turns)
