"""Recordings of the web apps: replays that end in the same state, clicks that reach their element, speed.

    python tests/benchmarks/gui_recordings.py [EPISODES-OF-AN-APP [KIND ...]]

By default the kinds are those of the domain; `75 task walk` gives 300 trajectories, less those that are dropped. A run
that is interrupted prints the figures of what it has done.

Every trajectory is replayed in a page of its own; the screen at its end must be the same to the byte. Every control
that is said to be reached by a click on its point is clicked, with a listener that says which element the event came
to.
"""

import random
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from step3vl.data.sample import Action
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.cpu_time import cpu_time
from step3vl.pipelines.core.inputs import list_pattern
from step3vl.pipelines.core.steps import Dropped, Record, rng_for
from step3vl.pipelines.domains.gui import AskAboutEpisodes, OpenPages, RecordEpisodes, StoredPage
from step3vl.pipelines.domains.gui_entry import GuiEntry
from step3vl.pipelines.gui.recorder import GuiPage
from step3vl.pipelines.gui.screen import Episode, Screen

ROOT = Path(__file__).parents[2]
CLICKS = 12  # of a screen
_PROGRESS = 10  # episodes
LISTEN = """() => { window.hits = []; const stop = event => { if (event.type === 'click')
  hits.push(event.composedPath()[0]); event.preventDefault(); event.stopImmediatePropagation(); };
  for (const kind of ['click', 'mousedown', 'mouseup', 'pointerdown']) addEventListener(kind, stop, true); }"""
REACHED = """index => { const nodes = []; const walk = node => { nodes.push(node);
  for (const child of node.shadowRoot?.children ?? []) walk(child);
  if (node.contentDocument) walk(node.contentDocument.documentElement);
  for (const child of node.children) walk(child); };
  walk(document.documentElement);
  const path = []; for (let node = hits.pop(); node; node = node.parentNode ?? node.host) path.push(node);
  return path.includes(nodes[index]); }"""


def main(episodes: int, kinds: list[str]) -> None:
    """Record, ask, replay and click, and print the figures."""
    context = StepContext(seed=0, base=str(ROOT))
    entry = GuiEntry.model_validate({
        "domain": "gui", "name": "bench", "episodes": episodes,
        "sources": [{"files": ["data/samples/web_apps/*.html"], "licence": "CC0-1.0"}],
        "shared_files": ["data/samples/web_apps/kit.*"],
        **({"episode_kinds": dict.fromkeys(kinds, 1.0)} if kinds else {}),
    })  # fmt: skip
    (pattern,) = entry.sources[0].files
    files = list_pattern(pattern, "CC0-1.0", entry="bench", base=context.base, store=context.store)
    pages = [page for file in files for page in OpenPages(entry, context).process(Record(file.key, file), rng_for(0))]
    pages.sort(key=lambda page: page.value.episode)  # so that a run that is interrupted has seen every app
    worker, asking = RecordEpisodes(entry, context), AskAboutEpisodes(entry, context)
    worker.setup()
    tally = _Tally()
    with suppress(KeyboardInterrupt):
        for number, page in enumerate(pages, 1):
            _measure(worker, asking, page, tally)
            if number % _PROGRESS == 0:
                print(f"{number} of {len(pages)} episodes, {tally.seconds:.0f} CPU-seconds", file=sys.stderr)
    worker.recorder.close()
    print(f"{tally.episodes} episodes, dropped {dict(tally.dropped)}")
    print(f"{tally.samples.total()} samples: {dict(tally.samples)}")
    rates = tally.samples.total() / tally.seconds, tally.elements / tally.seconds
    print(f"{rates[0]:.1f} samples and {rates[1]:.0f} elements a CPU-second")
    same, clicks = tally.same, tally.clicks
    print(f"replayed: {same[True]} of {same.total()} trajectories end on the same screen, byte for byte")
    print(f"clicked: {clicks[True]} of {clicks.total()} points reach their element")


@dataclass
class _Tally:
    """What was counted so far."""

    episodes: int = 0
    elements: int = 0
    seconds: float = 0.0
    """Of the processors, to record and to ask, with the browser's."""
    dropped: Counter[str] = field(default_factory=Counter)
    samples: Counter[str] = field(default_factory=Counter)
    same: Counter[bool] = field(default_factory=Counter)
    clicks: Counter[bool] = field(default_factory=Counter)


def _measure(worker: RecordEpisodes, asking: AskAboutEpisodes, page: Record[StoredPage], tally: _Tally) -> None:
    """Record an episode and ask about it, then replay it in a page of its own and click there."""
    with cpu_time() as used:
        try:
            (record,) = worker.process(page, rng_for(page.key))
            samples = Counter(s.task for s in asking.process(Record(page.key, record.value), rng_for(page.key)))
        except Dropped as error:
            tally.dropped[error.reason] += 1
            return
        finally:
            tally.seconds += used()
    episode: Episode = record.value
    path = [step.action for step in episode.steps] if episode.kind != "explore" else []
    site, view = worker.open(page.value, rng_for(page.key))
    again, hits = worker.recorder.run(site, view, partial(_replay, path, rng_for("clicks", page.key)))
    tally.episodes += 1
    tally.elements += sum(len(screen.elements) for screen in episode.screens)
    tally.samples.update(samples)
    tally.clicks.update(hits)
    if path:
        tally.same[again == episode.screens[-1]] += 1


def _replay(path: list[Action], rng: random.Random, page: GuiPage) -> tuple[Screen, list[bool]]:
    """The last screen of a trajectory that is performed again, and whether clicks on it reach their elements."""
    for action in path:
        page.act(action)
    screen = page.observe()
    page.evaluate(LISTEN)
    hits = []
    controls = [e for e in screen.controls() if all(parent.tag != "iframe" for parent in screen.ancestors(e))]
    for element in rng.sample(controls, min(CLICKS, len(controls))):
        page.act(Action(action="click", point_2d=element.point))
        hits.append(bool(page.evaluate(REACHED, element.index)))
    return screen, hits


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5, sys.argv[2:])
