"""An agent: a chat model that sees the screen of an environment and acts on it until the task is done.

The conversation is that of the samples `gui.trajectory`: the goal with the first screen, then reasoning, action and
the next screen in turn, so a model acts as it was trained. Nothing here waits for a model: the caller passes its
answers, from any backend or from a policy that is trained, to `AgentEpisode.answer`.
"""

from typing import NamedTuple

from step3vl.data.environment import Environment, Episode, Observation, Outcome
from step3vl.data.sample import NEEDS, Action, Message, agent_turn, parse_action, screen_turn, text
from step3vl.data.sample.parts import Image
from step3vl.inference.client.requests import Request

PROMPT = (
    "You operate this interface by actions in JSON. {goal} Answer with one action as JSON, such as "
    '{{"action": "click", "point_2d": [x, y]}}, coordinates from 0 to 1000.'
)
"""How a goal is told: one of the phrasings of the samples."""
UNPARSABLE = (
    "That is no action. Answer with one JSON object. The actions and their fields: "
    + "; ".join(f"{name} ({', '.join(sorted(fields)) or 'none'})" for name, fields in NEEDS.items())
    + "."
)
"""What an agent is told whose answer cannot be read; the screen is still the same."""


class AgentStep(NamedTuple):
    """An answer of the agent.

    Attributes:
        screen: The SHA-256 of the screen's image.
        reasoning: Before the answer.
        answer: As it was given.
        action: What was read from it; None for what could not be read.
    """

    screen: str
    reasoning: str
    answer: str
    action: Action | None


class AgentEpisode:
    """An episode of an agent. The environment is reset; calls block as long as the environment takes.

    Args:
        environment: Where it acts.
        max_steps: Answers after which it ends.
    """

    def __init__(self, environment: Environment[Observation], max_steps: int) -> None:
        self._episode = Episode(environment, max_steps)
        self.goal = self._episode.goal
        self.images: list[Image] = [self._episode.screen.image]
        """The screens so far."""
        self.messages: list[Message] = [screen_turn(0, PROMPT.format(goal=self.goal))]
        """The conversation so far."""
        self.steps: list[AgentStep] = []
        """The answers so far."""

    @property
    def outcome(self) -> Outcome | None:
        """How it ended; None while it is under way."""
        return self._episode.outcome

    @property
    def unparsable(self) -> int:
        """Answers that could not be read."""
        return sum(step.action is None for step in self.steps)

    @property
    def request(self) -> Request:
        """What the model is asked next."""
        return Request(tuple(self.messages), tuple(self.images))

    def answer(self, answer: str, reasoning: str = "") -> None:
        """Perform the action of an answer; one that cannot be read counts as a step, and the model is told so."""
        action = parse_action(answer)
        self.steps.append(AgentStep(self.images[-1].sha256, reasoning, answer, action))
        self.messages.append(agent_turn(answer, reasoning))
        self._episode.act(action)
        if self.outcome is not None:
            return
        if action is None:
            self.messages.append(Message(role="tool", content=(text(UNPARSABLE),)))
        else:
            self.images.append(self._episode.screen.image)
            self.messages.append(screen_turn(len(self.images) - 1))
