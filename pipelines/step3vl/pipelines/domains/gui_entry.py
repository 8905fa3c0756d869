"""The configuration of `gui`, and what it shares with other domains that record episodes."""

from typing import Literal

from pydantic import Field

from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import DomainEntry, Files, FileSource
from step3vl.pipelines.core.phrasings import Language
from step3vl.pipelines.domains.gui_questions import ScreenTask, StepTask
from step3vl.pipelines.gui.screen import EpisodeKind
from step3vl.pipelines.render.web.browser import find_chromium


class EpisodeQuestions(DomainEntry):
    """What is asked about episodes, for every domain that records some."""

    tasks: dict[ScreenTask, float] = Field(
        default={
            "grounding.point": 4.0, "grounding.box": 3.0, "grounding.all": 1.0, "grounding.exists": 1.0,
            "knowledge.name": 2.0, "knowledge.state": 1.0, "knowledge.value": 1.0, "caption": 1.0, "ocr.text": 1.0,
            "ocr.place": 1.0, "ocr.region": 1.0, "action.single": 3.0,
        },
        min_length=1,
    )  # fmt: skip
    """Relative weights of the questions about screens."""
    questions: int = Field(default=4, ge=0)
    """About each screen that differs from the others of its episode."""
    step_tasks: tuple[StepTask, ...] = ("knowledge.effect", "knowledge.happened")
    """Questions about each action of an exploration or a walk."""
    trajectories: bool = True
    """Whether tasks become trajectories, their single steps, and questions whether they are done: those of a page, and
    in hindsight what an exploration or a walk reached."""
    languages: tuple[Language, ...] = ("en", "zh")
    """Of questions, with equal probability."""
    jpeg: float = Field(default=0.25, ge=0, le=1)
    """The fraction of images encoded as JPEG, at qualities of 60 to 95; the others are PNG."""


class RecordingEntry(EpisodeQuestions):
    """How pages or programs are shown and explored."""

    INPUT_FIELDS = frozenset({"sources"})

    sources: tuple[FileSource, ...] = Field(min_length=1)
    """What is recorded."""
    episodes: int = Field(default=10, gt=0)
    """Recordings of each file, each with another view."""
    actions: int = Field(default=12, gt=0)
    """Of an exploration or a walk."""
    branch: int = Field(default=6, gt=0)
    """Actions that an exploration tries on a state."""
    dark: float = Field(default=0.3, ge=0, le=1)
    """The share of dark views."""
    font_files: tuple[str, ...] = ("assets:fonts/*.ttf", "assets:fonts/*.otf")
    """Patterns of the fonts that there are; a page or program is set in one of them."""

    def inputs(self) -> Files:
        return Files(self.sources)

    def assets(self) -> tuple[str, ...]:
        return self.font_files


class GuiEntry(RecordingEntry):
    """Recordings of pages in Chromium, and questions about them."""

    domain: Literal["gui"]
    sources: tuple[FileSource, ...] = Field(min_length=1)
    """Pages, each in one HTML file with its scripts, and web archives (WARC), whose pages are taken in turn."""
    shared_files: tuple[str, ...] = ()
    """Patterns of files that pages load by their names, such as scripts and style sheets."""
    episode_kinds: dict[EpisodeKind, float] = Field(default={"task": 3.0, "explore": 2.0, "walk": 1.0}, min_length=1)
    """Relative weights: a task of the page done by its expert, several actions tried on each state, actions one after
    the other. A page without tasks is explored instead."""
    max_steps: int = Field(default=10, gt=0)
    """Of a task; longer ones are dropped."""
    page_languages: tuple[Language, ...] = ("en", "zh")
    """Of pages that have several. Chinese is left out for a page that has characters which no font has."""
    viewports: tuple[tuple[int, int], ...] = ((1280, 800), (1024, 768), (800, 600), (768, 1024), (412, 732))
    """Of windows, in CSS pixels."""
    scales: tuple[float, ...] = (1.0, 1.0, 1.5)
    """Pixels of a CSS pixel."""

    def assets(self) -> tuple[str, ...]:
        return (*super().assets(), *self.shared_files)

    def check(self, context: StepContext) -> None:
        super().check(context)
        find_chromium()
