"""Actions of other sets as ours: the twelve of `step3vl.data.sample.Action` and `scroll`.

Directions are those of the view, as ours are: `down` shows what is below, and a finger moves up for it. What has no
place among our actions is lost, what fits in part is approximated; either is named here, and counted.
"""

from collections.abc import Sequence

from step3vl.data.sample import Action, ActionTruth, Box, Point, Size
from step3vl.data.sample.action import Direction
from step3vl.data.sample.truth import MilliBox
from step3vl.pipelines.gui.sets.records import Place, RawAction, RawStep, ScreenImage

LOSSES: dict[str, str] = {
    "hover": "moving the pointer onto an element: lost",
    "right_click": "a click of the right or middle button: lost",
    "tab": "a tab of the browser that is opened, closed or changed to: lost, for screens do not show it",
    "address": "an address that is opened: lost",
    "several_actions": "several actions on one screen, of which only the last changes it: the step is lost",
    "element_without_box": "an action on an element that the set gives no box of: lost",
    "unknown_action": "an action that the set does not describe: lost",
    "triple_click": "a triple click: approximated by a double click",
    "select": "an option of a list: approximated by typing its text into the list",
    "copied_text": "copying: approximated by ctrl+c, without what was selected before",
    "submit": "the submission of a form: approximated by the key Enter",
    "scroll_amount": "how far a view is scrolled: left out",
    "app_switch": "the key for recent applications: approximated by a key of that name",
}
"""What of actions of other sets ours do not say. Steps that are lost are dropped with these words as reasons; samples
of approximated ones carry them as the trait `loss`."""

TAP_REACH = 0.04
"""Of the screen's sides, within which a tap counts whose element is not known: from there on AITW takes a touch for a
swipe."""
SLIDE_REACH = 0.14
"""Of the screen's sides, within which a swipe may begin and end: AITW's tolerance."""


def step(
    screen: ScreenImage, action: RawAction | str, loss: str = "", instruction: str = "", reasoning: str = ""
) -> RawStep:
    """A step.

    Args:
        screen: On which it is done.
        action: What is done, or the key of `LOSSES` that says why it is lost.
        loss: What an action leaves out.
        instruction: What it is for, in words.
        reasoning: Why it is done.
    """
    lost = isinstance(action, str)
    return RawStep(
        screen=screen,
        action=None if isinstance(action, str) else action,
        loss=str(action) if lost else loss,
        instruction=" ".join(instruction.split()),
        reasoning=reasoning.strip(),
    )


def tap(place: Place, targets: Sequence[Place] = ()) -> RawAction:
    """A click."""
    return RawAction(action="click", point=place, targets=tuple(targets))


def typed(text: str, place: Place | None = None) -> RawAction:
    """Text typed into what has the focus, or into a field."""
    return RawAction(action="type", text=text, point=place, targets=(place,) if _is_box(place) and place else ())


def key(text: str) -> RawAction:
    """A key, or keys together."""
    return RawAction(action="hot_key", text=text)


def scroll(direction: Direction, place: Place | None = None) -> RawAction:
    """A scroll of the view."""
    return RawAction(action="scroll", direction=direction, point=place)


def slide(start: Place, end: Place, targets: Sequence[Place] = ()) -> RawAction:
    """A swipe of a finger or a drag of the mouse."""
    return RawAction(action="slide", point=start, end=end, targets=tuple(targets))


def view_direction(across: float, down: float) -> Direction:
    """Where the view moves by a scroll, of which the greater part counts."""
    if abs(across) > abs(down):
        return "right" if across > 0 else "left"
    return "down" if down > 0 else "up"


def to_action(raw: RawAction, size: Size) -> tuple[Action, ActionTruth]:
    """The action in 0..1000, and what makes an answer right.

    The boxes of the truth are those of the elements that the set names and that the point lies in; without one, a
    tap counts within `TAP_REACH` of the point, and a slide within `SLIDE_REACH` of its ends. A scroll counts anywhere.

    Args:
        raw: The action.
        size: Of the screen's image.

    Raises:
        GeometryError: A place is none on this screen.
        ValueError: The action lacks what it needs.
    """
    start = None if raw.point is None else raw.point.point(size)
    end = None if raw.end is None else raw.end.point(size)
    action = Action(
        action=raw.action,
        point_2d=None if start is None else start.milli(),
        end_point_2d=None if end is None else end.milli(),
        text=raw.text,
        direction=raw.direction,
    )
    reach = SLIDE_REACH if raw.action == "slide" else TAP_REACH
    boxes: tuple[MilliBox, ...] = ()
    if start is not None and raw.action != "scroll":
        elements = [box for box in (place.box(size) for place in raw.targets) if _contains(box, start)]
        boxes = tuple(box.milli() for box in elements) or (_around(start, reach),)
    ends = () if end is None else (_around(end, reach),)
    return action, ActionTruth(action=action, boxes=boxes, end_boxes=ends)


def _is_box(place: Place | None) -> bool:
    return place is not None and place.order not in ("xy", "yx")


def _contains(box: Box, point: Point) -> bool:
    return box.x1 <= point.x <= box.x2 and box.y1 <= point.y <= box.y2


def _around(point: Point, reach: float) -> MilliBox:
    unit = point.to("unit")
    x1, y1, x2, y2 = unit.x - reach, unit.y - reach, unit.x + reach, unit.y + reach
    return Box(max(0.0, x1), max(0.0, y1), min(1.0, x2), min(1.0, y2), "unit", point.size).milli()
