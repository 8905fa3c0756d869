"""Experts: they do what a page's own task asks for, and the page itself says that it is done.

A page with tasks has `window.app.tasks()`, a list of `{goal: {en, zh}, steps, answer}`, and `window.app.done(number)`.
A step names an element by role and accessible name, as a person would who reads the screen; where it is not on the
screen, the expert scrolls until it is. `data/samples/web_apps/kit.js` has an example.
"""

from typing import Any, NamedTuple

from step3vl.data.sample import Action, Point
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.gui.explorers import Recording, Trial, perform
from step3vl.pipelines.gui.recorder import GuiPage
from step3vl.pipelines.gui.screen import Element, Pixels, Screen

_SNAP = 0.35  # of a step's width that a drag may end beside its value
_SCROLLS = 8  # until an element must have come into view


class Task(NamedTuple):
    """A task of a page.

    Attributes:
        goal: What is to be done, by language.
        steps: How: `do`, `role`, `name`, `text`.
        answer: Of a question; empty for a task that changes something.
    """

    goal: dict[str, str]
    steps: list[dict[str, str]]
    answer: str


def read_tasks(page: GuiPage) -> list[Task]:
    """The tasks of a page; none of a page that was not made for it."""
    raw: list[dict[str, Any]] = page.evaluate("window.app?.tasks?.() ?? []")
    return [Task(task["goal"], task["steps"], task["answer"]) for task in raw]


def perform_task(page: GuiPage, number: int, task: Task, max_steps: int) -> Recording:
    """Do a task from the beginning.

    Args:
        page: At its beginning.
        number: Of the task in the list.
        task: The task.
        max_steps: Longer ones are dropped.

    Raises:
        Dropped: The task is done before it is begun or before its last step, it is not done in the end, an element is
            not there, a step has no effect, or the answer is not on the last screen.
    """
    recording = Recording([page.observe()], [])
    steps = list(task.steps)
    for step in steps:
        if not task.answer and page.evaluate("number => window.app.done(number)", number):
            raise Dropped("task_done_too_early")
        if step["do"] == "hot_key":
            trial = Trial(Action(action="hot_key", text=step["text"]), None)
        else:
            element = _bring_into_view(page, recording, step["role"], step["name"], max_steps)
            if step["do"] == "see":
                continue
            trial = _trial(step, element, recording.screens[-1])
        if len(recording.steps) >= max_steps:
            raise Dropped("task_too_long")
        before = len(recording.screens) - 1
        if perform(page, recording, before, trial).effect.kind == "none":
            raise Dropped("step_without_effect")
    if task.answer:
        if not any(task.answer in line.text and line.whole for line in recording.screens[-1].lines):
            raise Dropped("answer_not_on_screen")
    elif not page.evaluate("number => window.app.done(number)", number):
        raise Dropped("task_not_done")
    return recording


def _trial(step: dict[str, str], element: Element, screen: Screen) -> Trial:
    if step["do"] == "type":
        return Trial(Action(action="type", point_2d=element.point, text=step["text"]), element)
    if step["do"] == "slide":
        return _slide(element, float(step["text"]), screen)
    if step["do"] == "double_click":
        return Trial(Action(action="double_click", point_2d=element.point), element)
    return Trial(Action(action="click", point_2d=element.point), element)


def _slide(element: Element, value: float, screen: Screen) -> Trial:
    """The drag of a slider's handle to a value.

    The handle is as wide as the slider is high, and its centre moves between the ends less half of that. It snaps to
    the nearest value, so the drag may end up to half a step's width beside it; the box is a little narrower.
    """
    if element.range is None:
        raise Dropped("no_slider")
    low, high, step = element.range
    x1, y1, x2, y2 = element.box
    handle = y2 - y1
    track = x2 - x1 - handle

    def centre(at: float) -> float:
        return x1 + handle / 2 + (at - low) / (high - low) * track

    def around(at: float, half: float) -> Pixels:
        return at - half, y1, at + half, y2

    now, then = centre(float(element.value)), centre(value)
    middle = (y1 + y2) / 2
    action = Action(
        action="slide",
        point_2d=Point(now, middle, "pixels", screen.size).milli(),
        end_point_2d=Point(then, middle, "pixels", screen.size).milli(),
    )
    half = _SNAP * step / (high - low) * track
    return Trial(action, element, around(now, handle / 2), around(then, half))


def _bring_into_view(page: GuiPage, recording: Recording, role: str, name: str, max_steps: int) -> Element:
    """The one element of a role and a name, after scrolling where that is needed."""
    for _ in range(_SCROLLS):
        screen = recording.screens[-1]
        matches = [e for e in screen.elements if (e.role, e.name) == (role, name) and e.exact]
        if len(matches) > 1:
            raise Dropped("element_not_unique")
        if matches:
            return matches[0]
        if not any((node.role, node.name) == (role, name) for node in screen.tree):
            raise Dropped("element_not_there")
        if len(recording.steps) >= max_steps:
            raise Dropped("task_too_long")
        perform(page, recording, len(recording.screens) - 1, _scroll(screen, recording))
    raise Dropped("element_not_reached")


def _scroll(screen: Screen, recording: Recording) -> Trial:
    """A scroll to what was not seen yet: down to the end of the page, then of what scrolls in it, then up."""
    parts = [(None, screen.extent), *((e, e.scroll) for e in screen.elements if e.scroll and e.exact)]
    turned = any(step.action.direction == "up" for step in recording.steps[-_SCROLLS:])
    for element, (top, height, window) in parts:
        point = element.point if element else None
        if not turned and top + window < height - 1:
            return Trial(Action(action="scroll", point_2d=point, direction="down"), element)
    for element, (top, _, _) in parts:
        if top > 0:
            return Trial(Action(action="scroll", point_2d=element.point if element else None, direction="up"), element)
    raise Dropped("element_not_reached")
