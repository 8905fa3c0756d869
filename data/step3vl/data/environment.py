"""The interface of live environments: something that shows a screen, takes actions, and says how well they did.

Recorders, evaluation and reinforcement learning use it alike. `step3vl.pipelines.gui` has environments of web pages.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

from step3vl.data.sample.action import Action
from step3vl.data.sample.parts import Image


class Observation(Protocol):
    """What is seen at one moment."""

    @property
    def image(self) -> Image:
        """Of the screen."""


ObservationT_co = TypeVar("ObservationT_co", bound=Observation, covariant=True)
ObservationT = TypeVar("ObservationT", bound=Observation)


class Environment(Protocol[ObservationT_co]):
    """A task on a screen."""

    @property
    def goal(self) -> str:
        """What is to be done, for who acts."""

    def reset(self) -> ObservationT_co:
        """Begin from scratch, each time in the same state."""

    def observe(self) -> ObservationT_co:
        """The screen as it is."""

    def act(self, action: Action) -> None:
        """Perform an action.

        Raises:
            ValueError: The environment has no such action.
        """

    def reward(self) -> float | None:
        """How well the task is done, 1 for wholly; None while it is neither done nor failed."""


class Outcome(NamedTuple):
    """How an episode ended.

    Attributes:
        reward: 0 for one that did not end by itself.
        steps: How many actions were performed.
        reason: `done`, `stopped` (by the actions `complete` and `abort`), `too_long`, or `refused` (an action that the
            environment does not have).
    """

    reward: float
    steps: int
    reason: str


def run_episode(
    environment: Environment[ObservationT], choose: Callable[[str, ObservationT], Action], max_steps: int
) -> Outcome:
    """Let somebody act until the task is done.

    Args:
        environment: Is reset first.
        choose: The action on a screen, from the goal and what is seen.
        max_steps: Of actions.
    """
    screen = environment.reset()
    for number in range(max_steps):
        action = choose(environment.goal, screen)
        if action.action in ("complete", "abort"):
            return Outcome(environment.reward() or 0.0, number, "stopped")
        try:
            environment.act(action)
        except ValueError:
            return Outcome(0.0, number, "refused")
        reward = environment.reward()
        if reward is not None:
            return Outcome(reward, number + 1, "done")
        screen = environment.observe()
    return Outcome(0.0, max_steps, "too_long")
