"""A sample as filters see it, and what they find."""

import io
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

from PIL import Image as PILImage
from pydantic import TypeAdapter

from step3vl.data.config import Config
from step3vl.data.sample import Image
from step3vl.data.sample.truth import Truth

_TRUTH: TypeAdapter[Truth] = TypeAdapter(Truth)


class Finding(NamedTuple):
    """Why a sample is dropped.

    Attributes:
        reason: The word that the ledger counts by.
        value: What was measured.
        limit: The bound that it is beyond.
        detail: Where and what, in a few words.
    """

    reason: str
    value: float = 1.0
    limit: float = 0.0
    detail: str = ""


@dataclass(frozen=True)
class SampleView:
    """A sample that is filtered.

    Attributes:
        row: The JSON of a shard. It was validated as it was written, so no `Sample` is made of it.
        images: Decoded, upright and RGB; empty where no filter looks at them.
        scores: What filters measured that a sample is kept with, by name.
    """

    row: Mapping[str, Any]
    images: Sequence[PILImage.Image] = ()
    scores: dict[str, float] = field(default_factory=dict)

    @cached_property
    def text(self) -> str:
        """All texts in reading order, with the reasoning."""
        return "\n".join(self._texts())

    def _texts(self) -> Iterator[str]:
        if "messages" not in self.row:
            yield parts_text(self.row["content"])
            return
        for message in self.row["messages"]:
            if reasoning := message.get("reasoning_content"):
                yield reasoning
            yield parts_text(message["content"])

    @cached_property
    def encoded(self) -> list[Image]:
        """The decoded images as PNG, for models on servers."""
        images = []
        for image in self.images:
            buffer = io.BytesIO()
            image.save(buffer, "PNG")
            images.append(Image.from_bytes(buffer.getvalue()))
        return images

    @cached_property
    def truth(self) -> Truth | None:
        """What makes the answer verifiable; None for a sample without it."""
        truth = self.row.get("truth")
        return None if truth is None else _TRUTH.validate_python(truth)

    @cached_property
    def question(self) -> str:
        """The texts of the user's turns; empty for a document."""
        messages = self.row.get("messages", ())
        return "\n".join(parts_text(message["content"]) for message in messages if message["role"] == "user")


def parts_text(parts: Sequence[Mapping[str, Any]]) -> str:
    """The texts among parts."""
    return "\n".join(part["text"] for part in parts if part["type"] == "text")


class Filter(Config):
    """A filter with its thresholds."""

    needs_images: ClassVar[bool] = False

    @abstractmethod
    def find(self, sample: SampleView) -> Finding | None:
        """Why a sample is dropped; None for one that passes."""
