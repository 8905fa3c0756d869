"""Episodes in live environments as what the policy learns from: each answer is a response, rewarded as its episode is.

The episodes of a rank are played side by side, as many as its share of what the machine may have open at a time:
their prompts are answered together, then each acts. Ranks ask the policy equally often, until the episodes of all of
them have ended.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from step3vl.data.dataset import DeadLetter, Split
from step3vl.data.environment import load_suite
from step3vl.data.errors import UserError
from step3vl.data.sample import Image, ImageSpec
from step3vl.data.tokens import encode_prompt, parse_reply
from step3vl.grading import Grade
from step3vl.grading.verdicts import UNPARSABLE
from step3vl.inference.agent import AgentEpisode
from step3vl.training.distributed import gather_interleaved, global_sums, ranks_here
from step3vl.training.loader import dead_letter_of
from step3vl.training.rl.collection import Collection, Sampler, Timer
from step3vl.training.rl.config import EnvironmentDataConfig, RLConfig
from step3vl.training.rl.prompt_source import PromptChecker
from step3vl.training.rl.rewards import PromptGrades
from step3vl.training.rl.rollout import PolicyRollout, RolloutPrompt


@dataclass
class _Play:
    """An episode while it is played, and what the policy was asked and answered in it."""

    task: str
    number: int
    episode: AgentEpisode | None = None
    prompts: list[RolloutPrompt] = field(default_factory=list)
    rollouts: list[PolicyRollout] = field(default_factory=list)
    error: DeadLetter | None = None

    @property
    def name(self) -> str:
        return f"{self.task}/{self.number}"

    @property
    def active(self) -> bool:
        return self.error is None and self.episode is not None and self.episode.outcome is None

    @property
    def grade(self) -> Grade:
        """Of the episode: its reward within 0 to 1; unparsable where no answer could be read."""
        assert self.episode is not None and self.episode.outcome is not None
        if self.episode.unparsable == len(self.episode.steps):
            return UNPARSABLE
        reward = min(1.0, max(0.0, self.episode.outcome.reward))
        return Grade(reward, "correct" if reward == 1 else "wrong")

    def fail(self, error: Exception) -> None:
        self.error = dead_letter_of(error, step="episode", position=self.name)


class EpisodeSource:
    """Tasks of a suite of environments.

    Args:
        config: The run.
        data: The environments.
        checker: The rollout worker.
        tokenizer: Of the model.
        spec: Image sizes and limits of the model.
        rank: Number of this rank.
        world: Number of ranks.

    Raises:
        UserError: The environments cannot be opened on this machine, or there is no such task.
    """

    section = "environments"

    def __init__(
        self,
        config: RLConfig,
        data: EnvironmentDataConfig,
        checker: PromptChecker,
        tokenizer: Tokenizer,
        spec: ImageSpec,
        rank: int,
        world: int,
    ) -> None:
        self._config, self._data, self._rank, self._world = config, data, rank, world
        self._checker, self._tokenizer, self._spec = checker, tokenizer, spec
        self._suite = load_suite(data.suite, Path(data.path))
        self._suite.check()
        self.origin = {data.path: self._suite.fingerprint}
        self.max_unreadable = data.max_unreadable
        self._tasks = {split: self._selected(split) for split in ("train", "heldout")}

    def _selected(self, split: Split) -> list[str]:
        names = self._suite.tasks(split)
        selected = [name for name in names if any(fnmatchcase(name, pattern) for pattern in self._data.tasks)]
        if not selected:
            raise UserError(
                f"{self._data.path} has no {split} tasks of {', '.join(self._data.tasks)}, but {', '.join(names)}: "
                "change environments.tasks"
            )
        return selected

    def tried(self, iterations: int, unusable: int) -> int:
        rollout = self._config.rollout
        return iterations * rollout.prompts_per_iteration * rollout.rollouts_per_prompt

    def collect(self, iteration: int, sample: Sampler, seed: int, timer: Timer) -> Collection:
        rollout, tasks = self._config.rollout, self._tasks["train"]
        count = rollout.prompts_per_iteration
        positions = range(iteration * count, (iteration + 1) * count)[self._rank :: self._world]
        instances = [(tasks[position % len(tasks)], position // len(tasks)) for position in positions]
        with timer("generate"):
            plays = self._play(instances, rollout.rollouts_per_prompt, "train", sample, seed)
        return filled(_collection(plays, rollout.rollouts_per_prompt), self._config)

    def evaluate(self, sample: Sampler, seed: int) -> Collection:
        config = self._config.evaluation
        instances = [(task, number) for task in self._tasks["heldout"] for number in range(config.prompts_per_task)]
        mine = instances[self._rank :: self._world]
        return _collection(
            self._play(mine, config.rollouts_per_prompt, "heldout", sample, seed), config.rollouts_per_prompt
        )

    def _play(
        self, instances: Sequence[tuple[str, int]], n: int, split: Split, sample: Sampler, seed: int
    ) -> list[_Play]:
        """Play each instance n times, one after the other those of one instance."""
        plays = [_Play(task, number) for task, number in instances for _ in range(n)]
        share = max(1, self._suite.concurrency // ranks_here())
        at_once = min(gather_interleaved([share]))  # the same on ranks of different machines
        calls = 0
        for start in range(0, _most(len(plays)), at_once):
            wave = plays[start : start + at_once]
            with ExitStack() as stack:
                for play in wave:
                    self._open(play, split, stack)
                while global_sums(sum(play.active for play in wave))[0]:
                    stream = int(np.random.SeedSequence([seed, calls]).generate_state(1)[0])
                    self._step([play for play in wave if play.active], sample, stream)
                    calls += 1
        self._suite.close()  # browsers would take the memory that training needs
        return plays

    def _open(self, play: _Play, split: Split, stack: ExitStack) -> None:
        try:
            environment = stack.enter_context(self._suite.open(play.task, play.number, split))
            play.episode = AgentEpisode(environment, self._data.max_steps)
        except UserError as error:
            play.fail(error)

    def _step(self, plays: Sequence[_Play], sample: Sampler, seed: int) -> None:
        """One answer of each episode; those whose prompt is too long fail."""
        prompts = [self._prompt(play) for play in plays]
        errors = self._checker.check(prompts, self._config.rollout.max_new_tokens)
        asked = []
        for play, prompt, error in zip(plays, prompts, errors, strict=True):
            if error is not None:
                play.fail(error)
            else:
                asked.append((play, prompt))
        answers = sample([prompt for _, prompt in asked], 1, seed)
        for (play, prompt), (rollout,) in zip(asked, answers, strict=True):
            play.prompts.append(prompt)
            play.rollouts.append(rollout)
            reply = parse_reply(rollout.text)
            assert play.episode is not None
            try:
                play.episode.answer(reply.answer.strip(), reply.reasoning)
            except UserError as failure:
                play.fail(failure)

    def _prompt(self, play: _Play) -> RolloutPrompt:
        assert play.episode is not None
        request = play.episode.request
        images = tuple(image for image in request.images if isinstance(image, Image))
        sizes = [(image.width, image.height) for image in images]
        token_ids = encode_prompt(request.messages, sizes, self._tokenizer, self._spec)
        return RolloutPrompt(play.name, tuple(token_ids.tolist()), images)


def _most(count: int) -> int:
    """The largest count of any rank. All ranks call it."""
    return max(gather_interleaved([count]))


def _collection(plays: Sequence[_Play], n: int) -> Collection:
    """The responses of all episodes that have ended, and a grade of each of these."""
    ended = [play for play in plays if play.error is None]
    graded = []
    for start in range(0, len(plays), n):
        group = [play for play in plays[start : start + n] if play.error is None]
        if group:
            grades = tuple(play.grade for play in group)
            graded.append(PromptGrades(group[0].name, group[0].task, grades))
    return Collection(
        prompts=[prompt for play in ended for prompt in play.prompts],
        rollouts=[[rollout] for play in ended for rollout in play.rollouts],
        rewards=[play.grade.value for play in ended for _ in play.rollouts],
        graded=graded,
        dead_letters=[play.error for play in plays if play.error is not None],
    )


def filled(collection: Collection, config: RLConfig) -> Collection:
    """The collection with as many responses as the rank with most has, for all make the same number of passes.

    A rank none of whose episodes has ended is filled with a response of another one. All ranks call it.

    Returns:
        The collection, with a failure where no episode of any rank has ended.
    """
    count = len(collection.prompts)
    counts = gather_interleaved([count])
    if not max(counts):
        last = collection.dead_letters[-1].reason if collection.dead_letters else "there are none"
        return replace(collection, failure=f"no episode could be played to its end: {last}")
    example = next(zip(collection.prompts, collection.rollouts, strict=True), None)
    if not min(counts):
        example = next(each for each in gather_interleaved([example]) if each is not None)
    assert example is not None
    prompt, rollouts = example
    filling = max(*counts, config.actor.minibatches, config.critic.minibatches) - count
    return replace(
        collection,
        prompts=collection.prompts + [prompt] * filling,
        rollouts=collection.rollouts + [rollouts] * filling,
        rewards=collection.rewards + [0.0] * filling,
        filling=filling,
    )
