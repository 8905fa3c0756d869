"""Graphical user interfaces: pages are operated in Chromium, and what they show and do is asked for.

After the GUI data of the STEP3-VL-10B report, section 2.2: captions, knowledge, trajectories, grounding and OCR. A
page is opened in a random view and operated by an expert that does a task of the page, or by an explorer. Labels are
what was measured: a click on the box of an element reaches it, a phrase fits no other element, an effect was observed,
and the page itself says that a task is done. Boxes are in 0..1000; `scroll` moves the view, `down` to what is below.
"""

import random
import re
from collections.abc import Iterator, Sequence

from step3vl.data.config import Config
from step3vl.data.sample import Image, Sample, Source
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import BeamStep, Domain
from step3vl.pipelines.core.inputs import InputFile
from step3vl.pipelines.core.phrasings import Language
from step3vl.pipelines.core.samples import compose, encode_rendering
from step3vl.pipelines.core.steps import Dropped, Record
from step3vl.pipelines.domains.gui_check import CheckScreens
from step3vl.pipelines.domains.gui_entry import EpisodeQuestions, GuiEntry, RecordingEntry
from step3vl.pipelines.domains.gui_questions import SCREEN_TASKS, STEP_TASKS, Question
from step3vl.pipelines.domains.gui_trajectories import step_samples, trajectory_sample, verification_samples
from step3vl.pipelines.gui.experts import Task, perform_task, read_tasks
from step3vl.pipelines.gui.explorers import Recording, Surface, breadth_first, random_walk
from step3vl.pipelines.gui.hindsight import Attempt, attempts
from step3vl.pipelines.gui.recorder import GuiPage, Recorder
from step3vl.pipelines.gui.screen import Episode, EpisodeKind, Screen
from step3vl.pipelines.gui.site import ArchiveSite, FileSite, Site
from step3vl.pipelines.gui.view import View, ViewOptions, pick_view
from step3vl.pipelines.render.fonts import FontFamily, load_families
from step3vl.pipelines.render.web.web_style import is_mono
from step3vl.pipelines.sources.web.warc import is_warc

_SECONDS = 300.0  # for an episode
_GOALS = 4  # of an exploration or a walk, that are reached, at most
_NO_CHOICE: list[Language] = ["en"]  # of a page that is as it was fetched
_CHINESE = re.compile("[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]")
_LATIN = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.,:;!?()-$"


class StoredPage(Config):
    """A page or program to record, and which of its episodes."""

    file: InputFile
    episode: int


class OpenPages:
    """Worker: a page or program becomes its episodes, which are dealt to all workers."""

    def __init__(self, entry: RecordingEntry, context: StepContext) -> None:
        self._entry = entry

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[InputFile], rng: random.Random) -> Iterator[Record[StoredPage]]:
        for number in range(self._entry.episodes):
            yield Record(f"{record.key}/{number}", StoredPage(file=record.value, episode=number))


class RecordEpisodes:
    """Worker: a page is opened in a view and operated."""

    def __init__(self, entry: GuiEntry, context: StepContext) -> None:
        self._entry, self._context = entry, context

    def setup(self) -> None:
        entry = self._entry
        fonts = self._context.assets(entry.font_files)
        self._families = load_families(fonts)
        self._shared = self._context.assets(entry.shared_files) if entry.shared_files else []
        self.recorder = Recorder(fonts)

    def process(self, record: Record[StoredPage], rng: random.Random) -> Iterator[Record[Episode]]:
        entry, file = self._entry, record.value.file
        site, view = self.open(record.value, rng)
        (kind,) = rng.choices(list(entry.episode_kinds), list(entry.episode_kinds.values()))
        seed = rng.getrandbits(64)  # an episode that is begun again after a crash makes the same choices

        def operate(page: GuiPage) -> Episode:
            recorded, task = _operate(page, kind, entry, random.Random(seed))
            require_glyphs(recorded.screens, self._families)
            return Episode(
                kind="task" if task else "explore" if kind == "task" else kind,
                page=file.key,
                licence=file.licence,
                language=view.language,
                view=view.traits(),
                screens=tuple(recorded.screens),
                steps=tuple(recorded.steps),
                goal=task.goal if task else {},
                answer=task.answer if task else "",
            )

        yield Record(record.key, self.recorder.run(site, view, operate))

    def open(self, page: StoredPage, rng: random.Random) -> tuple[Site, View]:
        """The site of a page, and the view that it is shown in."""
        entry, path = self._entry, self._context.local_path(page.file)
        site: Site
        if is_warc(path):
            languages, site = _NO_CHOICE, ArchiveSite(path, page.episode)
        else:
            languages, site = self._languages(path.read_text()), FileSite(path, self._shared)
        options = ViewOptions(entry.viewports, entry.scales, languages, entry.dark, text_fonts(self._families))
        return site, pick_view(options, rng)

    def _languages(self, source: str) -> list[Language]:
        characters = set(_CHINESE.findall(source))
        has_chinese = bool(characters) and all(any(f.covers(c) for f in self._families) for c in characters)
        return [name for name in self._entry.page_languages if name != "zh" or has_chinese] or ["en"]


def text_fonts(families: Sequence[FontFamily]) -> list[str]:
    """The names of the fonts that a whole interface can be set in."""
    return [family.name for family in families if family.covers(_LATIN) and not is_mono(family)]


def require_glyphs(screens: Sequence[Screen], families: Sequence[FontFamily]) -> None:
    """Check that no text of some screens is shown as boxes.

    Raises:
        Dropped: No font has a character of them.
    """
    characters = {c for screen in screens for line in screen.lines for c in line.text if not c.isspace()}
    if not all(any(family.covers(c) for family in families) for c in sorted(characters)):
        raise Dropped("no_font_has_all_characters")


def _operate(page: GuiPage, kind: EpisodeKind, entry: GuiEntry, rng: random.Random) -> tuple[Recording, Task | None]:
    """What is done on a page: a task of it; actions one after the other; or, also without tasks, several a state."""
    tasks = read_tasks(page) if kind == "task" else []
    if tasks:
        number = rng.randrange(len(tasks))
        return perform_task(page, number, tasks[number], entry.max_steps), tasks[number]
    return explore(page, kind, entry, rng), None


def explore(surface: Surface, kind: EpisodeKind, entry: RecordingEntry, rng: random.Random) -> Recording:
    """Act without a goal: actions one after the other (`walk`), or several a state."""
    if kind == "walk":
        return random_walk(surface, entry.actions, rng)
    return breadth_first(surface, entry.actions, entry.branch, rng)


class AskAboutEpisodes:
    """Worker: an episode becomes samples: questions about its screens and its actions, and its trajectory."""

    def __init__(self, entry: EpisodeQuestions, context: StepContext) -> None:
        self._entry = entry

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[Episode], rng: random.Random) -> Iterator[Sample]:
        episode, entry = record.value, self._entry
        images = [encode_rendering(screen.image.read(), entry.jpeg, rng) for screen in episode.screens]
        empty = True
        for sample in self._samples(record.key, episode, images, rng):
            empty = False
            yield sample
        if empty:
            raise Dropped("nothing_to_ask")

    def _samples(self, key: str, episode: Episode, images: list[Image], rng: random.Random) -> Iterator[Sample]:
        entry = self._entry
        if entry.trajectories and episode.goal and episode.steps:
            languages = [name for name in entry.languages if name in episode.goal]
            if not languages:
                raise Dropped("no_goal_in_these_languages")
            yield from self._about_attempt(
                key, Attempt(episode=episode, done=True), images, rng.choice(languages), rng
            )
        elif entry.trajectories and episode.steps:
            for attempt in attempts(episode, _GOALS, rng):
                yield from self._about_attempt(key, attempt, images, rng.choice(entry.languages), rng)
        states: set[str] = set()
        for screen, image in zip(episode.screens, images, strict=True):
            if screen.state() not in states:
                states.add(screen.state())
                yield from self._about_screen(key, episode, screen, image, rng)
        if episode.kind != "task":
            yield from self._about_steps(key, episode, images, rng)

    def _about_attempt(
        self, key: str, attempt: Attempt, images: list[Image], language: Language, rng: random.Random
    ) -> Iterator[Sample]:
        """The trajectory and its steps of a task that was done, and whether it was."""
        episode, kind = attempt.episode, self._entry.kind
        source = self._source(key, episode, language)
        if attempt.done:
            yield trajectory_sample(episode, images, language, kind, source, rng)
            yield from step_samples(episode, images, language, kind, source, rng)
        yield from verification_samples(episode, images, language, kind, source, rng, done=attempt.done)

    def _about_screen(
        self, key: str, episode: Episode, screen: Screen, image: Image, rng: random.Random
    ) -> Iterator[Sample]:
        weights = dict(self._entry.tasks)
        asked = 0
        questions: set[str] = set()
        while weights and asked < self._entry.questions:
            (task,) = rng.choices(list(weights), list(weights.values()))
            language = rng.choice(self._entry.languages)
            question = SCREEN_TASKS[task](episode, screen, language, rng)
            if question is None or question.answer in questions:
                del weights[task]  # this screen has nothing more to ask for so
                continue
            questions.add(question.answer)
            asked += 1
            yield self._sample(key, episode, f"gui.{task}", question, [image], language)

    def _about_steps(self, key: str, episode: Episode, images: list[Image], rng: random.Random) -> Iterator[Sample]:
        for step in episode.steps:
            for task in self._entry.step_tasks:
                language = rng.choice(self._entry.languages)
                question = STEP_TASKS[task](episode, step, language, rng)
                if question is None:
                    continue
                screens = [images[step.before]]
                if task == "knowledge.happened":
                    screens.append(images[step.after])
                yield self._sample(key, episode, f"gui.{task}", question, screens, language)

    def _sample(
        self, key: str, episode: Episode, task: str, question: Question, images: list[Image], language: Language
    ) -> Sample:
        source = self._source(key, episode, language)
        traits = {**source.traits, "phrase": question.style, "role": question.role}
        return compose(
            kind=self._entry.kind,
            domain="gui",
            task=task,
            question=question.question,
            answer=question.answer,
            truth=question.truth,
            images=images,
            source=source.model_copy(update={"traits": {k: v for k, v in traits.items() if v}}),
        )

    def _source(self, key: str, episode: Episode, language: Language) -> Source:
        page = episode.page.rpartition("/")[2]
        traits = {**episode.view, "page": page, "episode": episode.kind, "question_language": language}
        return Source(uri=key, licence=episode.licence, collected_by=f"step3vl/{self._entry.name}", traits=traits)


DOMAIN = Domain(
    GuiEntry,
    steps=(
        BeamStep("open", version=1, worker=OpenPages, output=StoredPage),
        BeamStep("record", version=5, worker=RecordEpisodes, output=Episode, spread=True, time_limit=_SECONDS),
        BeamStep("build", version=5, worker=AskAboutEpisodes, output=Sample),
    ),
    example={
        "sources": [{"files": ["data/samples/web_apps/settings.html"], "licence": "CC0-1.0"}],
        "shared_files": ["data/samples/web_apps/kit.*"],
        "episodes": 1,
        "actions": 3,
        "max_steps": 6,
        "viewports": [[480, 360]],
        "scales": [1.0],
    },
    label_check=CheckScreens,
)
