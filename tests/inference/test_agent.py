"""The agent loop: its conversation is that of the training samples, and what cannot be read is told and counted."""

import io
from typing import NamedTuple

from PIL import Image as PILImage

from step3vl.data.environment import Outcome
from step3vl.data.sample import Action, GuiStep, Image, trajectory
from step3vl.inference.agent import PROMPT, UNPARSABLE, AgentEpisode
from step3vl.pipelines.domains.gui_instructions import FORMAT
from step3vl.pipelines.domains.gui_phrasings import phrasings

CLICK = Action(action="click", point_2d=(500, 250))


class Screen(NamedTuple):
    image: Image


class Lamp:
    """It is lit by two clicks, and asks for its colour when it is lit."""

    goal = "Light the lamp."

    def __init__(self) -> None:
        self.clicks, self.reply = 9, ""

    def reset(self) -> Screen:
        self.clicks = 0
        return self.observe()

    def observe(self) -> Screen:
        buffer = io.BytesIO()
        PILImage.new("RGB", (8, 8), (60 * self.clicks, 0, 0)).save(buffer, "PNG")
        return Screen(Image.from_bytes(buffer.getvalue()))

    def act(self, action: Action) -> None:
        if action.action == "complete":
            self.reply = action.text or ""
        elif action.action == "click":
            self.clicks += 1
        else:
            raise ValueError("no such action")

    def reward(self) -> float | None:
        return 1.0 if self.clicks >= 2 or self.reply == "red" else None


def test_the_conversation_is_that_of_the_samples() -> None:
    episode = AgentEpisode(Lamp(), 9)
    episode.answer(CLICK.to_text(), "It is dark.")
    steps = [GuiStep(0, "It is dark.", CLICK), GuiStep(1, "It glows.", CLICK)]
    expected = trajectory(PROMPT.format(goal=Lamp.goal), steps)
    assert episode.request.messages == expected[:-1]
    assert [image.sha256 for image in episode.request.images] == [image.sha256 for image in episode.images]
    assert len(episode.images) == 2
    episode.answer(f"I click again: {CLICK.to_text()}", "It glows.")
    assert episode.outcome == Outcome(1.0, 2, "done")


def test_the_prompt_is_one_of_the_samples() -> None:
    goals = [phrasing.format(goal="G.") for phrasing in phrasings("trajectory", "en")]
    assert PROMPT.format(goal="G.") in {f"{goal} {form}" for goal in goals for form in FORMAT["en"]}


def test_an_answer_that_cannot_be_read_is_told_and_counts_as_a_step() -> None:
    episode = AgentEpisode(Lamp(), 3)
    for answer in ("", '{"action": "click"}', CLICK.to_text()):
        assert episode.outcome is None
        episode.answer(answer)
    assert episode.outcome == Outcome(0.0, 3, "too_long")
    assert episode.unparsable == 2
    hints = [message.content[0].text for message in episode.messages if message.role == "tool"]
    assert hints == [UNPARSABLE, UNPARSABLE]
    assert len(episode.images) == 1, "the screen is not shown again where nothing happened"


def test_an_answer_in_words_reaches_a_task_that_asks_for_one() -> None:
    for text, reward in (("red", 1.0), ("blue", 0.0)):
        episode = AgentEpisode(Lamp(), 3)
        episode.answer(Action(action="complete", text=text).to_text())
        assert episode.outcome == Outcome(reward, 0, "stopped")


def test_an_action_that_the_environment_lacks_ends_the_episode() -> None:
    episode = AgentEpisode(Lamp(), 3)
    episode.answer('{"action": "wait"}')
    assert episode.outcome == Outcome(0.0, 0, "refused")
