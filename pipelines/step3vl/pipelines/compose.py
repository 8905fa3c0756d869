"""From a question, an answer and pictures to a sample of either kind; shared by all domains."""

import hashlib
import io
from collections.abc import Sequence
from typing import Annotated

from PIL import Image as PILImage
from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.sample import Image, Kind, Parts, Sample, Source, conversation, image, text
from step3vl.data.truth import Truth

Range = Annotated[tuple[int, int], Field(description="lowest and highest, both included")]
Share = Annotated[tuple[float, float], Field(description="lowest and highest, as fractions")]


class DomainEntry(Config):
    """What every entry of a corpus' `domains` has.

    name: unique in the corpus; the entry's random numbers depend on it and on the corpus' seed.
    kind: `conversation` (user and assistant) or `document` (the same exchange as running text, for pretraining).
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    kind: Kind = "conversation"


def compose(
    *,
    kind: Kind,
    domain: str,
    task: str,
    question: str,
    answer: str,
    truth: Truth,
    source: Source,
    images: Sequence[Image] = (),
    reasoning: str = "",
    scores: dict[str, float] | None = None,
) -> Sample:
    """Pictures, then the question; the answer is the assistant's turn, or follows as plain text in a document."""
    pictures: Parts = tuple(image(index) for index in range(len(images)))
    if kind == "conversation":
        messages = conversation((*pictures, text(question)), answer, reasoning)
        return Sample.make(
            domain=domain,
            task=task,
            messages=messages,
            images=tuple(images),
            truth=truth,
            source=source,
            scores=scores,
        )
    thought = f" {reasoning}" if reasoning else ""
    content: Parts = (*pictures, text(running_text([(question + thought, answer)])))
    return Sample.make(
        domain=domain, task=task, content=content, images=tuple(images), truth=truth, source=source, scores=scores
    )


def running_text(exchanges: Sequence[tuple[str, str]]) -> str:
    """Questions and answers as a document tells them, one exchange a line."""
    return "\n".join(f"Question: {question} Answer: {answer}" for question, answer in exchanges)


def encode_jpeg(picture: PILImage.Image, quality: int = 90) -> Image:
    """Encode a picture that we drew. It needs no decoding check: the same call would have failed."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality, subsampling=0)
    data = buffer.getvalue()
    return Image(
        format="jpeg",
        width=picture.width,
        height=picture.height,
        sha256=hashlib.sha256(data).hexdigest(),
        data=data,
    )
