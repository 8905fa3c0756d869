"""Reinforcement learning in live environments: real pages, whose reward reaches every answer of an episode."""

import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from step3vl.data.dataset import DeadLetter
from step3vl.data.errors import UserError
from step3vl.data.sample import Action, ImageSpec
from step3vl.data.tokens import train_bpe
from step3vl.inference.agent import PROMPT
from step3vl.pipelines.gui.miniwob.suite import MiniWobSuite
from step3vl.training.rl import episodes
from step3vl.training.rl.collection import Collection
from step3vl.training.rl.config import EnvironmentDataConfig, RLConfig
from step3vl.training.rl.episodes import EpisodeSource, filled
from step3vl.training.rl.rollout import PolicyRollout, RolloutPrompt

ROOT = Path(__file__).parents[3]
WAIT = Action(action="wait")
pytestmark = [pytest.mark.slow, pytest.mark.chromium]


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A wheel with the task click-test alone."""
    path = tmp_path / "miniwob-0-py3-none-any.whl"
    return Path(shutil.copy(ROOT / "data/samples/gui_sets/miniwob/miniwob-0.zip", path))


def configure(wheel: Path, **changes: Any) -> tuple[RLConfig, EnvironmentDataConfig]:
    data = EnvironmentDataConfig(suite="miniwob", path=str(wheel), max_steps=2)
    settings = {
        "output": "out",
        "init": "policy",
        "environments": data,
        "rollout": {"prompts_per_iteration": 1, "rollouts_per_prompt": 2, "max_new_tokens": 8},
        "actor": {"minibatches": 1},
        "critic": {"minibatches": 1},
    }
    return RLConfig.model_validate({**settings, **changes}), data


class AllFit:
    def check(self, prompts: Sequence[RolloutPrompt], max_new_tokens: int) -> list[Exception | None]:
        return [None] * len(prompts)


def test_every_answer_has_the_reward_of_its_episode(
    wheel: Path, image_spec: ImageSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = MiniWobSuite(wheel)
    (click,) = suite.demonstrate("click-test", 0, "train")
    suite.close()
    scripts = [[WAIT, click], [WAIT, WAIT]]  # of the two episodes
    asked: list[int] = []

    def sample(prompts: Sequence[RolloutPrompt], n: int, seed: int) -> list[list[PolicyRollout]]:
        asked.append(len(prompts))
        return [[response(f"</think>{script.pop(0).to_text()}")] for script in scripts]

    monkeypatch.setattr(MiniWobSuite, "concurrency", 2)
    source = EpisodeSource(*configure(wheel), AllFit(), train_bpe([PROMPT], 400), image_spec, 0, 1)
    collection = source.collect(0, sample, 0, lambda name: nullcontext())
    assert asked == [2, 2], "the episodes are played side by side"
    assert collection.rewards == [1.0, 1.0, 0.0, 0.0]
    assert [[grade.verdict for grade in prompt.grades] for prompt in collection.graded] == [["correct", "wrong"]]
    assert [len(prompt.images) for prompt in collection.prompts] == [1, 2, 1, 2]
    assert collection.filling == 0
    assert source.tried(3, 1) == 6, "episodes of three iterations"


def response(text: str) -> PolicyRollout:
    return PolicyRollout((1, 2), (0.0, 0.0), text, "stop", 0)


def test_too_few_responses_are_filled_up_by_untrained_ones(wheel: Path) -> None:
    config, _ = configure(wheel, critic={"minibatches": 2})
    collection = filled(Collection([RolloutPrompt("a", (1,), ())], [[response("")]], [1.0], [], []), config)
    assert (len(collection.prompts), len(collection.rollouts), collection.filling) == (2, 2, 1)
    assert collection.rewards == [1.0, 0.0]


def test_a_rank_without_an_episode_is_filled_by_another_one_and_keeps_its_dead_letters(
    wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, _ = configure(wheel)
    failed = DeadLetter(step="episode", source="click-test/0", error="UserError", reason="Chromium fails")
    example = (RolloutPrompt("a", (1,), ()), [response("other")])
    others = iter([[3], [example]])  # how many responses the other rank has, and one of them
    monkeypatch.setattr(episodes, "gather_interleaved", lambda items: [*items, *next(others)])
    collection = filled(Collection([], [], [], [], [failed]), config)
    assert (collection.prompts, collection.rollouts) == ([example[0]] * 3, [example[1]] * 3)
    assert (collection.filling, collection.failure, collection.dead_letters) == (3, "", [failed])


def test_where_no_rank_has_an_episode_the_collection_says_so_and_keeps_its_dead_letters(wheel: Path) -> None:
    failed = DeadLetter(step="episode", source="click-test/0", error="UserError", reason="Chromium fails")
    collection = filled(Collection([], [], [], [], [failed]), configure(wheel)[0])
    assert collection.failure == "no episode could be played to its end: Chromium fails"
    assert collection.dead_letters == [failed]


def test_ranks_of_a_machine_share_what_it_may_have_open(
    wheel: Path, image_spec: ImageSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MiniWobSuite, "concurrency", 4)
    asked: list[int] = []

    def sample(prompts: Sequence[RolloutPrompt], n: int, seed: int) -> list[list[PolicyRollout]]:
        asked.append(len(prompts))
        return [[response(f"</think>{WAIT.to_text()}")] for _ in prompts]

    config, data = configure(
        wheel, rollout={"rollouts_per_prompt": 4, "prompts_per_iteration": 1, "max_new_tokens": 8}
    )
    source = EpisodeSource(config, data, AllFit(), train_bpe([PROMPT], 400), image_spec, 0, 1)
    for ranks, expected in (("2", [2] * 4), ("8", [1] * 8)):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", ranks)
        asked.clear()
        source.collect(0, sample, 0, lambda name: nullcontext())
        assert asked == expected


def test_tasks_that_do_not_exist_are_reported(wheel: Path, image_spec: ImageSpec) -> None:
    config, data = configure(wheel)
    other = data.model_copy(update={"tasks": ("x",)})
    with pytest.raises(UserError, match=r"no train tasks of x, but click-test: change environments\.tasks"):
        EpisodeSource(config, other, AllFit(), train_bpe([PROMPT], 400), image_spec, 0, 1)
