"""MiniWoB++: small tasks on web pages, done by experts, as trajectories and questions about their screens.

The raw reward of an episode is 1, which the page itself says; any other is dropped. Some tasks and the seeds from a
million on are kept for evaluation (`step3vl.pipelines.gui.miniwob.held_out`).
"""

import random
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.errors import UserError
from step3vl.data.sample import Sample
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import BeamStep, Domain, Files, FileSource
from step3vl.pipelines.core.inputs import InputFile
from step3vl.pipelines.core.phrasings import Language
from step3vl.pipelines.core.steps import Record
from step3vl.pipelines.domains.gui import AskAboutEpisodes
from step3vl.pipelines.domains.gui_check import CheckScreens
from step3vl.pipelines.domains.gui_entry import EpisodeQuestions
from step3vl.pipelines.gui.miniwob.environment import MiniWobPage, task_view
from step3vl.pipelines.gui.miniwob.experts import experts, perform_task
from step3vl.pipelines.gui.miniwob.held_out import HELD_OUT
from step3vl.pipelines.gui.miniwob.site import MiniWobSite
from step3vl.pipelines.gui.recorder import GuiPage, Recorder
from step3vl.pipelines.gui.screen import Episode
from step3vl.pipelines.gui.suite import EVALUATION_SEED
from step3vl.pipelines.render.web.browser import find_chromium

_SECONDS = 300.0  # for an episode


class MiniWobEntry(EpisodeQuestions):
    """Episodes of MiniWoB++."""

    INPUT_FIELDS = frozenset({"sources"})

    domain: Literal["gui.miniwob"]
    sources: tuple[FileSource, ...] = Field(min_length=1)
    """The wheel of the package `miniwob` (MIT), which `pip download --no-deps miniwob` brings."""
    episodes: int = Field(default=10, gt=0, le=EVALUATION_SEED)
    """Instances of each task."""
    only: tuple[str, ...] = ()
    """Tasks; by default all that an expert does, without those that are held out."""
    scales: tuple[float, ...] = (2.0, 3.0, 4.0)
    """Pixels of a CSS pixel, of which a task has 160 x 210."""
    languages: tuple[Language, ...] = ("en", "zh")
    """Of questions about screens, with equal probability. Goals are in English."""
    font_files: tuple[str, ...] = ("assets:fonts/*.ttf", "assets:fonts/*.otf")
    """Patterns of the fonts that the browser has."""

    def inputs(self) -> Files:
        return Files(self.sources)

    def assets(self) -> tuple[str, ...]:
        return self.font_files

    def check(self, context: StepContext) -> None:
        super().check(context)
        unknown = [task for task in self.only if task not in experts()]
        if unknown:
            raise UserError(f"{self.name}: no expert does the task {unknown[0]}; there are {', '.join(experts())}")
        if "en" not in self.languages:
            raise UserError(f"{self.name}: languages must contain en, for the goals of the tasks are in English")
        find_chromium()

    def tasks_to_record(self) -> list[str]:
        """The tasks of which episodes are recorded."""
        return list(self.only) or [task for task in experts() if task not in HELD_OUT]


class Instance(Config):
    """An instance of a task."""

    file: InputFile
    task: str
    seed: int


class DealInstances:
    """Worker: a wheel becomes instances of its tasks."""

    def __init__(self, entry: MiniWobEntry, context: StepContext) -> None:
        self._entry = entry

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[InputFile], rng: random.Random) -> Iterator[Record[Instance]]:
        for task in self._entry.tasks_to_record():
            for seed in range(self._entry.episodes):
                yield Record(f"{record.key}#{task}/{seed}", Instance(file=record.value, task=task, seed=seed))


class RecordTasks:
    """Worker: an expert does an instance of a task."""

    def __init__(self, entry: MiniWobEntry, context: StepContext) -> None:
        self._entry, self._context = entry, context

    def setup(self) -> None:
        self._experts = experts()
        self.recorder = Recorder(self._context.assets(self._entry.font_files))

    def process(self, record: Record[Instance], rng: random.Random) -> Iterator[Record[Episode]]:
        instance = record.value
        view = task_view(instance.seed, rng.choice(self._entry.scales))
        site = MiniWobSite(self._context.local_path(instance.file), instance.task)

        def operate(page: GuiPage) -> Episode:
            environment = MiniWobPage(page, instance.seed)
            recording = perform_task(environment, self._experts[instance.task])
            return Episode(
                kind="task",
                page=f"miniwob/{instance.task}",
                licence=instance.file.licence,
                language="en",
                view={"scale": f"{view.scale:g}"},
                screens=tuple(recording.screens),
                steps=tuple(recording.steps),
                goal={"en": environment.goal},
            )

        yield Record(record.key, self.recorder.run(site, view, operate))


DOMAIN = Domain(
    MiniWobEntry,
    steps=(
        BeamStep("deal", version=1, worker=DealInstances, output=Instance),
        BeamStep("record", version=3, worker=RecordTasks, output=Episode, spread=True, time_limit=_SECONDS),
        BeamStep("build", version=4, worker=AskAboutEpisodes, output=Sample),
    ),
    example={
        "sources": [{"files": ["data/samples/gui_sets/miniwob/miniwob-0.zip"], "licence": "CC0-1.0"}],
        "only": ["click-test"],
        "episodes": 2,
        "scales": [2.0],
    },
    label_check=CheckScreens,
)
