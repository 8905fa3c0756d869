"""One training example: parts of text and pictures, what makes it verifiable, and where it comes from.

A `Sample` is a document (parts without roles, for pretraining) or a conversation (messages with roles). It names its
pictures by index; a picture is encoded bytes as they came, held in memory or pointed to on disk.
"""

import hashlib
import io
import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from PIL import Image as PILImage
from PIL import ImageOps, UnidentifiedImageError
from pydantic import Field, model_validator

from step3vl.data.config import Config
from step3vl.data.truth import Truth

Format = Literal["jpeg", "png", "webp", "gif", "bmp", "tiff"]
Kind = Literal["document", "conversation"]
EXTENSION = {"jpeg": "jpg", "png": "png", "webp": "webp", "gif": "gif", "bmp": "bmp", "tiff": "tif"}
_TRANSPOSED = {5, 6, 7, 8}  # EXIF orientations that swap width and height
_ORIENTATION = 0x0112


class Pointer(Config):
    """Bytes at rest: a slice of a file."""

    path: str
    offset: int
    size: int

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
    width: int
    height: int
    sha256: str
    at: Pointer | None = None
    data: bytes | None = Field(default=None, repr=False, exclude=True)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Probe and fully decode the bytes once. Raises ValueError with the reason when they are no whole picture."""
        try:
            with PILImage.open(io.BytesIO(data)) as picture:
                kind = (picture.format or "").lower()
                width, height = picture.size
                if picture.getexif().get(_ORIENTATION) in _TRANSPOSED:
                    width, height = height, width
                picture.load()
        except UnidentifiedImageError:
            raise ValueError(f"not a picture in a known format ({len(data)} bytes)") from None
        except (OSError, SyntaxError, ValueError, PILImage.DecompressionBombError) as error:
            raise ValueError(f"picture cannot be decoded: {error}") from None
        if kind not in EXTENSION:
            raise ValueError(f"picture format {kind or 'unknown'} is not one of {', '.join(EXTENSION)}")
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
        return open_image(self.read())


def open_image(data: bytes) -> PILImage.Image:
    """Decode to an upright RGB picture: EXIF orientation applied, alpha dropped."""
    with PILImage.open(io.BytesIO(data)) as picture:
        upright = ImageOps.exif_transpose(picture)
        return upright.convert("RGB")


class TextPart(Config):
    type: Literal["text"] = "text"
    text: str


class ImagePart(Config):
    """`image` is an index into the sample's images."""

    type: Literal["image"] = "image"
    image: int = Field(ge=0)


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]
Parts = tuple[Part, ...]


def text(value: str) -> TextPart:
    return TextPart(text=value)


def image(index: int) -> ImagePart:
    return ImagePart(image=index)


class Message(Config):
    """One turn. `reasoning_content` is the thought before an assistant's answer, named as in chat templates."""

    role: Literal["system", "user", "assistant"]
    content: Parts
    reasoning_content: str | None = None

    @model_validator(mode="after")
    def _only_assistants_think(self) -> Self:
        if self.reasoning_content is not None and self.role != "assistant":
            raise ValueError(f"a {self.role} message carries reasoning_content; only an assistant's may")
        return self


class Source(Config):
    """Where a sample comes from: what was read, under which licence, by which builder, from which earlier samples."""

    uri: str
    licence: str
    collected_by: str
    parents: tuple[str, ...] = ()


class TokenCount(Config):
    text: int
    image: int

    @property
    def total(self) -> int:
        return self.text + self.image


class Sample(Config):
    """See the module. Build one with `Sample.make`, which derives the id from the content."""

    id: str = Field(pattern=r"^[0-9a-f]{32}$")
    domain: str = Field(pattern=r"^[a-z0-9_]+$")
    task: str = Field(pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)*$")
    content: Parts | None = None
    messages: tuple[Message, ...] | None = None
    images: tuple[Image, ...] = ()
    truth: Truth | None = None
    source: Source
    scores: dict[str, float] = Field(default_factory=dict)
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
            images=images,
            truth=truth,
            source=source,
            scores=scores or {},
        )
        return sample.model_copy(update={"id": sample.content_id()})

    def content_id(self) -> str:
        """32 hexadecimal digits of the canonical content: domain, task, parts, pictures' hashes and truth."""
        content = self.model_dump(mode="json", include={"domain", "task", "content", "messages", "truth"})
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
        """The inverse of `to_row`; raises pydantic's ValidationError, which names the field."""
        return cls.model_validate(row)


def conversation(question: Parts, answer: str, reasoning: str = "", system: str | None = None) -> tuple[Message, ...]:
    """The messages of a single exchange."""
    turns = [] if system is None else [Message(role="system", content=(text(system),))]
    turns.append(Message(role="user", content=question))
    turns.append(Message(role="assistant", content=(text(answer),), reasoning_content=reasoning))
    return tuple(turns)
