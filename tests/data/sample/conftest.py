"""An encoded image, and a sample whose fields a test changes."""

from collections.abc import Callable

import pytest

from step3vl.data.sample.conversations import conversation
from step3vl.data.sample.parts import Image, image, text
from step3vl.data.sample.sample import Sample, Source
from step3vl.data.sample.truth import CountTruth


@pytest.fixture(scope="session")
def encoded(encoded_image: Callable[..., bytes]) -> Callable[..., bytes]:
    """encoded(size): a JPEG."""
    return lambda size=(20, 10): encoded_image((200, 30, 30), size, "JPEG")


@pytest.fixture(scope="session")
def sample(encoded: Callable[..., bytes]) -> Callable[..., Sample]:
    """sample(answer, **changes): one question about one image, with other fields where a test gives them."""

    def sample(answer: str = "3", **changes: object) -> Sample:
        fields: dict = {
            "domain": "counting",
            "task": "counting.icons",
            "messages": conversation((image(0), text("How many?")), answer),
            "images": (Image.from_bytes(encoded()),),
            "truth": CountTruth(count=3),
            "source": Source(uri="test:1", licence="CC0-1.0", collected_by="tests"),
        }
        return Sample.make(**{**fields, **changes})

    return sample
