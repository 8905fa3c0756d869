import random
from collections.abc import Callable

import pytest

from step3vl.data.sample import Action
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.gui.experts import perform_task, read_tasks
from step3vl.pipelines.gui.explorers import Recording, breadth_first, random_walk, trials
from step3vl.pipelines.gui.recorder import GuiPage, Recorder
from step3vl.pipelines.gui.screen import Screen
from step3vl.pipelines.gui.site import FileSite
from step3vl.pipelines.gui.view import View

pytestmark = pytest.mark.chromium
Sites, Views = Callable[[str], FileSite], Callable[..., View]

# Two buttons that count, each in a text of its own: nine states within two clicks each.
COUNTERS = """<button onclick="a.textContent = ++n">A</button><button onclick="b.textContent = ++m">B</button>
<p id=a>0</p><p id=b>0</p><script>let n = 0, m = 0;</script>"""


def replay(page: GuiPage, recording: Recording) -> Screen:
    """The last screen of actions that follow each other, performed again from the beginning."""
    page.reset()
    for step in recording.steps:
        page.act(step.action)
    return page.observe()


def test_breadth_first_tries_each_action_of_a_state_and_returns_to_it(
    recorder: Recorder, view: Views, site: Sites
) -> None:
    recording = recorder.run(site(COUNTERS), view(), lambda page: breadth_first(page, 8, 4, random.Random(0)))
    assert len(recording.steps) == 8
    states = [screen.state() for screen in recording.screens]
    assert [states[step.before] == states[0] for step in recording.steps] == [True, True] + [False] * 6
    # AA, AB and BA, BB: two of them are one state.
    assert len(set(states)) == 1 + 2 + 3 + len({states[s.after] for s in recording.steps[6:]} - set(states[:7]))
    assert all(step.effect.kind == "content" for step in recording.steps)


def test_exploration_of_a_page_that_is_not_the_same_again_is_dropped(
    recorder: Recorder, view: Views, site: Sites
) -> None:
    body = COUNTERS + "<script>n = window.name.length; window.name += 'x'</script>"

    class Restless(FileSite):
        loads = 0

        def reply(self, url: str) -> object:  # type: ignore[override]
            Restless.loads += 1
            answer = super().reply(url)
            return answer and answer._replace(body=answer.body + f"<p>{Restless.loads}</p>".encode())

    page = site(body)
    page.__class__ = Restless
    with pytest.raises(Dropped, match="state_not_reached_again"):
        recorder.run(page, view(), lambda page: breadth_first(page, 8, 4, random.Random(0)))


def test_walk_tries_no_action_twice_on_a_state(recorder: Recorder, view: Views, site: Sites) -> None:
    body = "<button>A</button><input aria-label=Name>"
    recording = recorder.run(site(body), view(), lambda page: random_walk(page, 40, random.Random(0)))
    tried = [(recording.screens[s.before].state(), s.action.to_text()) for s in recording.steps]
    assert len(set(tried)) == len(tried)
    assert {step.action.action for step in recording.steps} == {"click", "type"}


def test_links_that_lead_out_are_left_alone_and_what_scrolls_in_the_page_is_scrolled(
    recorder: Recorder, view: Views, site: Sites
) -> None:
    body = """<p><a href=page.html>here</a> <a href='#end'>end</a> <a href='javascript:0'>script</a></p>
        <p><a href=away.html>away</a> <a href=https://a.example/>far</a> <a href=page.html target=_blank>window</a></p>
        <svg width=80 height=30><a href=page.html><text y=20>vector</text></a></svg>
        <div style='height: 60px; overflow: auto'><p style='height: 400px'>long</p></div>"""
    screen = recorder.run(site(body), view(), lambda page: page.observe())
    possible = [trial for trial in trials(screen, random.Random(0)) if trial.target is not None]
    clicked = [t.target.name for t in possible if t.action.action == "click" and t.target]
    assert clicked == ["here", "end", "script", "vector"]
    assert [t.action.direction for t in possible if t.action.action == "scroll"] == ["down"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "language"), [("shop", "en"), ("planner", "zh"), ("settings", "en"), ("files", "zh")]
)
def test_tasks_are_done_and_done_again_by_the_same_actions(
    name: str, language: str, recorder: Recorder, view: Views, app: Sites
) -> None:
    def perform(page: GuiPage) -> list[bool]:
        tasks = read_tasks(page)
        same = []
        for number in random.Random(name).sample(range(len(tasks)), 3):
            page.reset()
            recording = perform_task(page, number, tasks[number], 20)
            same.append(replay(page, recording) == recording.screens[-1])
        return same

    assert recorder.run(app(name), view(language=language, seed=5), perform) == [True, True, True]


@pytest.mark.slow
def test_slide_ends_at_the_same_value_anywhere_in_its_box(recorder: Recorder, view: Views, app: Sites) -> None:
    def values(page: GuiPage) -> list[str]:
        tasks = read_tasks(page)
        (number,) = [i for i, task in enumerate(tasks) if task.steps[-1]["do"] == "slide"]
        page.reset()
        recording = perform_task(page, number, tasks[number], 9)
        step, screen = recording.steps[-1], recording.screens[-2]
        assert step.end_box is not None and step.start_box is not None and step.target is not None
        x1, _, x2, _ = step.end_box
        results = [recording.screens[-1]]
        for x in (x1, x2):
            page.reset()
            for before in recording.steps[:-1]:
                page.act(before.action)
            end = (round(x / screen.size[0] * 1000), step.action.end_point_2d[1])
            page.act(Action(action="slide", point_2d=step.action.point_2d, end_point_2d=end))
            results.append(page.observe())
        names = {e.index: e.name for e in screen.elements}
        name = names[step.target]  # also of the slider's label, which has no value
        return [node.value for s in results for node in s.tree if node.name == name and node.value]

    reached = recorder.run(app("settings"), view(), values)
    assert len(reached) == 3 and len(set(reached)) == 1


TASK = """<button onclick="done = true; document.title = 'Done'">Go</button><button>Twin</button><button>Twin</button>
<button onclick="">Idle</button><p>42 kg</p><script>let done = {start};
app = {{tasks: () => [{{goal: {{en: 'g', zh: 'g'}}, answer: '{answer}', steps: {steps}}}],
done: () => done}};</script>"""


@pytest.mark.parametrize(
    ("steps", "answer", "start", "reason"),
    [
        ("[{do: 'click', role: 'button', name: 'Go'}]", "", "true", "task_done_too_early"),
        ("[{do: 'click', role: 'button', name: 'Go'}, {do: 'click', role: 'button', name: 'Go'}]", "", "false",
         "task_done_too_early"),
        ("[{do: 'click', role: 'button', name: 'Gone'}]", "", "false", "element_not_there"),
        ("[{do: 'click', role: 'button', name: 'Twin'}]", "", "false", "element_not_unique"),
        ("[{do: 'hot_key', name: '', role: '', text: 'shift'}]", "", "false", "step_without_effect"),
        ("[{do: 'click', role: 'button', name: 'Idle'}]", "", "false", "task_not_done"),
        ("[{do: 'see', role: 'button', name: 'Go'}]", "43 kg", "false", "answer_not_on_screen"),
    ],
)  # fmt: skip
def test_task_that_is_not_what_it_says_is_dropped(
    steps: str, answer: str, start: str, reason: str, recorder: Recorder, view: Views, site: Sites
) -> None:
    body = TASK.format(steps=steps, answer=answer, start=start)
    with pytest.raises(Dropped, match=reason):
        recorder.run(site(body), view(), lambda page: perform_task(page, 0, read_tasks(page)[0], 5))


def test_answer_that_is_on_the_screen_is_taken(recorder: Recorder, view: Views, site: Sites) -> None:
    body = TASK.format(steps="[{do: 'see', role: 'button', name: 'Go'}]", answer="42 kg", start="false")
    recording = recorder.run(site(body), view(), lambda page: perform_task(page, 0, read_tasks(page)[0], 5))
    assert recording.steps == []
