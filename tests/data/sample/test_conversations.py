"""Builders of messages."""

from collections.abc import Callable

from step3vl.data.sample.action import Action
from step3vl.data.sample.conversations import GuiStep, trajectory
from step3vl.data.sample.parts import Image, image, text
from step3vl.data.sample.sample import Sample


def test_trajectory_shows_each_screen_before_its_action(
    sample: Callable[..., Sample], encoded: Callable[..., bytes]
) -> None:
    screens = tuple(Image.from_bytes(encoded((20, 10 + number))) for number in range(3))
    steps = [GuiStep(number, f"reasoning {number}", Action(action="wait")) for number in range(3)]
    built = sample(messages=trajectory("Open it.", steps, system="Act."), images=screens)
    assert [message.role for message in built.messages] == ["system", "user", *["assistant", "tool"] * 2, "assistant"]
    assert built.messages[1].content == (image(0), text("Open it."))
    assert built.messages[3].content == (image(1),)
    assert built.answer() == '{"action": "wait"}'
