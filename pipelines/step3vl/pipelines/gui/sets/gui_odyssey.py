"""GUI-Odyssey: an episode a JSON file, points in 0..1000 of the screen.

github.com/OpenGVLab/GUI-Odyssey; the newer release adds words and a box to each step. A CLICK whose `info` is a text
is a key. Screenshots are named without their folder: set `images`.
"""

from typing import Any

from step3vl.pipelines.gui.sets.actions import key, slide, step, tap, typed
from step3vl.pipelines.gui.sets.format import SetFile, SetFormat, box, object_items
from step3vl.pipelines.gui.sets.records import Place, RawAction, RawEpisode, RawStep, ScreenImage, point

_KEYS = {"KEY_HOME": "home", "KEY_BACK": "back", "KEY_APPSELECT": "recent_apps"}


def convert(record: dict[str, Any], file: SetFile) -> RawEpisode:
    whole = record["step_length"] == len(record["steps"])
    return RawEpisode(
        goal=record["task_info"]["instruction"],
        steps=tuple(map(_step, record["steps"])),
        platform="android",
        problem="" if whole else "incomplete",
    )


def _step(raw: dict[str, Any]) -> RawStep:
    info = raw["info"]
    loss = "app_switch" if info == "KEY_APPSELECT" else ""
    return step(
        ScreenImage(name=raw["screenshot"]),
        _action(raw["action"], info, raw.get("sam2_bbox")),
        loss,
        instruction=raw.get("low_level_instruction") or "",
        reasoning=raw.get("intention") or "",
    )


def _action(kind: str, info: Any, element: Any) -> RawAction | str:
    match kind:
        case "CLICK" if isinstance(info, str):
            return key(_KEYS[info])
        case "CLICK" | "LONG_PRESS":
            targets = (box(element, "xyxy", "milli"),) if element else ()
            press = tap(_point(info[0]), targets)
            return press if kind == "CLICK" else press.model_copy(update={"action": "long_press"})
        case "SCROLL":
            return slide(_point(info[0]), _point(info[1]))
        case "TYPE" | "TEXT":
            return typed(info)
        case "COMPLETE":
            return RawAction(action="complete")
        case "INCOMPLETE" | "IMPOSSIBLE":
            return RawAction(action="abort")
        case "HOME" | "BACK":
            return key(kind.lower())
    return "unknown_action"


def _point(values: Any) -> Place:
    x, y = values
    return point(x, y, "milli")


FORMAT = SetFormat(object_items, convert)
