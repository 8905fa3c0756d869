"""Episodes in environments: how each of them ends."""

from typing import NamedTuple

import pytest

from step3vl.data.environment import run_episode
from step3vl.data.sample import Action, Image


class Seen(NamedTuple):
    number: int

    @property
    def image(self) -> Image:
        raise NotImplementedError  # nobody looks


class Counter:
    """It is done after three clicks, and has no other action but `wait`."""

    goal = "Click three times."

    def __init__(self) -> None:
        self.clicks = 99

    def reset(self) -> Seen:
        self.clicks = 0
        return self.observe()

    def observe(self) -> Seen:
        return Seen(self.clicks)

    def act(self, action: Action) -> None:
        if action.action not in ("click", "wait"):
            raise ValueError("no such action")
        self.clicks += action.action == "click"

    def reward(self) -> float | None:
        return 1.0 if self.clicks >= 3 else None


CLICK, WAIT = Action(action="click", point_2d=(500, 500)), Action(action="wait")


@pytest.mark.parametrize(
    ("actions", "expected"),
    [
        ([CLICK] * 5, (1.0, 3, "done")),
        ([WAIT, CLICK, CLICK, CLICK], (1.0, 4, "done")),
        ([WAIT] * 9, (0.0, 5, "too_long")),
        ([CLICK, Action(action="complete")], (0.0, 1, "stopped")),
        ([Action(action="hot_key", text="home")], (0.0, 0, "refused")),
    ],
)
def test_an_episode_ends(actions: list[Action], expected: tuple[float, int, str]) -> None:
    waiting = iter(actions)
    assert run_episode(Counter(), lambda goal, seen: next(waiting), 5) == expected


def test_the_agent_sees_the_goal_and_the_newest_screen() -> None:
    seen: list[tuple[str, int]] = []

    def choose(goal: str, screen: Seen) -> Action:
        seen.append((goal, screen.number))
        return CLICK

    run_episode(Counter(), choose, 5)
    assert seen == [("Click three times.", 0), ("Click three times.", 1), ("Click three times.", 2)]
