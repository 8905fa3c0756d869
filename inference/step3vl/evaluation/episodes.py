"""Benchmarks of tasks in live environments: a response is a whole episode of an agent, as JSON.

The environments are suites of installed packages (`step3vl.data.environment`); `play` lets a model act in them.
`apps:FOLDER` names the web apps of a folder, such as `apps:data/samples/web_apps`.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from step3vl.data.config import Config
from step3vl.data.environment import Suite, load_suite
from step3vl.data.errors import UserError
from step3vl.data.sample import Action
from step3vl.evaluation.benchmark import About, Benchmark, Rule
from step3vl.evaluation.files import find
from step3vl.evaluation.item import Item, Metrics, Score, Scored, by_category, mean_percent
from step3vl.evaluation.prompts import user_message
from step3vl.inference.agent import PROMPT, AgentEpisode

APPS = "apps:"
SCREENS = "screens"
"""The folder of a run in which the screens are, each once, by the SHA-256 of its image."""
HELD_OUT, OTHERS = "held-out tasks", "other instances of recorded tasks"


class PlayedStep(Config):
    """An answer of the agent."""

    screen: str
    """SHA-256 of the image that it saw."""
    reasoning: str
    answer: str
    action: Action | None
    """What was read from the answer; None for what could not be read."""


class PlayedEpisode(Config):
    """What became of a task: the text of a response."""

    goal: str
    reward: float
    reason: str
    """See `step3vl.data.environment.Outcome`."""
    steps: tuple[PlayedStep, ...]

    @classmethod
    def of(cls, episode: AgentEpisode) -> "PlayedEpisode":
        """The record of an episode that has ended."""
        assert episode.outcome is not None
        steps = tuple(PlayedStep(**step._asdict()) for step in episode.steps)
        return cls(goal=episode.goal, reward=episode.outcome.reward, reason=episode.outcome.reason, steps=steps)


class EpisodeBenchmark(Benchmark):
    """Tasks in live environments. Only a reward of 1 is success.

    Attributes:
        suite_name: Of the environments.
        instances: Of each task.
        max_steps: Answers after which an episode ends.
    """

    suite_name: str
    instances: int
    max_steps: int

    def path(self, data: Path) -> Path:
        """What the environments are made of: the first official file. Raises UserError where it is missing."""
        return find(data, self.about.files[0].name, self.about)

    def suite(self, data: Path) -> Suite:
        """The environments. Raises UserError where they cannot be had."""
        return load_suite(self.suite_name, self.path(data))

    def settings(self, suite: Suite) -> dict[str, Any]:
        """What episodes depend on, beside the model and its sampling."""
        return {"fingerprint": suite.fingerprint, "max_steps": self.max_steps, "prompt": PROMPT}

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        """The instances of all tasks. What they ask is known when they are opened."""
        suite = self.suite(data)
        trained = set(suite.tasks("train"))
        for task in suite.tasks("heldout"):
            for number in range(self.instances):
                fields = {"task": task, "number": number, "held_out": task not in trained}
                question = (user_message(f"{task}, instance {number}"),)
                yield Item(f"{task}/{number}", question, 1.0, group=task, category=task, fields=fields)

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        """Read an episode; both rules are the same. One without any action that could be read is unparsable."""
        try:
            played = PlayedEpisode.model_validate_json(response)
        except ValidationError:
            return Score.unparsable("no episode")
        trace = [step.action.to_text() if step.action else "unparsable" for step in played.steps]
        unparsable = trace.count("unparsable")
        details: dict[str, Any] = {
            "reason": played.reason,
            "reward": played.reward,
            "steps": len(trace),
            "unparsable": unparsable,
            "screens": list(dict.fromkeys(step.screen for step in played.steps)),
        }
        if unparsable == len(trace):
            return Score.unparsable(*trace, **details)
        return Score.of(played.reward == 1, f"{played.reason}, reward {played.reward:g}", *trace, **details)

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        """The share of episodes with the whole reward in percent, by task, and how episodes ended."""
        sides = {
            name: [each for each in scored if each.item.fields["held_out"] is held_out]
            for name, held_out in ((HELD_OUT, True), (OTHERS, False))
        }
        reasons = Counter(each.score.details.get("reason", "failed") for each in scored)
        steps = sum(each.score.details.get("steps", 0) for each in scored)
        return Metrics(
            "success",
            {"success": mean_percent(scored), "steps": steps / len(scored) if scored else 0.0},
            {
                "success": sum(each.score.verdict == "correct" for each in scored),
                "episodes": len(scored),
                "steps": steps,
                "unparsable_steps": sum(each.score.details.get("unparsable", 0) for each in scored),
                **{f"ended_{reason}": count for reason, count in sorted(reasons.items())},
            },
            {name: mean_percent(side) for name, side in sides.items() if side} | by_category(scored),
        )


class AppBenchmark(EpisodeBenchmark):
    """The tasks of the web apps of a folder, in instances that no recording has.

    Args:
        name: `apps:FOLDER`.

    Raises:
        UserError: The name has no folder.
    """

    suite_name, instances, max_steps = "web-apps", 20, 20

    def __init__(self, name: str) -> None:
        self._folder = name.removeprefix(APPS)
        if not self._folder:
            raise UserError(f"'{name}' names no folder; give {APPS}FOLDER")
        self.about = About(
            name=name,
            title=name,
            paper="your own web apps",
            licence="that of the apps",
            items=None,
            repeats=1,
            family="agent",
            metric="episodes that do their task, in percent",
            files=(),
        )

    @property
    def folder(self) -> str:
        """The last part of the folder's name."""
        return re.sub(r"[^A-Za-z0-9._-]+", "_", f"apps-{Path(self._folder).resolve().name}")

    def path(self, data: Path) -> Path:
        path = Path(self._folder)
        if not path.is_dir():
            raise UserError(f"{path}: no such folder; give that of web apps as {APPS}FOLDER")
        return path
