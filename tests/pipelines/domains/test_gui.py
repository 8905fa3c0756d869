import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from step3vl.data.sample import Sample, TextPart, parse_action
from step3vl.grading import grade_answer
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.inputs import list_pattern
from step3vl.pipelines.core.phrasings import Language
from step3vl.pipelines.core.steps import Record, rng_for
from step3vl.pipelines.domains.gui import AskAboutEpisodes, OpenPages, RecordEpisodes
from step3vl.pipelines.domains.gui_entry import GuiEntry
from step3vl.pipelines.domains.gui_instructions import DO
from step3vl.pipelines.domains.gui_phrases import phrases
from step3vl.pipelines.domains.gui_phrasings import phrasings
from step3vl.pipelines.domains.gui_questions import SCREEN_TASKS, choose_among, describe_action
from step3vl.pipelines.gui.recorder import Recorder
from step3vl.pipelines.gui.screen import Element, Episode, EpisodeKind, target_of

ROOT = Path(__file__).parents[3]
LANGUAGES: tuple[Language, ...] = ("en", "zh")
ASKED = ("point", "box", "all", "exists", "name", "effect", "happened", "state", "value", "caption", "text", "place",
         "region", "next", "trajectory", "verify")  # fmt: skip


class Build:
    """The steps of an entry, run over some of its inputs."""

    def __init__(self, recorder: Recorder, **fields: Any) -> None:
        self.context = StepContext(seed=0, base=str(ROOT))
        source = {"files": ("data/samples/web_apps/*.html",), "licence": "CC0-1.0"}
        shared = ("data/samples/web_apps/kit.*",)
        views = {"viewports": ((560, 420),), "scales": (1.0,), "actions": 6, "branch": 6}
        self.entry = GuiEntry.model_validate(
            {"domain": "gui", "name": "t", "sources": (source,), "shared_files": shared, **views, **fields}
        )
        self._recorder = RecordEpisodes(self.entry, self.context)
        self._recorder.setup()
        self._recorder.recorder = recorder  # one browser for several entries

    def inputs(self, *pages: str) -> Iterator[Record[Any]]:
        context = self.context
        for page in pages:
            pattern = f"data/samples/web_apps/{page}.html"
            for file in list_pattern(pattern, "CC0-1.0", entry="t", base=context.base, store=context.store):
                yield from OpenPages(self.entry, context).process(Record(file.key, file), rng_for(0))

    def record(self, *pages: str) -> list[Record[Episode]]:
        return [record for page in self.inputs(*pages) for record in self._recorder.process(page, rng_for(page.key))]

    def ask(self, records: Sequence[Record[Episode]]) -> list[Sample]:
        worker = AskAboutEpisodes(self.entry, self.context)
        return [sample for record in records for sample in worker.process(record, rng_for(1, record.key))]


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    recorder = Recorder(sorted((ROOT / "data/step3vl/data/assets/fonts").glob("*.[to]tf")))
    yield recorder
    recorder.close()


@pytest.fixture(scope="module")
def built(recorder: Recorder) -> tuple[list[Record[Episode]], list[Sample]]:
    """An exploration and two tasks, and all that is asked about them."""
    kinds: tuple[tuple[EpisodeKind, str], ...] = (("explore", "shop"), ("task", "settings"), ("task", "files"))
    records = []
    for kind, page in kinds:
        build = Build(recorder, episode_kinds={kind: 1}, episodes=1, questions=12)
        records += build.record(page)
    return records, build.ask(records)


@pytest.mark.chromium
@pytest.mark.slow
def test_every_answer_is_graded_right_and_every_kind_of_task_is_asked(
    built: tuple[list[Record[Episode]], list[Sample]],
) -> None:
    _, samples = built
    tasks = Counter(sample.task.removeprefix("gui.") for sample in samples)
    assert set(tasks) >= set(SCREEN_TASKS) - {"knowledge.value"} | {
        "knowledge.effect", "knowledge.happened", "trajectory.step", "trajectory.operation",
    }  # fmt: skip
    for sample in samples:
        if sample.truth is not None:
            assert grade_answer(sample.truth, sample.answer()).value == 1.0, sample.task
        else:
            assert sample.task == "gui.caption"


@pytest.mark.chromium
@pytest.mark.slow
def test_trajectory_shows_the_screen_before_each_action_and_ends_with_complete(
    built: tuple[list[Record[Episode]], list[Sample]],
) -> None:
    records, samples = built
    by_uri = {record.key: record.value for record in records}
    trajectories = [sample for sample in samples if sample.task.startswith("gui.trajectory.op")]
    of_tasks = [sample for sample in trajectories if sample.source.traits["episode"] == "task"]
    assert of_tasks and len(of_tasks) < len(trajectories)  # the others are those of the exploration, in hindsight
    for sample in of_tasks:
        episode, messages = by_uri[sample.source.uri], sample.messages or ()
        assert [m.role for m in messages][:3] == ["user", "assistant", "tool"]
        assert [step.action for step in episode.steps] == [
            parse_action(part.text)
            for m in messages[:-1]
            if m.role == "assistant"
            for part in m.content
            if isinstance(part, TextPart)
        ]
        last = parse_action(sample.answer())
        assert last is not None and last.action == "complete"
        assert all(m.reasoning_content for m in messages if m.role == "assistant")
        assert len(sample.images) == len(episode.steps) + 1


@pytest.mark.chromium
@pytest.mark.slow
def test_whether_a_goal_is_reached_is_asked_at_the_end_and_before(
    built: tuple[list[Record[Episode]], list[Sample]],
) -> None:
    _, samples = built
    answers = [sample.answer() for sample in samples if sample.task == "gui.trajectory.verification"]
    assert {"yes", "是"} & set(answers) and {"no", "否"} & set(answers)


@pytest.mark.chromium
@pytest.mark.slow
def test_each_phrase_fits_one_element_only(built: tuple[list[Record[Episode]], list[Sample]]) -> None:
    """Counted from the phrase's own words, and no two elements of a screen have a phrase in common."""
    records, _ = built
    styles: Counter[str] = Counter()
    for screen in (screen for record in records for screen in record.value.screens):
        for language in LANGUAGES:
            owners: dict[str, Element] = {}
            for element in screen.controls():
                for phrase in phrases(screen, element, language):
                    styles[phrase.style] += 1
                    assert owners.setdefault(phrase.text, element) is element, phrase
    assert set(styles) >= {"name", "icon", "text", "container", "position"}


@pytest.mark.chromium
@pytest.mark.slow
def test_boxes_asked_for_hold_the_point_that_was_clicked(built: tuple[list[Record[Episode]], list[Sample]]) -> None:
    records, _ = built
    for episode in (record.value for record in records):
        for step in episode.steps:
            target = target_of(episode, step)
            if target is not None and step.action.action != "slide":
                assert target.exact and step.action.point_2d == target.point


@pytest.mark.chromium
@pytest.mark.slow
def test_actions_on_elements_without_a_role_have_words(built: tuple[list[Record[Episode]], list[Sample]]) -> None:
    episode = built[0][0].value
    step = next(step for step in episode.steps if step.action.action == "click" and step.target is not None)
    screens = list(episode.screens)
    before = screens[step.before]
    elements = tuple(e.model_copy(update={"role": ""}) if e.index == step.target else e for e in before.elements)
    screens[step.before] = before.model_copy(update={"elements": elements})
    bare = episode.model_copy(update={"screens": tuple(screens)})
    assert describe_action(bare, step, "en").startswith("click the element “")
    assert describe_action(bare, step, "zh").startswith("点击元素“")
    nameless = tuple(e.model_copy(update={"name": "", "text": ""}) for e in elements)
    screens[step.before] = before.model_copy(update={"elements": nameless})
    bare = episode.model_copy(update={"screens": tuple(screens)})
    assert [describe_action(bare, step, language) for language in ("en", "zh")] == ["click the element", "点击元素"]


@pytest.mark.chromium
@pytest.mark.slow
def test_same_record_gives_the_same_episode_and_samples(recorder: Recorder) -> None:
    build = Build(recorder, episode_kinds={"walk": 1}, episodes=1, actions=3, questions=3)
    first = build.record("planner")
    recorder.close()  # another browser
    again = build.record("planner")
    assert first == again
    assert build.ask(first) == build.ask(again)


@pytest.mark.chromium
def test_page_with_characters_that_no_font_has_is_not_shown_in_chinese(recorder: Recorder) -> None:
    build = Build(recorder)
    assert build._recorder._languages("<p>一二三</p>") == ["en", "zh"]
    assert build._recorder._languages("<p>龘</p>") == ["en"]
    assert build._recorder._languages("<p>text</p>") == ["en"]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("asked", ASKED)
def test_phrasings_are_many_and_distinct(asked: str, language: Language) -> None:
    templates = phrasings(asked, language)
    assert len(set(templates)) == len(templates) >= 50
    fields = {frozenset(re.findall(r"{(\w+)}", template)) for template in templates}
    assert len(set.union(*map(set, fields))) <= 2
    for template in templates:
        assert not re.search(r"[?.]{2}|，[。？]|\s{2}", template)


def test_options_without_a_name_are_left_out() -> None:
    others = ["“” receives the focus.", "Nothing changes.", "“Save” is switched on."]
    question = choose_among("What happens?", "The list “Sort by” opens.", others, rng_for("options"))
    assert question is not None and "“”" not in question.question and len(question.question.splitlines()) == 4
    assert choose_among("What happens?", "“” is switched on.", others, rng_for("options")) is None


def test_instructions_name_their_fields() -> None:
    for action, languages in DO.items():
        for templates in languages.values():
            for template in templates:
                fields = set(re.findall(r"{(\w+)}", template))
                needed = {"type": {"phrase", "text"}, "slide": {"phrase", "text"}, "hot_key": {"text"}}
                assert fields == needed.get(action, set() if action.startswith("scroll") else {"phrase"})
