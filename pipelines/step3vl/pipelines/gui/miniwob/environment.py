"""A task of MiniWoB++ as an environment.

The reward is the raw one, before time takes from it, and 1 alone is success: `find-greatest` pays .1 for a wrong card.
The time for a task is raised beyond any episode. What the pages show beside a task, the last reward and the like, is
hidden, as is what covers them when an episode has ended.
"""

from step3vl.data.sample import Action
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


class MiniWobPage:
    """A task, in one of its instances.

    Args:
        page: The page of the task.
        seed: Of the instance.
    """

    def __init__(self, page: GuiPage, seed: int) -> None:
        self._page, self._seed = page, seed
        self._goal = ""

    @property
    def page(self) -> GuiPage:
        """The page in the browser."""
        return self._page

    @property
    def goal(self) -> str:
        return self._goal

    def reset(self) -> Screen:
        self._page.reset()
        return self.start()

    def start(self) -> Screen:
        """Begin on a page that has just been loaded."""
        self._page.evaluate(_START, [str(self._seed), _SECONDS * 1000])
        self._page.pass_time(_FOCUS)
        if not self._page.evaluate("WOB_TASK_READY"):
            raise ValueError("the task is not ready")
        self._goal = self._page.evaluate("core.getUtterance()")
        if isinstance(self._goal, dict):  # of tasks that give fields beside the text
            self._goal = self._goal["utterance"]
        return self.observe()

    def observe(self) -> Screen:
        return self._page.observe()

    def act(self, action: Action) -> None:
        self._page.act(action)

    def reward(self) -> float | None:
        done, reward = self._page.evaluate("[WOB_DONE_GLOBAL, WOB_RAW_REWARD_GLOBAL]")
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
