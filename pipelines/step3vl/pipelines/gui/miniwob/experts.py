"""Experts of MiniWoB++: how each task is done, by who reads the goal and the page.

An expert gets a `Desk` and acts until the page says that the episode has ended. It may look anywhere into the page,
but acts as any agent does, by clicks, keys and drags on what can be seen. Modules of this folder have theirs in
`EXPERTS`.
"""

from collections.abc import Callable
from importlib import import_module

from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.gui.explorers import Recording
from step3vl.pipelines.gui.miniwob.desk import Desk
from step3vl.pipelines.gui.miniwob.environment import MiniWobPage

Expert = Callable[[Desk], None]
_MODULES = ("clicking", "writing", "dragging", "applications")


def experts() -> dict[str, Expert]:
    """Every expert by the name of its task."""
    known: dict[str, Expert] = {}
    for name in _MODULES:
        known |= import_module(f"{__package__}.{name}").EXPERTS
    return dict(sorted(known.items()))


def perform_task(environment: MiniWobPage, expert: Expert) -> Recording:
    """Let an expert do a task on a page that has just been loaded.

    Args:
        environment: The task.
        expert: Who does it.

    Raises:
        Dropped: It is not done in the end: `not_solved` where the raw reward is not 1, or why the expert gives up.
    """
    desk = Desk(environment)
    expert(desk)
    reward = environment.reward()
    if reward is None:
        raise Dropped("not_ended")
    if reward != 1.0:
        raise Dropped("not_solved")
    return desk.recording
