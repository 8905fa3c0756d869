"""Suites of environments on web pages, for evaluation and RL, see `step3vl.data.environment.Suite`.

Browsers are driven in one thread of the process. Each call of an environment is made there, so several episodes take
turns while their agents think, each in a browser of its own, whose crash costs that episode alone.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from step3vl.data.dataset.manifest import Split
from step3vl.data.errors import InfrastructureError, UserError
from step3vl.data.optional import require
from step3vl.data.processes import available_cores
from step3vl.data.sample import Action
from step3vl.pipelines.core.assets import packaged_assets
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.gui.environment import PageEnvironment
from step3vl.pipelines.gui.recorder import GuiPage, Recorder
from step3vl.pipelines.gui.screen import Screen
from step3vl.pipelines.gui.site import Site
from step3vl.pipelines.gui.view import View
from step3vl.pipelines.render.web.browser import PLAYWRIGHT, find_chromium

ResultT = TypeVar("ResultT")

EVALUATION_SEED = 1_000_000
"""Instances of tasks from here on are for evaluation; recordings and training have those below."""
FONTS = ("assets:fonts/*.ttf", "assets:fonts/*.otf")
"""Of the browsers, as those of the corpus."""


def seed_of(number: int, split: Split) -> int:
    """The seed of an instance; after a million, those of training are the same again."""
    return EVALUATION_SEED + number if split == "heldout" else number % EVALUATION_SEED


class PageSuite:
    """What suites of web pages have in common."""

    def __init__(self) -> None:
        self._fonts = [path for pattern in FONTS for path in sorted(packaged_assets(pattern).values())]
        self._idle: list[Recorder] = []
        self._recorders: list[Recorder] = []

    @property
    def concurrency(self) -> int:
        return available_cores()

    def check(self) -> None:
        require("playwright.sync_api", "pipelines")
        find_chromium()

    def close(self) -> None:
        """End the browsers."""
        for recorder in self._recorders:
            recorder.close()

    @contextmanager
    def _environment(
        self, site: Site, view: View, make: Callable[[GuiPage], PageEnvironment]
    ) -> Iterator["DrivenEnvironment"]:
        """An environment on a page, in a browser that no other one uses meanwhile."""
        with self._browser() as recorder:
            page = _begin(lambda: recorder.open(site, view))
            try:
                yield DrivenEnvironment(_begin(lambda: make(page)))
            finally:
                _drive(page.close)

    @contextmanager
    def _browser(self) -> Iterator[Recorder]:
        """A browser that nobody else uses meanwhile. After a crash the next user has another one."""
        try:
            recorder = self._idle.pop()
        except IndexError:
            recorder = Recorder(self._fonts)
            self._recorders.append(recorder)
        try:
            yield recorder
        except BrowserCrash:
            recorder.close()
            raise
        finally:
            self._idle.append(recorder)


class BrowserCrash(InfrastructureError):
    """The browser or the page has crashed. The episode is lost, and may be tried again."""


class DrivenEnvironment:
    """An environment that any thread may use.

    Args:
        environment: Of a page, which only the thread of the driver may use.
    """

    def __init__(self, environment: PageEnvironment) -> None:
        self._environment = environment

    @property
    def goal(self) -> str:
        return self._environment.goal

    def reset(self) -> Screen:
        return _begin(self._environment.reset)

    def observe(self) -> Screen:
        return _drive(self._environment.observe)

    def act(self, action: Action) -> None:
        _drive(lambda: self._environment.act(action))

    def reward(self) -> float | None:
        return _drive(self._environment.reward)


def _begin(call: Callable[[], ResultT]) -> ResultT:
    """As `_drive`, of what must succeed. Raises UserError, too, where the page is not as it should be."""
    try:
        return _drive(call)
    except ValueError as error:
        raise UserError(f"the task cannot be begun: {error}") from error


def _drive(call: Callable[[], ResultT]) -> ResultT:
    """Make a call in the thread of the driver.

    Raises:
        BrowserCrash: The browser has crashed.
        UserError: The page moves by itself, so that no screen can be seen.
    """
    api = require("playwright.sync_api", "pipelines")
    try:
        return PLAYWRIGHT.call(call)
    except api.Error as error:
        raise BrowserCrash(f"Chromium fails: {' '.join(str(error).split())[:300]}") from error
    except Dropped as drop:
        raise UserError(f"the screen cannot be seen: {drop.reason}") from drop
