"""An encoded image, and a sample whose fields a test changes."""

import io
from collections.abc import Callable

import pytest
from PIL import Image as PILImage

from step3vl.data.sample.conversations import conversation
from step3vl.data.sample.parts import Image, image, text
from step3vl.data.sample.sample import Sample, Source
from step3vl.data.sample.truth import CountTruth


def encode(size: tuple[int, int] = (20, 10)) -> bytes:
    buffer = io.BytesIO()
    PILImage.new("RGB", size, (200, 30, 30)).save(buffer, "JPEG")
    return buffer.getvalue()


def make(answer: str = "3", **changes: object) -> Sample:
    fields: dict = {
        "domain": "counting",
        "task": "counting.icons",
        "messages": conversation((image(0), text("How many?")), answer),
        "images": (Image.from_bytes(encode()),),
        "truth": CountTruth(count=3),
        "source": Source(uri="test:1", licence="CC0-1.0", collected_by="tests"),
    }
    return Sample.make(**{**fields, **changes})


@pytest.fixture(scope="session")
def encoded() -> Callable[..., bytes]:
    """encoded(size): a JPEG."""
    return encode


@pytest.fixture(scope="session")
def sample() -> Callable[..., Sample]:
    """sample(answer, **changes): one question about one image, with other fields where a test gives them."""
    return make
