"""Desktop programs: they are operated on a display of their own, and what they show and do is asked for.

The same questions as about web pages, by the same rules: boxes and names are those of the accessibility tree, a click
on a box reaches its element and no other, an effect was observed. A program is given by its desktop entry, as they lie
in `/usr/share/applications`. Programs have no tasks that they check themselves: they are explored and walked through,
and what was reached so is a task in hindsight.
"""

import random
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from step3vl.data.sample import Sample
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import BeamStep, Domain, FileSource
from step3vl.pipelines.core.phrasings import Language
from step3vl.pipelines.core.steps import Record
from step3vl.pipelines.domains.gui import AskAboutEpisodes, OpenPages, StoredPage, explore, require_glyphs, text_fonts
from step3vl.pipelines.domains.gui_check import CheckScreens
from step3vl.pipelines.domains.gui_entry import RecordingEntry
from step3vl.pipelines.gui.desktop.program import Program, read_program
from step3vl.pipelines.gui.desktop.recorder import DesktopProgram, DesktopRecorder
from step3vl.pipelines.gui.desktop.session import find_desktop
from step3vl.pipelines.gui.screen import Episode, EpisodeKind
from step3vl.pipelines.gui.view import View, ViewOptions, pick_view
from step3vl.pipelines.render.fonts import load_families

_SECONDS = 600.0  # for an episode
_CHINESE = "文件编辑查看帮助设置"  # in the menus of most programs


class DesktopEntry(RecordingEntry):
    """Recordings of desktop programs, and questions about them."""

    domain: Literal["gui.desktop"]
    sources: tuple[FileSource, ...] = Field(min_length=1)
    """Desktop entries (`*.desktop`); a program that is not installed is dropped (`program_not_installed`)."""
    episode_kinds: dict[Literal["explore", "walk"], float] = Field(default={"explore": 1.0, "walk": 2.0}, min_length=1)
    """Relative weights: several actions tried on each state, actions one after the other. To return to a state, the
    program is started again, so walks are cheaper."""
    program_languages: tuple[Language, ...] = ("en", "zh")
    """Of programs. Chinese is left out where no font has it."""
    screen_sizes: tuple[tuple[int, int], ...] = ((1280, 800), (1024, 768), (800, 600))
    """Width and height in pixels."""

    def check(self, context: StepContext) -> None:
        super().check(context)
        find_desktop()


class RecordPrograms:
    """Worker: a program is started in a view and operated."""

    def __init__(self, entry: DesktopEntry, context: StepContext) -> None:
        self._entry, self._context = entry, context

    def setup(self) -> None:
        fonts = self._context.assets(self._entry.font_files)
        self._families = load_families(fonts)
        self.recorder = DesktopRecorder(fonts)

    def process(self, record: Record[StoredPage], rng: random.Random) -> Iterator[Record[Episode]]:
        entry, file = self._entry, record.value.file
        program, view, kind = self.plan(record.value, rng)

        def operate(running: DesktopProgram) -> Episode:
            recording = explore(running, kind, entry, rng)
            require_glyphs(recording.screens, self._families)
            return Episode(
                kind=kind,
                page=file.key,
                licence=file.licence,
                language=view.language,
                view={**view.traits(), "platform": "desktop"},
                screens=tuple(recording.screens),
                steps=tuple(recording.steps),
            )

        yield Record(record.key, self.recorder.run(program, view, operate))

    def plan(self, page: StoredPage, rng: random.Random) -> tuple[Program, View, EpisodeKind]:
        """A program, the view that it is shown in, and how it is operated."""
        entry = self._entry
        program = read_program(self._context.local_path(page.file))
        has_chinese = any(family.covers(_CHINESE) for family in self._families)
        languages = [name for name in entry.program_languages if name != "zh" or has_chinese] or ["en"]
        options = ViewOptions(entry.screen_sizes, (1.0,), languages, entry.dark, text_fonts(self._families))
        view = pick_view(options, rng)
        (kind,) = rng.choices(list(entry.episode_kinds), list(entry.episode_kinds.values()))
        return program, view, kind


DOMAIN = Domain(
    DesktopEntry,
    steps=(
        BeamStep("open", version=1, worker=OpenPages, output=StoredPage),
        BeamStep("record", version=2, worker=RecordPrograms, output=Episode, spread=True, time_limit=_SECONDS),
        BeamStep("build", version=3, worker=AskAboutEpisodes, output=Sample),
    ),
    label_check=CheckScreens,
    example={
        "sources": [{"files": ["data/samples/programs/*.desktop"], "licence": "CC0-1.0"}],
        "episodes": 1,
        "actions": 3,
        "screen_sizes": [[800, 600]],
    },
)
