"""Tasks of MiniWoB++ and of our pages as environments, and the experts that do them."""

import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from step3vl.data.environment import run_episode
from step3vl.data.errors import UserError
from step3vl.data.sample import Action, Sample
from step3vl.data.storage import DEFAULT_STORE
from step3vl.grading import grade_answer
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.inputs import list_pattern
from step3vl.pipelines.core.steps import Dropped, Record, rng_for
from step3vl.pipelines.domains.gui import AskAboutEpisodes
from step3vl.pipelines.domains.gui_miniwob import DOMAIN, DealInstances, MiniWobEntry, RecordTasks
from step3vl.pipelines.gui.environment import TaskPage
from step3vl.pipelines.gui.miniwob.environment import MiniWobPage, task_view
from step3vl.pipelines.gui.miniwob.experts import experts, perform_task
from step3vl.pipelines.gui.miniwob.held_out import HELD_OUT
from step3vl.pipelines.gui.miniwob.site import MiniWobSite, task_names
from step3vl.pipelines.gui.recorder import GuiPage, Recorder
from step3vl.pipelines.gui.screen import Screen
from step3vl.pipelines.gui.site import FileSite
from step3vl.pipelines.gui.view import View

WHEEL = Path("data/samples/gui_sets/miniwob/miniwob-0.zip")
SITE = MiniWobSite(Path(__file__).parents[3] / WHEEL, "click-test")


def entry(**fields: Any) -> MiniWobEntry:
    return MiniWobEntry.model_validate({"domain": "gui.miniwob", "name": "t", **DOMAIN.example, **fields})


@pytest.mark.chromium
def test_a_task_is_shown_alone_and_is_the_same_after_a_reset(recorder: Recorder) -> None:
    def episode(page: GuiPage) -> tuple[Screen, Screen, Screen, str]:
        environment = MiniWobPage(page, 3)
        first = environment.start()
        (button,) = (element for element in first.elements if element.tag == "button")
        with pytest.raises(ValueError, match="there is no key 'fire'"):
            environment.act(Action(action="hot_key", text="fire"))
        environment.act(Action(action="click", point_2d=button.point))
        after = environment.observe()
        assert environment.reward() == 1.0
        again = environment.reset()
        assert environment.reward() is None
        return first, after, again, environment.goal

    first, after, again, goal = recorder.run(SITE, task_view(3, 2.0), episode)
    assert goal == "Click the button."
    assert first == again
    assert first.size == (320, 420)
    (button,) = (element for element in after.elements if element.tag == "button")
    assert button.exact  # what covers the page after an episode is hidden


@pytest.mark.chromium
def test_instances_differ_by_seed(recorder: Recorder) -> None:
    screens = [
        recorder.run(SITE, task_view(0, 1.0), lambda page, seed=seed: MiniWobPage(page, seed).start())
        for seed in (1, 2)
    ]
    assert screens[0].image.sha256 != screens[1].image.sha256


@pytest.mark.chromium
def test_an_agent_that_clicks_beside_the_button_fails(recorder: Recorder) -> None:
    def episode(page: GuiPage) -> Any:
        MiniWobPage(page, 1).start()
        return run_episode(MiniWobPage(page, 1), lambda goal, screen: Action(action="click", point_2d=(5, 990)), 3)

    reward, steps, reason = recorder.run(SITE, task_view(1, 1.0), episode)
    assert (reason, steps, reward) in (("too_long", 3, 0.0), ("done", 1, -1.0))


@pytest.mark.chromium
def test_a_reward_below_1_is_no_success(recorder: Recorder) -> None:
    def pay(page: GuiPage) -> None:
        def expert(desk: Any) -> None:
            desk.ask("core.endEpisode(0.1)")

        perform_task(MiniWobPage(page, 1), expert)

    with pytest.raises(Dropped, match="not_solved"):
        recorder.run(SITE, task_view(1, 1.0), pay)
    with pytest.raises(Dropped, match="not_ended"):
        recorder.run(SITE, task_view(1, 1.0), lambda page: perform_task(MiniWobPage(page, 1), lambda desk: None))


@pytest.mark.chromium
def test_episodes_become_samples_with_right_answers(context: StepContext) -> None:
    made = entry()
    made.check(context)
    (file,) = list_pattern(str(WHEEL), "CC0-1.0", entry="t", base=context.base, store=DEFAULT_STORE)
    dealer, worker, asking = DealInstances(made, context), RecordTasks(made, context), AskAboutEpisodes(made, context)
    worker.setup()
    samples: list[Sample] = []
    for instance in dealer.process(Record(file.key, file), rng_for(0)):
        for record in worker.process(instance, rng_for(instance.key)):
            samples += asking.process(record, rng_for(record.key))
    worker.recorder.close()
    tasks = {sample.task for sample in samples}
    assert {"gui.trajectory.operation", "gui.trajectory.step"} <= tasks
    for sample in samples:
        if sample.truth is not None:
            assert grade_answer(sample.truth, sample.answer()).verdict == "correct"


@pytest.mark.chromium
def test_a_task_of_a_page_is_an_environment(
    recorder: Recorder, view: Callable[..., View], app: Callable[[str], FileSite]
) -> None:
    def episode(page: GuiPage) -> list[tuple[str, float | None]]:
        answers: list[str] = page.evaluate("window.app.tasks().map(task => task.answer ?? '')")
        seen = []
        for number in (answers.index(""), next(i for i, answer in enumerate(answers) if answer) + len(answers)):
            environment = TaskPage(page, number, "en")
            environment.reset()
            seen.append((environment.goal, environment.reward()))
            with suppress(ValueError):  # of a task that changes something
                environment.act(Action(action="complete", text=answers[number % len(answers)]))
            seen.append((environment.goal, environment.reward()))
        return seen

    (goal, before), (_, after), (question, unanswered), (_, answered) = recorder.run(app("settings"), view(), episode)
    assert goal and question.endswith("?")
    assert (before, after, unanswered, answered) == (None, None, None, 1.0)


def test_there_are_experts_of_many_tasks_and_some_are_held_out() -> None:
    assert len(experts()) >= 90
    assert set(HELD_OUT) < set(experts())


def test_held_out_tasks_are_not_recorded_unless_they_are_named() -> None:
    assert not set(entry(only=[]).tasks_to_record()) & set(HELD_OUT)
    assert entry(only=["enter-time"]).tasks_to_record() == ["enter-time"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"only": ["click-tset"]}, "no expert does the task click-tset"), ({"languages": ["zh"]}, "must contain en")],
)
def test_mistakes_are_told(fields: dict[str, Any], message: str, context: StepContext) -> None:
    with pytest.raises(UserError, match=message):
        entry(**fields).check(context)


def test_a_file_that_is_no_wheel_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "miniwob.whl"
    path.write_text("no archive")
    with pytest.raises(ValueError, match="is no wheel"):
        task_names(path)
    other = tmp_path / "other.whl"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("readme", "")
    with pytest.raises(ValueError, match="has no pages"):
        task_names(other)
    with pytest.raises(ValueError, match="has no task 'click-tset'"):
        MiniWobSite(SITE._wheel, "click-tset")


def test_nothing_outside_of_the_pages_is_answered() -> None:
    origin = SITE.start.rpartition("miniwob/")[0]
    assert SITE.reply(SITE.start) is not None
    assert SITE.reply(f"{origin}core/core.js") is not None
    for url in (f"{origin}miniwob/../../../secret", "https://example.com/miniwob/click-test.html", f"{origin}other"):
        assert SITE.reply(url) is None
