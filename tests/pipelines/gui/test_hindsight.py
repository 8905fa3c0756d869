"""Goals that are read off what explorers did: which are reached, by which way, and which are missed."""

import random

import pytest

from step3vl.data.sample import Action
from step3vl.pipelines.core.samples import encode_jpeg
from step3vl.pipelines.gui.effect import observe_effect
from step3vl.pipelines.gui.hindsight import Attempt, Goal, attempts
from step3vl.pipelines.gui.screen import Element, Episode, Screen, Step, TextLine, TreeNode
from step3vl.pipelines.render.style import plain

IMAGE = encode_jpeg(plain((100, 100), (255, 255, 255)))


def element(index: int, role: str, name: str) -> Element:
    return Element(
        index=index, parent=-1, tag="", type="", role=role, name=name, value="", states=(), level=0, text=name,
        hint="", label="", range=None, icon=False, box=(1, 10 * index, 90, 10 * index + 9),
        point=(450, 100 * index + 45), whole=True, control=True, exact=True, scroll=None,
    )  # fmt: skip


def screen(*nodes: tuple[str, str] | tuple[str, str, str], title: str = "Paint") -> Screen:
    """A screen of nodes: role, name and maybe a state."""
    return Screen(
        image=IMAGE, url="", title=title, lines=(), scrolled=(), extent=(0, 100, 100),
        elements=tuple(element(n, node[0], node[1]) for n, node in enumerate(nodes) if node[0] != "dialog"),
        tree=tuple(TreeNode(node[0], node[1], "", node[2:]) for node in nodes),
    )  # fmt: skip


MENU = ("menuitem", "Help")
START = screen(MENU, ("checkbox", "Grid", "not checked"))
GRID = screen(MENU, ("checkbox", "Grid", "checked"))
OPEN = screen(MENU, ("checkbox", "Grid", "not checked"), ("menuitem", "About"))
ABOUT = screen(MENU, ("checkbox", "Grid", "not checked"), ("dialog", "About Paint"))


def walk(*moves: tuple[Screen, str, Screen]) -> Episode:
    """An episode of clicks: the screen, the name of what is clicked, and the screen after."""
    screens: list[Screen] = [moves[0][0]]
    steps = []
    for before, name, after in moves:
        if before is not screens[-1]:
            screens.append(before)
        target = next(each for each in before.elements if each.name == name)
        action = Action(action="click", point_2d=target.point)
        effect = observe_effect(before, after, action, target)
        screens.append(after)
        place = len(screens) - 1
        steps.append(Step(before=place - 1, action=action, target=target.index, after=place, effect=effect))
    return Episode(
        kind="walk", page="p", licence="CC0-1.0", language="en", view={}, screens=tuple(screens), steps=tuple(steps)
    )


def named(episode: Episode, attempt: Attempt) -> list[str]:
    """What an attempt clicks."""
    names = []
    for step in attempt.episode.steps:
        names += [each.name for each in episode.screens[step.before].elements if each.index == step.target]
    return names


def test_the_way_to_a_goal_has_no_step_that_it_does_not_need() -> None:
    episode = walk((START, "Grid", GRID), (GRID, "Grid", START), (START, "Help", OPEN), (OPEN, "About", ABOUT))
    ways = {
        each.episode.goal["en"]: named(episode, each) for each in attempts(episode, 9, random.Random(0)) if each.done
    }
    assert ways == {
        "Open the dialog “About Paint”.": ["Help", "About"],
        "Tick “Grid”.": ["Grid"],
        "Untick “Grid”.": ["Grid"],
    }


def test_what_a_goal_does_not_need_is_done_before_its_first_screen() -> None:
    lit = screen(MENU, ("checkbox", "Grid", "checked"), ("menuitem", "About"))
    episode = walk((START, "Help", OPEN), (OPEN, "Grid", lit))
    attempt = next(each for each in attempts(episode, 9, random.Random(0)) if "Grid" in each.episode.goal["en"])
    assert named(episode, attempt) == ["Grid"]
    assert attempt.lead == (episode.steps[0].action,)


def test_what_holds_from_the_beginning_is_no_goal() -> None:
    named_so = screen(MENU, ("dialog", "About Paint"), ("menuitem", "About"))
    twice = screen(MENU, ("dialog", "About Paint"), ("dialog", "About Paint"), ("menuitem", "About"))
    assert attempts(walk((named_so, "About", twice)), 9, random.Random(0)) == []


def test_a_way_that_never_reaches_another_goal_fails_it() -> None:
    episode = walk((START, "Grid", GRID), (GRID, "Grid", START), (START, "Help", OPEN), (OPEN, "About", ABOUT))
    missed = [each for each in attempts(episode, 9, random.Random(0)) if not each.done]
    assert [(each.episode.goal["en"], named(episode, each)) for each in missed] == [
        ("Tick “Grid”.", ["Help", "About"])
    ]


def test_a_goal_of_a_name_that_two_elements_have_never_holds() -> None:
    goal = Goal("state", "checkbox", "Grid", "checked")
    assert goal.holds(GRID) and not goal.holds(START)
    assert not goal.holds(screen(("checkbox", "Grid", "checked"), ("checkbox", "Grid", "not checked")))


def test_what_nobody_asks_for_is_no_goal() -> None:
    """A digit on the display of a calculator, and a list that closes again."""
    digits = screen(MENU, ("button", "7"))
    assert attempts(walk((digits, "7", screen(MENU, ("button", "7"), ("text", "49")))), 4, random.Random(0)) == []
    unfolded, folded = (screen(MENU, ("combobox", "Sort by", state)) for state in ("expanded", "not expanded"))
    assert attempts(walk((unfolded, "Sort by", folded)), 4, random.Random(0)) == []


@pytest.mark.parametrize(
    ("role", "state", "goal"),
    [
        ("switch", "checked", {"en": "Switch on “A”.", "zh": "打开“A”选项。"}),
        ("checkbox", "checked", {"en": "Tick “A”.", "zh": "勾选“A”。"}),
        ("radio", "checked", {"en": "Choose “A”.", "zh": "选择“A”。"}),
        ("radio", "not checked", None),
        ("button", "pressed", {"en": "Press the button “A”.", "zh": "按下按钮“A”。"}),
        ("tab", "selected", {"en": "Open the tab “A”.", "zh": "打开标签页“A”。"}),
    ],
)
def test_a_goal_is_in_the_words_of_its_element(role: str, state: str, goal: dict[str, str] | None) -> None:
    assert Goal("state", role, "A", state).text() == goal


def test_what_a_scroll_brings_into_view_is_a_goal_unless_it_was_there() -> None:
    line = TextLine(text="Returns", box=(1, 1, 20, 9), element=0, whole=True)
    first = screen(("heading", "Colour¶"))
    second = screen(("heading", "Returns¶")).model_copy(update={"lines": (line,)})
    action = Action(action="scroll", direction="down")

    def scrolled(before: Screen) -> Episode:
        effect = observe_effect(before, second, action, None)
        step = Step(before=0, action=action, after=1, effect=effect)
        return Episode(
            kind="walk", page="p", licence="x", language="en", view={}, screens=(before, second), steps=(step,)
        )

    (attempt,) = attempts(scrolled(first), 4, random.Random(0))
    assert attempt.episode.goal["en"] == "Scroll until “Returns” can be seen."
    assert attempts(scrolled(second.model_copy(update={"extent": (10, 100, 50)})), 4, random.Random(0)) == []


def test_a_page_is_named_without_what_all_pages_have() -> None:
    link = ("link", "Cart")
    pages = [screen(link, title=f"{name} – Market") for name in ("Home", "Cart")]
    (attempt,) = attempts(walk((pages[0], "Cart", pages[1])), 4, random.Random(0))
    assert attempt.episode.goal == {"en": "Open the page “Cart”.", "zh": "打开页面“Cart”。"}


def test_the_end_of_a_program_closes_it() -> None:
    quit_menu = screen(MENU, ("menuitem", "Quit"))
    episode = walk((START, "Help", quit_menu), (quit_menu, "Quit", screen()))
    attempt = attempts(episode, 4, random.Random(0))[0]
    assert named(episode, attempt) == ["Help", "Quit"]
    assert attempt.episode.goal == {"en": "Close “Paint”.", "zh": "关闭“Paint”。"}
