"""A desktop that records: it starts programs, says what they show, and performs actions on them.

Programs run in real time, so the recorder waits until the screen is still. The image must be the same before and after
the tree is read.
"""

import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TypeVar

from step3vl.data.sample import Action
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.gui.desktop.bus import AccessibilityBus
from step3vl.pipelines.gui.desktop.display import Display
from step3vl.pipelines.gui.desktop.program import Program
from step3vl.pipelines.gui.desktop.screens import make_screen
from step3vl.pipelines.gui.desktop.session import Session
from step3vl.pipelines.gui.screen import MilliPoint, Screen
from step3vl.pipelines.gui.view import View

ResultT = TypeVar("ResultT")

_START_SECONDS = 20.0  # until a program shows a window
_POLL = 0.1  # seconds
_ATTEMPTS = 3  # to see a screen that is still
_LONG_PRESS = 0.9  # seconds
_WAIT = 2.0  # seconds
_END_SECONDS = 2.0  # until a program that shows nothing any more has ended


class DesktopProgram:
    """A program that is looked at and acted on, on a desktop of its own. Made by `DesktopRecorder.run`.

    Raises:
        InfrastructureError: The desktop does not start.
        Dropped: The program shows no window.
    """

    def __init__(self, program: Program, view: View, fonts: Sequence[Path]) -> None:
        self._program, self._view, self._fonts = program, view, fonts
        self._running = ExitStack()
        self.reset()

    def reset(self) -> None:
        """Start the program as if nothing had happened, on another desktop."""
        self.close()
        with ExitStack() as starting:
            session = Session(self._view, self._fonts)
            starting.callback(session.close)
            self._display = Display(session.display)
            starting.callback(self._display.close)
            self._bus = AccessibilityBus(session.bus_address)
            starting.callback(self._bus.close)
            self._display.paint(self._view.accent)
            self._display.move(self._view.width - 1, self._view.height - 1)
            self._display.wait_for_window_manager()
            self._process = session.start(self._program.command)
            self._wait_for_window()
            self._running = starting.pop_all()

    def _wait_for_window(self) -> None:
        end = time.monotonic() + _START_SECONDS
        while len(self._bus.read()) < 2:  # a program and its window
            self._require_no_crash()
            if time.monotonic() > end or self._process.poll() is not None:
                raise Dropped("program_shows_no_window")
            time.sleep(_POLL)
        self._display.settle()

    def close(self) -> None:
        """End the program and its desktop."""
        self._running.close()

    def observe(self) -> Screen:
        """The screen as it is; an empty desktop after the program has ended by itself.

        Raises:
            Dropped: The program moves while it is observed, does not answer, or has crashed.
        """
        for _ in range(_ATTEMPTS):
            before = self._display.screenshot()
            widgets, windows = self._bus.read(), self._display.windows()
            if self._display.screenshot() == before:
                if len(widgets) < 2 or not windows:  # the program is ending; how is known a moment later
                    with suppress(subprocess.TimeoutExpired):
                        self._process.wait(_END_SECONDS)
                self._require_no_crash()
                return make_screen(before, widgets, windows, self._program.names[self._view.language])
            self._display.settle()
        raise Dropped("program_moves")

    def act(self, action: Action) -> None:
        """Perform an action and wait until the program has done what it does.

        `type` replaces what the field at its point contains. `scroll` turns the wheel: `down` shows what is below.

        Raises:
            ValueError: A program on a desktop has no such action.
        """
        x, y = self._pixels(action.point_2d or (500, 500))
        display, text = self._display, action.text or ""
        match action.action:
            case "click":
                display.click(x, y)
            case "double_click":
                display.click(x, y, times=2)
            case "long_press":
                display.click(x, y, seconds=_LONG_PRESS)
            case "type":
                display.prepare(text)
                if action.point_2d:
                    display.click(x, y)
                    display.settle()  # keys overtake a click that the window manager looks at first
                    display.press("ctrl+a")
                display.type(text)
            case "hot_key" if text.lower() != "back":
                display.press(text)
            case "slide":
                display.drag((x, y), self._pixels(action.end_point_2d or (500, 500)))
            case "scroll":
                display.scroll(x, y, action.direction or "down")
            case "wait":
                time.sleep(_WAIT)
            case _:
                raise ValueError(f"a program on a desktop cannot {action.action} {text}".rstrip())
        display.settle()

    def _require_no_crash(self) -> None:
        if (self._process.poll() or 0) != 0:
            raise Dropped("program_crashed")

    def _pixels(self, point: MilliPoint) -> tuple[float, float]:
        return point[0] / 1000 * self._view.width, point[1] / 1000 * self._view.height


class DesktopRecorder:
    """Runs programs, each on a desktop of its own.

    Args:
        fonts: The font files that programs may use; those of the machine are hidden from them.
    """

    def __init__(self, fonts: Sequence[Path]) -> None:
        self._fonts = [path.resolve() for path in fonts]

    def run(self, program: Program, view: View, episode: Callable[[DesktopProgram], ResultT]) -> ResultT:
        """Start a program in a view and do something with it.

        Args:
            program: Which.
            view: The size of the screen, the theme, the language and the font.
            episode: What is done.

        Raises:
            InfrastructureError: The desktop does not start.
            Dropped: The program shows no window, moves, or crashes. That loses this episode and no other.
        """
        running = DesktopProgram(program, view, self._fonts)
        try:
            return episode(running)
        finally:
            running.close()
