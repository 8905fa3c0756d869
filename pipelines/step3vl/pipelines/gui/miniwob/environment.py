"""A task of MiniWoB++ as an environment.

The reward is the raw one, before time takes from it, and 1 alone is success: `find-greatest` pays .1 for a wrong card.
The time for a task is raised beyond any episode. What the pages show beside a task, the last reward and the like, is
hidden, as is what covers them when an episode has ended.
"""

from step3vl.pipelines.gui.environment import PageEnvironment
from step3vl.pipelines.gui.recorder import GuiPage
from step3vl.pipelines.gui.screen import Screen
from step3vl.pipelines.gui.view import View

WIDTH, HEIGHT = 160, 210
"""Of the part of a page that is a task, in CSS pixels."""
_SECONDS = 1_000_000
_START = """([seed, time]) => {
  const style = document.createElement('style');
  style.textContent = '#reward-display, #click-canvas, #sync-task-cover { display: none !important }';
  document.head.append(style);
  core.EPISODE_MAX_TIME = time;
  Math.seedrandom(seed);
  core.startEpisodeReal();
  core.startEpisode = () => {};  // what begins another episode after the end of this one
}"""
_FOCUS = 200  # milliseconds of the page's time until a focus ring is there


class MiniWobPage(PageEnvironment):
    """A task, in one of its instances.

    Args:
        page: The page of the task.
        seed: Of the instance.
    """

    def __init__(self, page: GuiPage, seed: int) -> None:
        super().__init__(page)
        self._seed = seed

    def reset(self) -> Screen:
        self.page.reset()
        return self.start()

    def start(self) -> Screen:
        """Begin on a page that has just been loaded."""
        self.page.evaluate(_START, [str(self._seed), _SECONDS * 1000])
        self.page.pass_time(_FOCUS)
        if not self.page.evaluate("WOB_TASK_READY"):
            raise ValueError("the task is not ready")
        goal = self.page.evaluate("core.getUtterance()")
        self.goal = goal["utterance"] if isinstance(goal, dict) else goal  # some give fields beside the text
        return self.observe()

    def reward(self) -> float | None:
        done, reward = self.page.evaluate("[WOB_DONE_GLOBAL, WOB_RAW_REWARD_GLOBAL]")
        return float(reward) if done else None


def task_view(seed: int, scale: float) -> View:
    """How a task is shown.

    Args:
        seed: Of what is random in the browser besides.
        scale: Pixels of the image for a CSS pixel: tasks are so small that 2 to 4 make them readable.
    """
    return View(
        seed=seed, width=WIDTH, height=HEIGHT, scale=scale, theme="light", language="en", font="DejaVu Sans",
        font_size=14, accent="#0b57d0", radius=0, density=1.0,
    )  # fmt: skip
