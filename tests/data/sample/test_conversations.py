"""Builders of messages."""

import io

from PIL import Image as PILImage

from step3vl.data.sample.action import Action
from step3vl.data.sample.conversations import GuiStep, conversation, trajectory
from step3vl.data.sample.parts import Image, image, text
from step3vl.data.sample.sample import Sample, Source
from step3vl.data.sample.truth import CountTruth

SOURCE = Source(uri="test:1", licence="CC0-1.0", collected_by="tests")


def encoded(size: tuple[int, int] = (20, 10), format: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    PILImage.new("RGB", size, (200, 30, 30)).save(buffer, format, **options)
    return buffer.getvalue()


def sample(answer: str = "3", **changes: object) -> Sample:
    fields: dict = {
        "domain": "counting",
        "task": "counting.icons",
        "messages": conversation((image(0), text("How many?")), answer),
        "images": (Image.from_bytes(encoded()),),
        "truth": CountTruth(count=3),
        "source": SOURCE,
    }
    return Sample.make(**{**fields, **changes})


def test_trajectory_shows_each_screen_before_its_action() -> None:
    screens = tuple(Image.from_bytes(encoded((20, 10 + number))) for number in range(3))
    steps = [GuiStep(number, f"reasoning {number}", Action(action="wait")) for number in range(3)]
    built = sample(messages=trajectory("Open it.", steps, system="Act."), images=screens)
    assert [message.role for message in built.messages] == ["system", "user", *["assistant", "tool"] * 2, "assistant"]
    assert built.messages[1].content == (image(0), text("Open it."))
    assert built.messages[3].content == (image(1),)
    assert built.answer() == '{"action": "wait"}'
