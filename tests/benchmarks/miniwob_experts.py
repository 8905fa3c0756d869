"""The experts of MiniWoB++: in how many instances of each task they get the whole raw reward.

pip download --no-deps --dest build/miniwob miniwob
python tests/benchmarks/miniwob_experts.py build/miniwob/miniwob-1.1.0-py3-none-any.whl [INSTANCES] [TASK ...]
"""

import sys
from collections import Counter
from pathlib import Path

from step3vl.data.storage import DEFAULT_STORE
from step3vl.pipelines.core.assets import resolve_assets
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.gui.explorers import Recording
from step3vl.pipelines.gui.miniwob.environment import MiniWobPage, task_view
from step3vl.pipelines.gui.miniwob.experts import Expert, experts, perform_task
from step3vl.pipelines.gui.miniwob.site import MiniWobSite
from step3vl.pipelines.gui.recorder import GuiPage, Recorder

SHARE = 0.8  # of instances, from which on a task is said to be done


def main(wheel: Path, instances: int, tasks: list[str]) -> None:
    """Let every expert do its task, and print what came of it."""
    recorder = Recorder(resolve_assets(["assets:fonts/*.ttf", "assets:fonts/*.otf"], ".", DEFAULT_STORE))
    known, done = experts(), 0
    for task in tasks or list(known):
        solved, lost = _try(recorder, wheel, task, known[task], instances)
        done += solved >= SHARE * instances
        print(f"{task:32} {solved} of {instances} {dict(lost) or ''}", flush=True)
    recorder.close()
    print(f"{done} of {len(tasks or known)} tasks with a raw reward of 1 in {SHARE:.0%} of {instances} instances")


def _try(recorder: Recorder, wheel: Path, task: str, expert: Expert, instances: int) -> tuple[int, Counter[str]]:
    solved, lost = 0, Counter[str]()
    for seed in range(instances):

        def episode(page: GuiPage, seed: int = seed) -> Recording:
            return perform_task(MiniWobPage(page, seed), expert)

        try:
            recorder.run(MiniWobSite(wheel, task), task_view(seed, 2.0), episode)
            solved += 1
        except Dropped as drop:
            lost[drop.reason] += 1
        except Exception as error:  # of an expert that misread the page
            lost[type(error).__name__] += 1
    return solved, lost


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 5, sys.argv[3:])
