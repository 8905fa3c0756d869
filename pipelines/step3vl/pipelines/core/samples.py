"""From a question, an answer and images to a sample of either kind; shared by all domains."""

import hashlib
import io
from collections.abc import Sequence

from PIL import Image as PILImage

from step3vl.data.sample import Image, Kind, Parts, Sample, Source, Truth, conversation, image, text


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
    """A sample that asks about its images.

    The images come first, then the question. The answer is the assistant's turn in a conversation, and follows the
    question as plain text in a document.
    """
    image_parts: Parts = tuple(image(index) for index in range(len(images)))
    if kind == "conversation":
        return Sample.make(
            domain=domain,
            task=task,
            messages=conversation((*image_parts, text(question)), answer, reasoning),
            images=tuple(images),
            truth=truth,
            source=source,
            scores=scores,
        )
    prompt = f"{question} {reasoning}" if reasoning else question
    content: Parts = (*image_parts, text(running_text([(prompt, answer)])))
    return Sample.make(
        domain=domain, task=task, content=content, images=tuple(images), truth=truth, source=source, scores=scores
    )


def running_text(exchanges: Sequence[tuple[str, str]]) -> str:
    """Questions and answers as running text, one exchange a line."""
    return "\n".join(f"Question: {question} Answer: {answer}" for question, answer in exchanges)


def encode_jpeg(rendering: PILImage.Image, quality: int = 90) -> Image:
    """Encode a rendered image. It needs no decoding check: the same call would have failed."""
    buffer = io.BytesIO()
    rendering.save(buffer, "JPEG", quality=quality, subsampling=0)
    data = buffer.getvalue()
    return Image(
        format="jpeg",
        width=rendering.width,
        height=rendering.height,
        sha256=hashlib.sha256(data).hexdigest(),
        data=data,
    )
