"""Pages with tasks as environments: an agent tries what `experts` does on them, and the page says whether it did."""

from step3vl.data.sample import Action
from step3vl.pipelines.gui.experts import read_tasks
from step3vl.pipelines.gui.recorder import GuiPage
from step3vl.pipelines.gui.screen import Screen
from step3vl.pipelines.gui.view import Language


class PageEnvironment:
    """What environments in a browser have in common, see `step3vl.data.environment`.

    Args:
        page: In the browser.
    """

    goal: str = ""

    def __init__(self, page: GuiPage) -> None:
        self.page = page

    def observe(self) -> Screen:
        return self.page.observe()

    def act(self, action: Action) -> None:
        self.page.act(action)


class TaskPage(PageEnvironment):
    """A task of a page with `window.app`, see `experts`.

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
        super().__init__(page)
        self._number, self.goal = number, tasks[number].goal[language]

    def reset(self) -> Screen:
        self.page.reset()
        return self.observe()

    def reward(self) -> float | None:
        return 1.0 if self.page.evaluate("number => window.app.done(number)", self._number) else None
