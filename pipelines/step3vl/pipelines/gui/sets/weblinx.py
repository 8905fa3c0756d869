"""WebLINX: `replay.json` of a demonstration, in a folder with its screenshots.

github.com/McGill-NLP/weblinx. Boxes and points are in CSS pixels of the window, whose size each turn gives. The goal
is what the instructor says; what the navigator says is an action.
"""

from collections.abc import Iterator
from typing import Any

from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.gui.sets.actions import key, scroll, step, tap, typed, view_direction
from step3vl.pipelines.gui.sets.format import Items, SetFile, SetFormat, box, object_items
from step3vl.pipelines.gui.sets.records import Place, RawAction, RawEpisode, RawStep, ScreenImage, point

_LOST = {"hover": "hover", "tabcreate": "tab", "tabremove": "tab", "tabswitch": "tab", "load": "address"}


def items(file: SetFile) -> Items:
    yield from object_items(file)


def convert(record: dict[str, Any], file: SetFile) -> RawEpisode:
    utterances: list[str] = []
    steps: list[RawStep] = []
    for turn in record["data"]:
        if turn["type"] == "chat" and turn["speaker"] == "instructor":
            utterances.append(turn["utterance"].strip())
    steps.extend(_steps(record["data"]))
    if not steps:
        raise Dropped("no_steps")
    if not utterances:
        raise Dropped("no_goal")
    return RawEpisode(goal=" ".join(utterances), steps=tuple(steps), platform="web")


def _steps(turns: list[dict[str, Any]]) -> Iterator[RawStep]:
    screen, top = ScreenImage(), {"x": 0.0, "y": 0.0}
    for turn in turns:
        if turn["type"] == "chat":
            if turn["speaker"] == "navigator" and screen.name:
                yield step(screen, RawAction(action="info", text=turn["utterance"].strip()))
            continue
        state = turn.get("state") or {}
        good = state.get("screenshot") and state.get("screenshot_status") == "good"
        screen = ScreenImage(name=f"screenshots/{state['screenshot']}" if good else "")
        action, loss = _action(turn["action"], top)
        yield step(screen, action, loss)


def _action(action: dict[str, Any], top: dict[str, float]) -> tuple[RawAction | str, str]:
    """An action and what it leaves out. `top` is how far the page is scrolled, which a scroll changes."""
    intent, arguments = action["intent"], action["arguments"]
    if intent in _LOST:
        return _LOST[intent], ""
    metadata = arguments["metadata"]
    size = int(metadata["viewportWidth"]), int(metadata["viewportHeight"])
    element = arguments.get("element") or {}
    place = _place(element["bbox"], size) if element.get("bbox") else None
    match intent:
        case "click":
            at = arguments["properties"]
            return tap(point(at["clientX"], at["clientY"], "pixels", size), () if place is None else (place,)), ""
        case "textInput":
            return typed(arguments["text"], place), ""
        case "paste":
            return typed(arguments["pasted"], place), ""
        case "change":
            return typed(arguments["value"], place), "select"
        case "copy":
            return key("ctrl+c"), "copied_text"
        case "submit":
            return key("enter"), "submit"
        case "scroll":
            x, y = float(arguments["scrollX"]), float(arguments["scrollY"])
            direction = view_direction(x - top["x"], y - top["y"])
            moved = (x, y) != (top["x"], top["y"])
            top.update(x=x, y=y)
            return (scroll(direction), "scroll_amount") if moved else ("unknown_action", "")
    return "unknown_action", ""


def _place(bounds: dict[str, float], size: tuple[int, int]) -> Place:
    return box([bounds["x"], bounds["y"], bounds["width"], bounds["height"]], "xywh", "pixels", size)


FORMAT = SetFormat(items, convert)
