"""What an iteration learns from: responses of the policy with their rewards, and where they come from."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Protocol

from tokenizers import Tokenizer

from step3vl.data.dataset import Dataset, DeadLetter
from step3vl.data.sample import ImageSpec
from step3vl.training.rl.config import PromptDataConfig, RLConfig
from step3vl.training.rl.prompt_source import NoUsablePromptError, PreparedPrompts, PromptChecker, PromptSource
from step3vl.training.rl.prompts import PromptPool
from step3vl.training.rl.rewards import PromptGrades, grade_rollouts
from step3vl.training.rl.rollout import PolicyRollout, RolloutPrompt


class Sampler(Protocol):
    """Samples responses with the worker of this rank. All ranks call it equally often."""

    def __call__(self, prompts: Sequence[RolloutPrompt], n: int, seed: int) -> list[list[PolicyRollout]]:
        """`n` responses to each prompt."""
        ...


class Timer(Protocol):
    """Measures parts of an iteration by name."""

    def __call__(self, name: str) -> AbstractContextManager[None]: ...


@dataclass(frozen=True)
class Collection:
    """The responses of this rank."""

    prompts: list[RolloutPrompt]
    """What was answered."""
    rollouts: list[list[PolicyRollout]]
    """Responses to each of them."""
    rewards: list[float]
    """One for each response, in the order of the prompts."""
    graded: list[PromptGrades]
    """What metrics are made of: the grades of each sample or task."""
    dead_letters: list[DeadLetter]
    """What could not be used."""
    filling: int = 0
    """How many of the last prompts only make up the number that all ranks have, and are not trained."""
    failure: str = ""
    """Why this rank cannot continue; the run ends once the dead letters are written."""


class RolloutSource(Protocol):
    """Where an iteration's responses come from."""

    @property
    def origin(self) -> Mapping[str, str]:
        """The address and the fingerprint of the data."""

    @property
    def section(self) -> str:
        """The part of the configuration that describes it."""

    @property
    def max_unreadable(self) -> float:
        """The share that may be unusable before the run stops."""

    def tried(self, iterations: int, unusable: int) -> int:
        """How many prompts or episodes all ranks have tried in a number of iterations, unusable ones included."""

    def collect(self, iteration: int, sample: Sampler, seed: int, timer: Timer) -> Collection:
        """The responses of an iteration, a function of its number, the seed and the policy."""

    def evaluate(self, sample: Sampler, seed: int) -> Collection:
        """Responses to what is held out, always the same."""


class DatasetSource:
    """Questions of a dataset, graded by their truths.

    Args:
        config: The run.
        data: The dataset.
        checker: The rollout worker.
        tokenizer: Of the model.
        spec: Image sizes and limits of the model.
        rank: Number of this rank.
        world: Number of ranks.

    Raises:
        UserError: The dataset has no such prompts.
    """

    section = "data"

    def __init__(
        self,
        config: RLConfig,
        data: PromptDataConfig,
        checker: PromptChecker,
        tokenizer: Tokenizer,
        spec: ImageSpec,
        rank: int,
        world: int,
    ) -> None:
        dataset = Dataset.open(data.dataset)
        self._config, self._rank, self._world = config, rank, world
        self._prompts = PromptPool(dataset, "train", data.tasks, config.seed)
        self._heldout = PromptPool(dataset, "heldout", data.tasks, config.seed)
        self._source = PromptSource(checker, tokenizer, spec, config.rollout.max_new_tokens)
        self.origin = {dataset.url: dataset.fingerprint}
        self.max_unreadable = data.max_unreadable

    def tried(self, iterations: int, unusable: int) -> int:
        return iterations * self._config.rollout.prompts_per_iteration + unusable  # which others have replaced

    def collect(self, iteration: int, sample: Sampler, seed: int, timer: Timer) -> Collection:
        rollout = self._config.rollout
        count = rollout.prompts_per_iteration
        failure = ""
        with timer("prompts"):
            try:
                selected = self._source.select(self._prompts, iteration * count, count, self._rank, self._world)
            except NoUsablePromptError as error:
                selected, failure = PreparedPrompts([], [], error.dead_letters), str(error)
        with timer("generate"):
            rollouts = sample(selected.prompts, rollout.rollouts_per_prompt, seed)
        return replace(_graded(selected, rollouts), failure=failure)

    def evaluate(self, sample: Sampler, seed: int) -> Collection:
        config = self._config.evaluation
        rows = self._heldout.first_of_each_task(config.prompts_per_task)[self._rank :: self._world]
        prepared = self._source.prepare(self._heldout, rows)
        return _graded(prepared, sample(prepared.prompts, config.rollouts_per_prompt, seed))


def _graded(prepared: PreparedPrompts, rollouts: list[list[PolicyRollout]]) -> Collection:
    graded = grade_rollouts(prepared.samples, rollouts)
    rewards = [grade.value for prompt in graded for grade in prompt.grades]
    return Collection(prepared.prompts, rollouts, rewards, graded, prepared.dead_letters)
