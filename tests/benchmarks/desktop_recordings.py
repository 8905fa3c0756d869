"""Recordings of desktop programs: replays that end on the same screen, what clicks reached, speed.

    python tests/benchmarks/desktop_recordings.py [EPISODES-OF-A-PROGRAM [DESKTOP-ENTRY ...]]

Every walk is replayed on a desktop of its own; the screen at its end must be the same to the byte. Every click was
made on a control that was said to be reached: the next screen says whether that control has the focus, another state,
a list or dialog that it opened, or is gone with its menu; something else may have changed instead, or nothing. A click
that gave the focus to another control has missed. Every task in hindsight is done again as well, by its actions alone:
its last state must be the same.
"""

import random
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

from step3vl.data.sample import Action
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.cpu_time import cpu_time
from step3vl.pipelines.core.inputs import list_pattern
from step3vl.pipelines.core.steps import Dropped, Record, rng_for
from step3vl.pipelines.domains.gui import AskAboutEpisodes, OpenPages, StoredPage
from step3vl.pipelines.domains.gui_desktop import DesktopEntry, RecordPrograms
from step3vl.pipelines.gui.desktop.recorder import DesktopProgram
from step3vl.pipelines.gui.hindsight import attempts
from step3vl.pipelines.gui.screen import Episode, Screen, Step, target_of

ROOT = Path(__file__).parents[2]
PROGRAMS = ["data/samples/programs/*.desktop"]
ABOUT_THE_TARGET = ("state", "value", "popup_opened", "popup_closed", "dialog_opened", "dialog_closed", "closed")


def main(episodes: int, programs: list[str]) -> None:
    """Record, ask, replay, and print the figures."""
    context = StepContext(seed=0, base=str(ROOT))
    entry = DesktopEntry.model_validate({
        "domain": "gui.desktop", "name": "bench", "episodes": episodes, "episode_kinds": {"walk": 1},
        "sources": [{"files": programs or PROGRAMS, "licence": "that of each program"}],
    })  # fmt: skip
    worker, asking = RecordPrograms(entry, context), AskAboutEpisodes(entry, context)
    recorded: list[tuple[Record[StoredPage], Episode]] = []
    dropped, samples = Counter[str](), Counter[str]()
    began = time.monotonic()
    with cpu_time() as used:  # with the programs' and the display's
        worker.setup()
        for pattern in entry.sources[0].files:
            for file in list_pattern(pattern, "", entry="bench", base=context.base, store=context.store):
                for page in OpenPages(entry, context).process(Record(file.key, file), rng_for(0)):
                    try:
                        recorded += [(page, record.value) for record in worker.process(page, rng_for(page.key))]
                    except Dropped as error:
                        dropped[error.reason] += 1
        for page, episode in recorded:
            samples.update(sample.task for sample in asking.process(Record(page.key, episode), rng_for(page.key)))
        seconds = used()
    print(f"{len(recorded)} episodes, dropped {dict(dropped)}; {samples.total()} samples: {dict(samples)}")
    print(f"{samples.total() / seconds:.1f} samples a CPU-second, {time.monotonic() - began:.0f} seconds in all")
    clicks = Counter(
        _reached(episode, step) for _, episode in recorded for step in episode.steps if step.action.action == "click"
    )
    print(f"clicks: {dict(clicks)}")
    same = Counter(_last(worker, page, _actions(episode)) == episode.screens[-1] for page, episode in recorded)
    print(f"replayed: {same[True]} of {same.total()} walks end on the same screen, byte for byte")
    tasks = [
        (page, each) for page, episode in recorded for each in attempts(episode, 4, random.Random(0)) if each.done
    ]
    ends = Counter(
        _last(worker, page, [*task.lead, *_actions(task.episode)]).state() == _end(task.episode).state()
        for page, task in tasks
    )
    lengths = Counter(len(task.episode.steps) for _, task in tasks)
    print(f"tasks in hindsight: {ends[True]} of {ends.total()} end in the same state; by their steps {dict(lengths)}")


def _reached(episode: Episode, step: Step) -> str:
    """What a click did: to its target, to something else, nothing, or to another control."""
    target = target_of(episode, step)
    if step.effect.kind in ABOUT_THE_TARGET:
        return "target"
    focused = [node for node in episode.screens[step.after].tree if "focused" in node.states]
    if target is not None and any((node.role, node.name) == (target.role, target.name) for node in focused):
        return "target"
    if step.effect.kind == "focus":
        return "another control"
    return "nothing" if step.effect.kind == "none" else "content"


def _actions(episode: Episode) -> list[Action]:
    return [step.action for step in episode.steps]


def _last(worker: RecordPrograms, page: Record[StoredPage], actions: list[Action]) -> Screen:
    """The screen after actions in a program that has just been started."""
    program, view, _ = worker.plan(page.value, rng_for(page.key))
    return worker.recorder.run(program, view, partial(_perform, actions))


def _end(episode: Episode) -> Screen:
    return episode.screens[episode.steps[-1].after]


def _perform(actions: list[Action], page: DesktopProgram) -> Screen:
    for action in actions:
        page.act(action)
    return page.observe()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5, sys.argv[2:])
