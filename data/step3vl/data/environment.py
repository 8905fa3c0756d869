"""The interface of live environments: something that shows a screen, takes actions, and says how well they did.

Recorders, evaluation and reinforcement learning use it alike. `step3vl.pipelines.gui` has environments of web pages;
an installed package names its suites of them in the entry-point group `step3vl.environments`.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from importlib.metadata import entry_points
from pathlib import Path
from typing import Generic, NamedTuple, Protocol, TypeVar

from step3vl.data.dataset.manifest import Split
from step3vl.data.errors import UserError, describe_error
from step3vl.data.sample.action import Action
from step3vl.data.sample.parts import Image

GROUP = "step3vl.environments"
"""The entry-point group in which packages name suites: what makes a `Suite` of the path of its files."""


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
        """What the agent is to do; known after `reset`."""

    def reset(self) -> ObservationT_co:
        """Begin from scratch, each time in the same state."""

    def observe(self) -> ObservationT_co:
        """The screen as it is."""

    def act(self, action: Action) -> None:
        """Perform an action. `complete` and `abort` end an episode, whether the environment has them or not.

        Raises:
            ValueError: The environment has no such action.
        """

    def reward(self) -> float | None:
        """How well the task is done, 1 for wholly; None while it is neither done nor failed."""


class Suite(Protocol):
    """Tasks that are opened as environments, each in any number of instances. Threads may share it."""

    @property
    def fingerprint(self) -> str:
        """A hash of what the environments are made of."""

    @property
    def concurrency(self) -> int:
        """How many environments this machine may have open at a time."""

    def tasks(self, split: Split) -> tuple[str, ...]:
        """The names of the tasks of a split, sorted. Those that are held out alone are trained on in no instance."""

    def check(self) -> None:
        """Raise a UserError that says what is missing on this machine to open an environment."""

    def close(self) -> None:
        """Release what environments have used, such as browsers."""

    def open(self, task: str, number: int, split: Split) -> AbstractContextManager[Environment[Observation]]:
        """An instance of a task, not yet reset.

        Args:
            task: One of `tasks`.
            number: Of the instance, from 0; instances of the two splits differ.
            split: Whose instance it is.
        """


def load_suite(name: str, path: Path) -> Suite:
    """The suite of a name.

    Args:
        name: Of an entry point of the group `step3vl.environments`.
        path: The file or folder that its environments are made of.

    Raises:
        UserError: No installed package has such a suite, or the path holds none.
    """
    plugins = {plugin.name: plugin for plugin in entry_points(group=GROUP)}
    if name not in plugins:
        raise UserError(
            f"no installed package has the environments '{name}'; there are: {', '.join(sorted(plugins)) or 'none'}. "
            "Install step3vl again (`make setup`) if it was installed before it had them"
        )
    try:
        make: Callable[[Path], Suite] = plugins[name].load()
    except ImportError as error:
        raise UserError(
            f"the environments '{name}' cannot be loaded ({describe_error(error)}); install what they need: "
            "pip install 'step3vl[pipelines]'"
        ) from error
    return make(path)


class Outcome(NamedTuple):
    """How an episode ended.

    Attributes:
        reward: 0 for one that did not end by itself.
        steps: How many actions were performed, those among them that could not be read.
        reason: `done`, `stopped` (by the actions `complete` and `abort`), `too_long`, or `refused` (an action that the
            environment does not have).
    """

    reward: float
    steps: int
    reason: str


class Episode(Generic[ObservationT]):
    """A task that an agent works on until it has ended.

    Args:
        environment: Is reset first.
        max_steps: Of actions.
    """

    def __init__(self, environment: Environment[ObservationT], max_steps: int) -> None:
        self._environment, self._max_steps = environment, max_steps
        self._steps = 0
        self.screen = environment.reset()
        """The newest."""
        self.goal = environment.goal
        self.outcome: Outcome | None = None
        """Once it has ended."""

    def act(self, action: Action | None) -> None:
        """Perform an action, and look at what it has led to.

        Args:
            action: None for an attempt that is no action: it counts as a step, and nothing happens.
        """
        if action is not None:
            self._perform(action)
        else:
            self._steps += 1
        if self.outcome is None and self._steps >= self._max_steps:
            self.outcome = Outcome(0.0, self._steps, "too_long")

    def _perform(self, action: Action) -> None:
        if action.action in ("complete", "abort"):
            with suppress(ValueError):  # only a task that asks for something has to do with it
                self._environment.act(action)
            self.outcome = Outcome(self._environment.reward() or 0.0, self._steps, "stopped")
            return
        try:
            self._environment.act(action)
        except ValueError:
            self.outcome = Outcome(0.0, self._steps, "refused")
            return
        self._steps += 1
        reward = self._environment.reward()
        if reward is not None:
            self.outcome = Outcome(reward, self._steps, "done")
        else:
            self.screen = self._environment.observe()


def run_episode(
    environment: Environment[ObservationT], choose: Callable[[str, ObservationT], Action], max_steps: int
) -> Outcome:
    """Let somebody act until the task is done.

    Args:
        environment: Is reset first.
        choose: The action on a screen, from the goal and what is seen.
        max_steps: Of actions.
    """
    episode = Episode(environment, max_steps)
    while episode.outcome is None:
        episode.act(choose(episode.goal, episode.screen))
    return episode.outcome
