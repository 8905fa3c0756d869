"""Explorers: they act on a page without a goal and keep what each action did."""

import random
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from step3vl.data.sample import Action
from step3vl.data.sample.action import Direction
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.gui.effect import observe_effect
from step3vl.pipelines.gui.field_texts import text_for
from step3vl.pipelines.gui.screen import EffectKind, Element, Pixels, Screen, Step

_FIELDS = ("textbox", "searchbox")
_FOREIGN_TYPES = (
    "file",
    "date",
    "time",
    "month",
    "week",
    "datetime-local",
    "color",
    "number",
)  # windows of the system


class Surface(Protocol):
    """What is looked at and acted on: a page in a browser, or a program on a desktop."""

    def reset(self) -> None:
        """Begin as if nothing had happened."""

    def observe(self) -> Screen:
        """The screen as it is."""

    def act(self, action: Action) -> None:
        """Perform an action and wait until all that it does is done."""


class Trial(NamedTuple):
    """An action that may be tried on a screen."""

    action: Action
    target: Element | None
    start_box: Pixels | None = None
    end_box: Pixels | None = None


class Recording(NamedTuple):
    """Screens and the steps between them."""

    screens: list[Screen]
    steps: list[Step]


def trials(screen: Screen, rng: random.Random) -> list[Trial]:
    """What can be done on a screen: every control that a click reaches, and scrolling. Left alone are lists of the
    system, whose choices no screenshot shows, and links to what the site does not hold."""
    possible = []
    for element in screen.controls():
        if element.tag == "select" or element.type in _FOREIGN_TYPES or element.role == "slider" or element.leads_out:
            continue
        if element.role in _FIELDS:
            text = text_for(element, screen, rng)
            possible.append(Trial(Action(action="type", point_2d=element.point, text=text), element))
        else:
            possible.append(Trial(Action(action="click", point_2d=element.point), element))
    top, height, window = screen.extent
    if top + window < height - 1:
        possible.append(Trial(Action(action="scroll", direction="down"), None))
    if top > 0:
        possible.append(Trial(Action(action="scroll", direction="up"), None))
    for element in screen.elements:  # which scroll in the page
        if element.scroll and element.exact:
            top, height, window = element.scroll
            if top + window < height - 1:
                possible.append(Trial(Action(action="scroll", point_2d=element.point, direction="down"), element))
            if top > 0:
                possible.append(Trial(Action(action="scroll", point_2d=element.point, direction="up"), element))
    return possible


def perform(page: Surface, recording: Recording, before: int, trial: Trial) -> Step:
    """Perform an action on the last state of a page, and add the screen and the step to a recording."""
    page.act(trial.action)
    after = page.observe()
    effect = observe_effect(recording.screens[before], after, trial.action, trial.target)
    recording.screens.append(after)
    step = Step(
        before=before,
        action=trial.action,
        target=trial.target.index if trial.target else None,
        start_box=trial.start_box,
        end_box=trial.end_box,
        after=len(recording.screens) - 1,
        effect=effect,
    )
    recording.steps.append(step)
    return step


def random_walk(page: Surface, steps: int, rng: random.Random) -> Recording:
    """Actions one after the other, each tried once on a state; it ends where nothing is left to try.

    Args:
        page: At its beginning.
        steps: How many.
        rng: Random numbers.
    """
    recording = Recording([page.observe()], [])
    tried: set[tuple[str, str]] = set()
    for before in range(steps):
        screen = recording.screens[before]
        state = screen.state()
        fresh = [t for t in trials(screen, rng) if (state, t.action.to_text()) not in tried]
        if not fresh:
            break
        trial = rng.choice(fresh)
        tried.add((state, trial.action.to_text()))
        perform(page, recording, before, trial)
    return recording


def breadth_first(page: Surface, actions: int, branch: int, rng: random.Random) -> Recording:
    """Several actions on each state, the states in the order in which they are reached.

    Before an action on a state that the page has left, what was done last is undone. Where that does not bring the
    state back, the page is reset and led there again; it must then be in the very same state.

    Args:
        page: At its beginning.
        actions: How many in all, beside those that only lead to a state.
        branch: At most so many on a state.
        rng: Random numbers.

    Raises:
        Dropped: A state is not reached again by the same actions.
    """
    recording = Recording([page.observe()], [])
    waiting: list[tuple[int, tuple[Action, ...]]] = [(0, ())]
    position = recording.screens[0].state()
    seen = {position}
    step: Step | None = None
    for before, path in waiting:  # which grows on the way
        screen = recording.screens[before]
        state = screen.state()
        possible = trials(screen, rng)
        for trial in _varied(possible, branch, rng):
            if len(recording.steps) >= actions:
                return recording
            if position != state and not (step and _undo(page, recording, step, before)):
                _lead(page, path, screen)
            step = perform(page, recording, before, trial)
            position = recording.screens[step.after].state()
            if position not in seen:
                seen.add(position)
                waiting.append((step.after, (*path, trial.action)))
    return recording


_TAKEN_BACK: dict[EffectKind, Action] = {
    "page": Action(action="hot_key", text="back"),
    "dialog_opened": Action(action="hot_key", text="escape"),
    "popup_opened": Action(action="hot_key", text="escape"),
    "value": Action(action="hot_key", text="ctrl+z"),
}
_OPPOSITE: dict[Direction, Direction] = {"up": "down", "down": "up", "left": "right", "right": "left"}


def _undo(page: Surface, recording: Recording, step: Step, before: int) -> bool:
    """Take back what the last action did; whether the page is as it was before. That is a fifth of a reset's time."""
    if recording.screens[step.before].state() != recording.screens[before].state():
        return False
    action = _TAKEN_BACK.get(step.effect.kind)
    if step.effect.kind == "page" and not step.effect.url:  # nothing to go back to
        return False
    if step.effect.kind == "state":
        action = step.action  # a switch
    elif step.action.direction:
        action = step.action.model_copy(update={"direction": _OPPOSITE[step.action.direction]})
    if action is None:
        return False
    page.act(action)
    return page.observe().state() == recording.screens[before].state()


def _lead(page: Surface, path: Sequence[Action], screen: Screen) -> None:
    page.reset()
    for action in path:
        page.act(action)
    if page.observe().state() != screen.state():
        raise Dropped("state_not_reached_again")


def _varied(possible: Sequence[Trial], count: int, rng: random.Random) -> list[Trial]:
    """Some of the actions, of each role and kind in turn, so that thirty links do not hide a switch."""
    kinds: dict[tuple[str, str], list[Trial]] = {}
    for trial in rng.sample(possible, len(possible)):
        kinds.setdefault((trial.action.action, trial.target.role if trial.target else ""), []).append(trial)
    chosen: list[Trial] = []
    while len(chosen) < min(count, len(possible)):
        for group in kinds.values():
            if group and len(chosen) < count:
                chosen.append(group.pop())
    return chosen
