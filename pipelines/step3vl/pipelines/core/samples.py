"""From a question, an answer and images to a sample of either kind; shared by all domains."""

import hashlib
import io
import random
from collections.abc import Iterator, Sequence

from PIL import Image as PILImage

from step3vl.data.sample import Image, Kind, Parts, Sample, Source, TextPart, Truth, conversation, image, text


def compose(
    *,
    kind: Kind,
    domain: str,
    task: str,
    question: str,
    answer: str,
    truth: Truth | None,
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


def encode_rendering(png: bytes, jpeg: float, rng: random.Random) -> Image:
    """A rendered image as it is, or now and then as JPEG, as images are in the wild.

    Args:
        png: The encoded image.
        jpeg: How often, 0..1; the quality is random between 60 and 95.
        rng: Random numbers.
    """
    if rng.random() < jpeg:
        with PILImage.open(io.BytesIO(png)) as rendering:
            return encode_jpeg(rendering.convert("RGB"), quality=rng.randint(60, 95))
    with PILImage.open(io.BytesIO(png)) as rendering:  # the header alone
        width, height = rendering.size
    return Image(format="png", width=width, height=height, sha256=hashlib.sha256(png).hexdigest(), data=png)


def question_of(sample: Sample) -> str:
    """The text of the first message of a conversation; nothing of a document."""
    content = sample.messages[0].content if sample.messages else ()
    return "".join(part.text for part in content if isinstance(part, TextPart))


def texts_of(sample: Sample) -> Iterator[str]:
    """The texts that a sample is counted and a tokenizer trained by: those of its parts, and its reasoning."""
    yield from (part.text for part in sample.parts() if isinstance(part, TextPart))
    yield from (message.reasoning_content for message in sample.messages or () if message.reasoning_content)
