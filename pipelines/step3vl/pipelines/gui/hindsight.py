"""Tasks in hindsight: what an explorer happened to reach is a goal, and the actions that led there are how to do it.

Explorers act without a goal. Here one is read off the effect that an action was seen to have, such as a dialog that
opened or a switch that is on. The way there is the end of the shortest one that was walked from the first state, as
far as its actions were done one after the other and each is needed: it brings what the next one acts on. A way on
which another goal is never reached is a run that fails it.
"""

import random
import re
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from step3vl.data.config import Config
from step3vl.data.sample import Action
from step3vl.pipelines.core.phrasings import Language
from step3vl.pipelines.gui.screen import Episode, Screen, Step, target_of

_LONGEST = 60  # characters of a name in a goal
_APPEARING = {"dialog_opened": ("dialog", "alertdialog"), "popup_opened": ("menu", "listbox")}  # roles
_BETWEEN = re.compile(r" [-–—|·•:] ")  # the parts of a title
_SENTENCES: dict[tuple[str, str], tuple[str, str] | None] = {
    ("element", "dialog"): ("Open the dialog “{0}”.", "打开对话框“{0}”。"),
    ("element", "alertdialog"): ("Open the dialog “{0}”.", "打开对话框“{0}”。"),
    ("element", "menu"): ("Open the menu “{0}”.", "打开菜单“{0}”。"),
    ("element", "listbox"): ("Open the list “{0}”.", "打开列表“{0}”。"),
    ("seen", ""): ("Scroll until “{0}” can be seen.", "滚动屏幕，直到能看到“{0}”。"),
    ("page", ""): ("Open the page “{1}”.", "打开页面“{1}”。"),
    ("closed", ""): ("Close “{0}”.", "关闭“{0}”。"),
    ("value", ""): ("Set “{0}” to “{1}”.", "把“{0}”设为“{1}”。"),
    ("value", "textbox"): ("Type “{1}” into “{0}”.", "在“{0}”中输入“{1}”。"),
    ("value", "searchbox"): ("Type “{1}” into “{0}”.", "在“{0}”中输入“{1}”。"),
    ("checked", ""): ("Switch on “{0}”.", "打开“{0}”选项。"),
    ("checked", "checkbox"): ("Tick “{0}”.", "勾选“{0}”。"),
    ("checked", "radio"): ("Choose “{0}”.", "选择“{0}”。"),
    ("checked", "menuitemradio"): ("Choose “{0}”.", "选择“{0}”。"),
    ("not checked", ""): ("Switch off “{0}”.", "关闭“{0}”选项。"),
    ("not checked", "radio"): None,
    ("not checked", "menuitemradio"): None,
    ("not checked", "checkbox"): ("Untick “{0}”.", "取消勾选“{0}”。"),
    ("pressed", ""): ("Press the button “{0}”.", "按下按钮“{0}”。"),
    ("not pressed", ""): ("Switch the button “{0}” off.", "关闭按钮“{0}”。"),
    ("selected", ""): ("Select “{0}”.", "选中“{0}”。"),
    ("selected", "tab"): ("Open the tab “{0}”.", "打开标签页“{0}”。"),
    ("expanded", ""): ("Expand “{0}”.", "展开“{0}”。"),
    ("expanded", "combobox"): ("Open the list “{0}”.", "打开列表“{0}”。"),
    ("not expanded", ""): ("Collapse “{0}”.", "收起“{0}”。"),
    ("not expanded", "combobox"): None,
}
"""Of what is to be so and the role of the element, in English and Chinese; without a role for all others. None for
what nobody asks for."""


class Goal(NamedTuple):
    """A state of a page or program that can be seen.

    Attributes:
        kind: What is to be so: an element is there, or is in a state or has a value; a window has a title or is
            closed; a text is in view.
        role: Of the element.
        name: Of the element or the window; the text.
        state: For `state` and `value`; of a page what a person calls it.
    """

    kind: Literal["element", "state", "value", "page", "closed", "seen"]
    role: str
    name: str
    state: str = ""

    def holds(self, screen: Screen) -> bool:
        """Whether a screen is in this state."""
        nodes = [node for node in screen.tree if (node.role, node.name) == (self.role, self.name)]
        match self.kind:
            case "element":
                return bool(nodes)
            case "state":
                return len(nodes) == 1 and self.state in nodes[0].states
            case "value":
                return len(nodes) == 1 and nodes[0].value == self.state
            case "page":
                return bool(screen.tree) and screen.title == self.name
            case "closed":
                return not screen.tree
            case "seen":
                visible = (text for e in screen.elements if e.whole for text in (e.text, e.name, e.value))
                return self.name in visible or any(line.text == self.name for line in screen.lines)

    def text(self) -> dict[Language, str] | None:
        """The goal in words, by language; None where nobody asks for it."""
        what = self.state if self.kind == "state" else self.kind
        sentence = _SENTENCES.get((what, self.role), _SENTENCES.get((what, "")))
        if sentence is None:
            return None
        english, chinese = (each.format(self.name, self.state) for each in sentence)
        return {"en": english, "zh": chinese}


class Attempt(Config):
    """A goal and what was done, from the first state on."""

    episode: Episode
    """With the steps of the attempt alone, each on the screen on which it was performed, and the goal in words."""
    done: bool
    """Whether the goal is reached in the end; it is not before."""
    lead: tuple[Action, ...] = ()
    """What was done before, from the first screen of the recording on."""


def attempts(episode: Episode, number: int, rng: random.Random) -> list[Attempt]:
    """Goals of an exploration or a walk, each with a way that reaches it, or that does not.

    Args:
        episode: Without a goal of its own.
        number: At most so many that are reached, and half as many that are not.
        rng: Chooses.
    """
    reached = {way.goal: way for way in reversed(list(_ways(episode))) if _succeeds(episode, way)}
    goals = rng.sample(sorted(reached), len(reached))
    goals.sort(key=lambda goal: -len(reached[goal].steps))
    chosen = [_attempt(episode, goal, reached[goal], done=True) for goal in goals[:number]]
    missed = [
        (goal, reached[other])
        for goal in sorted(reached)
        for other in sorted(reached)
        if other != goal and len(reached[other].steps) > 1 and not _is_reached(episode, goal, reached[other].steps)
    ]
    some = rng.sample(missed, min(number // 2, len(missed)))
    return chosen + [_attempt(episode, goal, way, done=False) for goal, way in some]


class _Way(NamedTuple):
    """Steps to a goal, and those before them from the first state on."""

    goal: Goal
    steps: list[Step]
    lead: list[Step]


def _ways(episode: Episode) -> Iterator[_Way]:
    """Each step whose effect is a goal, with the shortest way to its state before it, as far as it is needed."""
    states = [screen.state() for screen in episode.screens]
    paths: dict[str, list[Step]] = {states[0]: []}
    waiting = [states[0]]
    for state in waiting:  # which grows on the way
        for step in episode.steps:
            if states[step.before] == state and states[step.after] not in paths:
                paths[states[step.after]] = [*paths[state], step]
                waiting.append(states[step.after])
    for step in episode.steps:
        goal, path = _goal(episode, step), paths.get(states[step.before])
        if goal is not None and path is not None:
            yield _way(episode, goal, path, step)


def _way(episode: Episode, goal: Goal, path: Sequence[Step], last: Step) -> _Way:
    """The end of a path, as far as the last step needs it."""
    steps, first = [last], len(path)
    while first and _follows(episode, path[first - 1], steps[0]) and _brings(episode, path[:first], steps[0]):
        first -= 1
        steps.insert(0, path[first])
    # A walk never returned to its beginning, so what was done before is all of it.
    lead = episode.steps[: episode.steps.index(steps[0])] if episode.kind == "walk" else path[:first]
    return _Way(goal, steps, list(lead))


def _goal(episode: Episode, step: Step) -> Goal | None:
    """What a step reached, where a person would ask for it and one can say so before it is done."""
    effect, target, after = step.effect, target_of(episode, step), episode.screens[step.after]
    name, goal = effect.subject, None
    match effect.kind:
        case "dialog_opened" | "popup_opened":
            roles = [node.role for node in after.tree if node.name == name and node.role in _APPEARING[effect.kind]]
            goal = Goal("element", roles[0], name) if roles else None
        case "page":
            goal = Goal("page", "", name, _page_name(episode, name))
        case "closed":
            goal = Goal("closed", "", name)
        case "scrolled" | "content" if step.action.direction:
            goal = Goal("seen", "", _came_into_view(episode, step))
        case "state" if target is not None:
            goal = Goal("state", target.role, name, effect.state)
        case "value" if target is not None and target.role == "option":
            goal = Goal("value", "combobox", name, effect.state)
        case "value" if target is not None and target.name == name:
            goal = Goal("value", target.role, name, effect.state)
    if goal is None or not goal.name or goal.text() is None:
        return None
    is_short = max(len(goal.name), len(goal.state)) <= _LONGEST
    return goal if is_short and not {"“", "”"} & set(goal.name + goal.state) else None


def _page_name(episode: Episode, title: str) -> str:
    """A title without the part that all pages of the episode have, such as the name of the site."""
    parts = _BETWEEN.split(title)
    others = [_BETWEEN.split(screen.title) for screen in episode.screens if screen.title != title]
    for end, rest in ((-1, parts[:-1]), (0, parts[1:])):
        if others and len(rest) and all(len(each) > 1 and each[end] == parts[end] for each in others):
            return " – ".join(rest)
    return title


def _came_into_view(episode: Episode, step: Step) -> str:
    """A text that a scroll brought into view: a heading, or else the first of those that appeared; or empty."""
    before, after = episode.screens[step.before], episode.screens[step.after]
    hidden = {line.text for line in before.lines}
    headings = {e.index for e in after.elements if e.role == "heading"}
    titles = [line.text for line in after.lines if line.whole and line.element in headings and line.text not in hidden]
    return next((text for text in (*titles, *step.effect.samples) if any(map(str.isalnum, text))), "")


def _follows(episode: Episode, step: Step, following: Step) -> bool:
    """Whether two steps were done one after the other; an exploration proves states by returning to them."""
    return episode.kind != "walk" or step.after == following.before


def _brings(episode: Episode, path: Sequence[Step], following: Step) -> bool:
    """Whether what a step acts on can be reached after a path, and nowhere on it. A scroll may be repeated."""
    target = target_of(episode, following)
    if target is None or (following.action.direction and path[-1].action == following.action):
        return target is not None
    elements = (each for step in path for each in episode.screens[step.before].elements)
    return not any(each.exact and (each.role, each.name) == (target.role, target.name) for each in elements)


def _succeeds(episode: Episode, way: _Way) -> bool:
    """Whether the goal of a way is reached by its last step, and not before."""
    last = way.steps[-1]
    early = _is_reached(episode, way.goal, way.steps[:-1]) or way.goal.holds(episode.screens[last.before])
    return not early and way.goal.holds(episode.screens[last.after])


def _is_reached(episode: Episode, goal: Goal, steps: Sequence[Step]) -> bool:
    """Whether a goal holds on any screen of some steps."""
    return any(goal.holds(episode.screens[number]) for step in steps for number in (step.before, step.after))


def _attempt(episode: Episode, goal: Goal, way: _Way, *, done: bool) -> Attempt:
    update = {"steps": tuple(way.steps), "goal": goal.text() or {}, "answer": ""}
    lead = tuple(step.action for step in way.lead)
    return Attempt(episode=episode.model_copy(update=update), done=done, lead=lead)
