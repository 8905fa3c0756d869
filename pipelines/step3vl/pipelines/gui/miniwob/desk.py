"""What an expert has before it: the goal, the page, and hands. Each thing it does is recorded with what came of it."""

import re
from typing import Any, NamedTuple

from step3vl.data.sample import Action, Point
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.gui.explorers import Recording, Trial, perform
from step3vl.pipelines.gui.miniwob.environment import HEIGHT, WIDTH, MiniWobPage
from step3vl.pipelines.gui.screen import MilliPoint, Pixels

_MAX_STEPS = 40
_SCROLLS = 12  # until an element must have come into view
_REACH = 3.0  # CSS pixels around a place that is no element, within which it counts
_HELPERS = """
  const $q = selector => document.querySelector(selector);
  const $all = selector => [...document.querySelectorAll(selector)];
  const $shown = element => element.getClientRects().length > 0;
  const $text = (selector, text) => $all(selector).find(e => e.textContent.trim() === text && $shown(e));
  const $near = (element, selector) => element?.closest(selector);
"""
# Where an element can be clicked: the point that hits it and is nearest to the middle of its visible part.
_LOCATE = """
  if (!element) return null;
  const whole = element.getBoundingClientRect();
  const box = [whole.left, whole.top, whole.right, whole.bottom];
  let scroller = null;
  for (let node = element.parentElement; node; node = node.parentElement) {
    const style = getComputedStyle(node);
    if (node === document.body || node === document.documentElement || style.overflowY === 'visible') continue;
    const rect = node.getBoundingClientRect();
    if (!scroller && node.scrollHeight > node.clientHeight + 1) scroller = rect;
    box[0] = Math.max(box[0], rect.left); box[1] = Math.max(box[1], rect.top);
    box[2] = Math.min(box[2], rect.right); box[3] = Math.min(box[3], rect.bottom);
  }
  const clip = [Math.max(box[0], 0), Math.max(box[1], 0), Math.min(box[2], innerWidth), Math.min(box[3], innerHeight)];
  const index = $all('*').indexOf(element);
  const port = scroller ? [scroller.left, scroller.top, scroller.right, scroller.bottom]
    : [0, 0, innerWidth, innerHeight];
  let best = null;
  if (clip[2] > clip[0] && clip[3] > clip[1]) {
    for (let i = 0; i < 15; i++) for (let j = 0; j < 15; j++) {
      const u = i ? (i % 2 ? 7 + (i + 1) / 2 : 7 - i / 2) : 7, v = j ? (j % 2 ? 7 + (j + 1) / 2 : 7 - j / 2) : 7;
      const x = Math.round((clip[0] + (u + .5) / 15 * (clip[2] - clip[0])) / innerWidth * 1000);
      const y = Math.round((clip[1] + (v + .5) / 15 * (clip[3] - clip[1])) / innerHeight * 1000);
      const hit = document.elementFromPoint(x / 1000 * innerWidth, y / 1000 * innerHeight);
      const distance = Math.hypot(u - 7, v - 7);
      if (hit && (element === hit || element.contains(hit)) && (!best || distance < best[2])) best = [x, y, distance];
    }
  }
  return {index, clip, port, middle: (whole.top + whole.bottom) / 2, point: best && best.slice(0, 2)};
"""


class Located(NamedTuple):
    """An element that can be clicked."""

    number: int
    """Of the element in the document."""
    point: MilliPoint
    box: Pixels
    """Of its visible part, in CSS pixels."""


class Desk:
    """An instance of a task, begun.

    Args:
        environment: The task.
    """

    def __init__(self, environment: MiniWobPage) -> None:
        self._environment = environment
        self.recording = Recording([environment.start()], [])

    @property
    def goal(self) -> str:
        """What is to be done."""
        return self._environment.goal

    @property
    def done(self) -> bool:
        """Whether the episode has ended."""
        return self._environment.reward() is not None

    def quoted(self) -> list[str]:
        """The texts between quotation marks of the goal."""
        return re.findall(r'"([^"]*)"', self.goal)

    def find(self, pattern: str) -> str:
        """What the groups of a pattern match in the goal, or the one of several alternatives that does.

        Raises:
            Dropped: It does not match.
        """
        match = re.search(pattern, self.goal)
        if match is None:
            raise Dropped("unknown_goal")
        return str(next(group for group in match.groups() if group is not None))

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page, which has `$q`, `$all`, `$text` and `$near`."""
        return self._environment.page.evaluate(f"(() => {{ {_HELPERS} return {expression}; }})()")

    def click(self, element: str) -> None:
        """Click an element, given by a JavaScript expression, after scrolling where that is needed."""
        self._on(element, "click")

    def type(self, element: str, text: str) -> None:
        """Replace what a field contains."""
        place = self._bring(element)
        self._perform(Action(action="type", point_2d=place.point, text=text), place.number, place.box)

    def click_at(self, x: float, y: float) -> None:
        """Click a place of the window, in CSS pixels."""
        self._perform(Action(action="click", point_2d=_milli(x, y)), None, _around(x, y))

    def type_at(self, x: float, y: float, text: str) -> None:
        """Click a place of the window and type."""
        self._perform(Action(action="type", point_2d=_milli(x, y), text=text), None, _around(x, y))

    def key(self, keys: str) -> None:
        """Press keys together."""
        self._perform(Action(action="hot_key", text=keys), None)

    def write(self, text: str) -> None:
        """Type into what has the focus."""
        self._perform(Action(action="type", text=text), None)

    def wait(self) -> None:
        """Let some time pass."""
        self._perform(Action(action="wait"), None)

    def drag(self, element: str, x: float, y: float) -> None:
        """Drag an element to a place of the window, in CSS pixels."""
        place = self._bring(element)
        self.drag_from(place.point[0] / 1000 * WIDTH, place.point[1] / 1000 * HEIGHT, x, y, place)

    def drag_from(self, x1: float, y1: float, x2: float, y2: float, place: Located | None = None) -> None:
        """Drag from one place of the window to another, in CSS pixels."""
        action = Action(action="slide", point_2d=_milli(x1, y1), end_point_2d=_milli(x2, y2))
        start = place.box if place else _around(x1, y1)
        self._perform(action, place.number if place else None, start, _around(x2, y2))

    def box(self, element: str) -> list[float]:
        """Left, top, right and bottom of an element in CSS pixels of the window."""
        box: list[float] = self.ask(f"(r => [r.left, r.top, r.right, r.bottom])({element}.getBoundingClientRect())")
        return box

    def middle(self, element: str) -> tuple[float, float]:
        """The middle of an element in CSS pixels of the window."""
        x1, y1, x2, y2 = self.box(element)
        return (x1 + x2) / 2, (y1 + y2) / 2

    def _on(self, element: str, kind: Any) -> None:
        place = self._bring(element)
        self._perform(Action(action=kind, point_2d=place.point), place.number, place.box)

    def _bring(self, element: str) -> Located:
        """An element that can be clicked; the view is scrolled until it can."""
        for _ in range(_SCROLLS):
            place = self._environment.page.evaluate(
                f"(() => {{ {_HELPERS} const element = ({element}); {_LOCATE} }})()"
            )
            if place is None:
                raise Dropped("element_not_there")
            if place["point"] is not None:
                return Located(place["index"], tuple(place["point"]), tuple(place["clip"]))
            left, top, right, bottom = place["port"]
            direction: Any = "down" if place["middle"] > (max(top, 0) + min(bottom, HEIGHT)) / 2 else "up"
            at = _milli((left + right) / 2, (max(top, 0) + min(bottom, HEIGHT)) / 2)
            self._perform(Action(action="scroll", point_2d=at, direction=direction), None)
        raise Dropped("element_not_reached")

    def _perform(
        self, action: Action, index: int | None, start: Pixels | None = None, end: Pixels | None = None
    ) -> None:
        if self.done:
            raise Dropped("done_too_early")
        if len(self.recording.steps) >= _MAX_STEPS:
            raise Dropped("task_too_long")
        before = len(self.recording.screens) - 1
        screen = self.recording.screens[before]
        target = next((each for each in screen.elements if each.index == index), None)
        scale = screen.size[0] / WIDTH
        boxes = [None if box is None else tuple(value * scale for value in box) for box in (start, end)]
        perform(self._environment.page, self.recording, before, Trial(action, target, *boxes))  # type: ignore[arg-type]


def _milli(x: float, y: float) -> MilliPoint:
    inside = min(max(x, 0.0), WIDTH - 0.5), min(max(y, 0.0), HEIGHT - 0.5)
    return Point(*inside, "pixels", (WIDTH, HEIGHT)).milli()


def _around(x: float, y: float) -> Pixels:
    return (
        max(x - _REACH, 0.0), max(y - _REACH, 0.0), min(x + _REACH, float(WIDTH)), min(y + _REACH, float(HEIGHT)),
    )  # fmt: skip
