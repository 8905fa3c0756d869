"""Pages with tasks as environments: an agent tries what `experts` does on them, and the page says whether it did."""

from abc import ABC, abstractmethod

from step3vl.data.sample import Action, TextTruth
from step3vl.grading import grade_answer
from step3vl.pipelines.gui.experts import read_tasks
from step3vl.pipelines.gui.recorder import GuiPage
from step3vl.pipelines.gui.screen import Screen
from step3vl.pipelines.gui.view import Language


class PageEnvironment(ABC):
    """What environments in a browser have in common, see `step3vl.data.environment`.

    Args:
        page: In the browser.
    """

    goal: str = ""

    def __init__(self, page: GuiPage) -> None:
        self.page = page

    @abstractmethod
    def reset(self) -> Screen: ...

    @abstractmethod
    def reward(self) -> float | None: ...

    def observe(self) -> Screen:
        return self.page.observe()

    def act(self, action: Action) -> None:
        self.page.act(action)


class TaskPage(PageEnvironment):
    """A task of a page with `window.app`, see `experts`.

    A task that changes something is done when the page says so. One that asks for something is answered by the action
    `complete`, whose text is compared.

    Args:
        page: The page, at its beginning.
        number: Of its task, modulo their number.
        language: Of the goal.

    Raises:
        ValueError: The page has no tasks.
    """

    def __init__(self, page: GuiPage, number: int, language: Language) -> None:
        tasks = read_tasks(page)
        if not tasks:
            raise ValueError("the page has no tasks")
        super().__init__(page)
        self._number = number % len(tasks)
        self.goal, self._answer = tasks[self._number].goal[language], tasks[self._number].answer
        self._reply: str | None = None

    def reset(self) -> Screen:
        self.page.reset()
        self._reply = None
        return self.observe()

    def act(self, action: Action) -> None:
        if self._answer and action.action == "complete":
            self._reply = action.text or ""
        else:
            super().act(action)

    def reward(self) -> float | None:
        if not self._answer:
            return 1.0 if self.page.evaluate("number => window.app.done(number)", self._number) else None
        if self._reply is None:
            return None
        return grade_answer(TextTruth(text=self._answer), self._reply).value
