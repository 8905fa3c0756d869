"""MiniWoB++ as a suite of environments, see `step3vl.data.environment.Suite`."""

import hashlib
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path

from step3vl.data.dataset.manifest import Split
from step3vl.data.errors import UserError
from step3vl.data.sample import Action
from step3vl.pipelines.gui.miniwob.environment import MiniWobPage, task_view
from step3vl.pipelines.gui.miniwob.experts import experts, perform_task
from step3vl.pipelines.gui.miniwob.held_out import HELD_OUT
from step3vl.pipelines.gui.miniwob.site import MiniWobSite, task_names
from step3vl.pipelines.gui.recorder import GuiPage
from step3vl.pipelines.gui.suite import DrivenEnvironment, PageSuite, seed_of

_SCALE = 2.0  # pixels of a CSS pixel: 320 x 420


class MiniWobSuite(PageSuite):
    """The tasks of a wheel that an expert can do, so that each is known to be possible.

    Args:
        path: The wheel of `miniwob`.

    Raises:
        UserError: It is no such wheel, or has none of the tasks.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        try:
            self._names = tuple(name for name in task_names(path) if name in experts())
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: {error}; pip download --no-deps miniwob==1.1.0 brings the wheel") from None

    @cached_property
    def fingerprint(self) -> str:
        return hashlib.sha256(self._path.read_bytes()).hexdigest()[:32]

    def tasks(self, split: Split) -> tuple[str, ...]:
        return self._names if split == "heldout" else tuple(name for name in self._names if name not in HELD_OUT)

    def open(self, task: str, number: int, split: Split) -> AbstractContextManager[DrivenEnvironment]:
        seed = seed_of(number, split)
        site = MiniWobSite(self._path, task)
        return self._environment(site, task_view(seed, _SCALE), lambda page: MiniWobPage(page, seed))

    def demonstrate(self, task: str, number: int, split: Split) -> list[Action]:
        """What the expert does on an instance. Raises Dropped where it fails."""
        seed = seed_of(number, split)

        def episode(page: GuiPage) -> list[Action]:
            return [step.action for step in perform_task(MiniWobPage(page, seed), experts()[task]).steps]

        with self._browser() as recorder:
            return recorder.run(MiniWobSite(self._path, task), task_view(seed, _SCALE), episode)
