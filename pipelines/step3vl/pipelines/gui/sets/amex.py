"""AMEX: an episode a JSON file of `instruction_anno`, or the elements of a screenshot in one of `element_anno`.

huggingface.co/datasets/Yuxiang007/AMEX. Points and boxes are in pixels of the device, whose size each step gives. What
an element is for was written by a model, as the authors say. Screenshots lie in another folder: set `images`.
"""

from typing import Any

from step3vl.pipelines.gui.sets.actions import key, slide, step, tap, typed
from step3vl.pipelines.gui.sets.format import SetFile, SetFormat, box, object_items
from step3vl.pipelines.gui.sets.records import (
    RawAction,
    RawEpisode,
    RawScreen,
    RawStep,
    RawTarget,
    ScreenImage,
    point,
)

_KEYS = {"PRESS_BACK": "back", "PRESS_HOME": "home", "PRESS_ENTER": "enter"}


def convert(record: dict[str, Any], file: SetFile) -> RawScreen | RawEpisode:
    if "steps" in record:
        return RawEpisode(goal=record["instruction"], steps=tuple(map(_step, record["steps"])), platform="android")
    targets = []
    for element in record["clickable_elements"]:
        place = box(element["bbox"], "xyxy", "pixels")
        names = [text for text in element.get("xml_desc") or [] if text and text.strip()]
        if names:
            targets.append(RawTarget(text=names[0], phrase="name", place=place))
        if element.get("functionality"):
            targets.append(RawTarget(text=element["functionality"], phrase="function", place=place))
    return RawScreen(screen=ScreenImage(name=record["image_path"]), targets=tuple(targets), platform="android")


def _step(raw: dict[str, Any]) -> RawStep:
    width, height = raw["device_dim"]
    start, end = (point(x, y, "pixels", (width, height)) for x, y in (raw["touch_coord"], raw["lift_coord"]))
    action: RawAction | str = "unknown_action"
    match raw["action"]:
        case "TAP":
            action = tap(start)
        case "SWIPE":
            action = slide(start, end)
        case "TYPE":
            action = typed(raw["type_text"])
        case "TASK_COMPLETE":
            action = RawAction(action="complete")
        case "TASK_IMPOSSIBLE":
            action = RawAction(action="abort")
        case kind if kind in _KEYS:
            action = key(_KEYS[kind])
    return step(ScreenImage(name=raw["image_path"]), action)


FORMAT = SetFormat(object_items, convert)
