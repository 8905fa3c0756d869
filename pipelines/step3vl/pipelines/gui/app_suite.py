"""Web apps with tasks as a suite of environments, see `step3vl.data.environment.Suite` and `experts`."""

import hashlib
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path

from step3vl.data.dataset.manifest import Split
from step3vl.data.errors import UserError
from step3vl.data.sample import Action
from step3vl.pipelines.core.steps import rng_for
from step3vl.pipelines.gui.environment import TaskPage
from step3vl.pipelines.gui.experts import perform_task, read_tasks
from step3vl.pipelines.gui.recorder import GuiPage
from step3vl.pipelines.gui.site import FileSite
from step3vl.pipelines.gui.suite import DrivenEnvironment, PageSuite, seed_of
from step3vl.pipelines.gui.view import RECORDED_SEEDS, View, ViewOptions, pick_view

_MAX_STEPS = 20  # of an expert
_VIEWS = ViewOptions(viewports=((800, 600),), scales=(1.0,), languages=("en",), dark=0.3, fonts=("DejaVu Sans",))


class AppSuite(PageSuite):
    """The apps of a folder. What an app holds follows from the seed of its instance, and its tasks are done in turn.

    Args:
        path: A folder of pages with `window.app`, in a file each, and the scripts and style sheets that they share.

    Raises:
        UserError: It has no page.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._pages = {page.stem: page for page in sorted(path.glob("*.html"))}
        self._shared = sorted([*path.glob("*.js"), *path.glob("*.css")])
        if not self._pages:
            raise UserError(f"{path}: there is no page NAME.html in it")

    @cached_property
    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for path in (*self._pages.values(), *self._shared):
            digest.update(f"{path.name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()[:32]

    def tasks(self, split: Split) -> tuple[str, ...]:
        return tuple(self._pages)

    def open(self, task: str, number: int, split: Split) -> AbstractContextManager[DrivenEnvironment]:
        site = FileSite(self._pages[task], self._shared)
        return self._environment(site, app_view(number, split), lambda page: TaskPage(page, number, "en"))

    def demonstrate(self, task: str, number: int, split: Split) -> list[Action]:
        """What the expert does on an instance. Raises Dropped where it fails."""

        def episode(page: GuiPage) -> list[Action]:
            tasks = read_tasks(page)
            place = number % len(tasks)
            actions = [step.action for step in perform_task(page, place, tasks[place], _MAX_STEPS).steps]
            answer = tasks[place].answer
            return [*actions, Action(action="complete", text=answer)] if answer else actions

        with self._browser() as recorder:
            return recorder.run(FileSite(self._pages[task], self._shared), app_view(number, split), episode)


def app_view(number: int, split: Split) -> View:
    """How an instance is shown, and the seed of what it holds; no recording has that of one for evaluation."""
    seed = seed_of(number, split)
    content = RECORDED_SEEDS + seed if split == "heldout" else seed
    return pick_view(_VIEWS, rng_for("app", seed)).model_copy(update={"seed": content})
