"""Pages with tasks as environments: an agent tries what `experts` does on them, and the page says whether it did."""

from step3vl.data.sample import Action
from step3vl.pipelines.gui.experts import read_tasks
from step3vl.pipelines.gui.recorder import GuiPage
from step3vl.pipelines.gui.screen import Screen
from step3vl.pipelines.gui.view import Language


class TaskPage:
    """A task of a page with `window.app`, see `experts`; an environment of `step3vl.data.environment`.

    Args:
        page: The page, at its beginning.
        number: Of its task.
        language: Of the goal.

    Raises:
        ValueError: The page has no task of this number, or it is one that is answered in words.
    """

    def __init__(self, page: GuiPage, number: int, language: Language) -> None:
        tasks = read_tasks(page)
        if not number < len(tasks):
            raise ValueError(f"the page has {len(tasks)} tasks, and none of number {number}")
        if tasks[number].answer:
            raise ValueError(f"task {number} asks for an answer, which the page cannot see")
        self._page, self._number, self._goal = page, number, tasks[number].goal[language]

    @property
    def goal(self) -> str:
        return self._goal

    def reset(self) -> Screen:
        self._page.reset()
        return self.observe()

    def observe(self) -> Screen:
        return self._page.observe()

    def act(self, action: Action) -> None:
        self._page.act(action)

    def reward(self) -> float | None:
        return 1.0 if self._page.evaluate("number => window.app.done(number)", self._number) else None
