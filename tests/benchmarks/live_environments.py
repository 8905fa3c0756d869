"""The suites of live environments themselves: what experts and actors by chance reach through the agent's interface.

pip download --no-deps --dest build/miniwob miniwob==1.1.0
python tests/benchmarks/live_environments.py miniwob build/miniwob/miniwob-1.1.0-py3-none-any.whl [INSTANCES] [TASK]
python tests/benchmarks/live_environments.py web-apps data/samples/web_apps [INSTANCES] [TASK]

The expert does each held-out instance once with all that it may look at. What it did is then answered as text by an
agent in another browser, so every step of an episode is tested: prompt, parser, action, reward.
"""

import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

from step3vl.data.environment import load_suite
from step3vl.data.errors import UserError
from step3vl.data.sample import Action
from step3vl.inference.agent import AgentEpisode
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.gui.app_suite import AppSuite
from step3vl.pipelines.gui.miniwob.suite import MiniWobSuite

STEPS = 20  # answers of an episode, as in evaluation
_WORDS = ("ok", "green tea", "42", "Maria")


def main(name: str, path: Path, instances: int, tasks: Sequence[str]) -> None:
    """Print the success of the expert's actions and of random ones, by task and over all."""
    suite = load_suite(name, path)
    assert isinstance(suite, MiniWobSuite | AppSuite)
    totals: Counter[str] = Counter()
    begin, cpu = time.perf_counter(), time.process_time()
    for task in tasks or suite.tasks("heldout"):
        counts: Counter[str] = Counter()
        for number in range(instances):
            try:
                actions = suite.demonstrate(task, number, "heldout")
            except Dropped as drop:
                counts[f"no demonstration: {drop.reason}"] += 1
                continue
            counts["demonstrated"] += 1
            counts["expert"] += _succeeds(suite, task, number, iter(actions), counts)
            counts["random"] += _succeeds(suite, task, number, _random_actions(Random(f"{task}/{number}")), counts)
        print(f"{task:32} {dict(counts)}", flush=True)
        totals += counts
    suite.close()
    seconds = time.perf_counter() - begin
    shares = {who: f"{100 * totals[who] / totals['demonstrated']:.1f} %" for who in ("expert", "random")}
    print(f"{dict(totals)}\n{shares} of {totals['demonstrated']} instances with a reward of 1")
    print(
        f"{totals['steps']} steps, {seconds:.0f} s, of which this process computed {time.process_time() - cpu:.0f} s"
    )


def _succeeds(
    suite: MiniWobSuite | AppSuite, task: str, number: int, actions: Iterator[Action], counts: Counter[str]
) -> bool:
    try:
        with suite.open(task, number, "heldout") as environment:
            episode = AgentEpisode(environment, STEPS)
            while episode.outcome is None:
                action = next(actions, Action(action="complete"))
                episode.answer(action.to_text())
    except UserError as error:
        counts[f"failed: {error}"] += 1
        return False
    counts["steps"] += len(episode.steps)
    return episode.outcome.reward == 1


def _random_actions(rng: Random) -> Iterator[Action]:
    while True:
        point = rng.randrange(1001), rng.randrange(1001)
        if rng.random() < 0.8:
            yield Action(action="click", point_2d=point)
        else:
            yield Action(action="type", point_2d=point, text=rng.choice(_WORDS))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 2, sys.argv[4:])
