"""AgentNet (OpenCUA): an episode a JSON file or a line, its actions as PyAutoGUI code with coordinates in 0..1.

github.com/xlang-ai/OpenCUA: `steps` with `inner_monologue` as in AgentNetBench, or `traj` with `value` as in AgentNet.
Boxes of AgentNetBench are x, y, width, height in 0..1 (`rel_bbox`). `scroll` by a negative amount shows what is below.
"""

import ast
from itertools import pairwise
from typing import Any

from step3vl.data.sample.action import ActionType
from step3vl.pipelines.gui.sets.actions import key, scroll, slide, step, tap, typed
from step3vl.pipelines.gui.sets.format import Items, SetFile, SetFormat, box, line_items, object_items
from step3vl.pipelines.gui.sets.records import Place, RawAction, RawEpisode, RawStep, ScreenImage, point

_LOST = {"rightClick": "right_click", "middleClick": "right_click", "moveTo": "hover"}
_ENDS: dict[str, ActionType] = {"success": "complete", "failure": "abort"}

Arguments = dict[int | str, Any]
"""By keyword, or by position from 0."""


def items(file: SetFile) -> Items:
    yield from (line_items if file.url.endswith("l") else object_items)(file)


def convert(record: dict[str, Any], file: SetFile) -> RawEpisode:
    goal = record.get("user_task_description") or record["instruction"]
    steps = record["steps"] if "steps" in record else record["traj"]
    numbers = [each["step_num"] for each in steps if "step_num" in each]
    gaps = any(second != first + 1 for first, second in pairwise(numbers))  # AgentNetBench leaves steps out
    return RawEpisode(
        goal=goal, steps=tuple(map(_step, steps)), platform="desktop", problem="incomplete" if gaps else ""
    )


def _step(raw: dict[str, Any]) -> RawStep:
    value = raw.get("value") or {}
    monologue = raw.get("inner_monologue") or value
    boxes = [
        box(each["rel_bbox"], "xywh", "unit")
        for truth in raw.get("ground_truth_actions") or ()
        for each in (truth.get("metadata") or {}).get("bboxes") or ()
    ]
    action, loss = read_code(raw["action"] if "action" in raw else value["code"], boxes)
    return step(
        ScreenImage(name=raw["image"]),
        action,
        loss,
        instruction=monologue.get("low_level_instruction") or monologue.get("action") or "",
        reasoning=monologue.get("thought") or "",  # words: a field of the set
    )


def read_code(code: str, boxes: list[Place]) -> tuple[RawAction | str, str]:
    """The action of PyAutoGUI's calls, and what it leaves out.

    Args:
        code: Calls with literal arguments. Nothing is run.
        boxes: Of the elements that are meant.

    Raises:
        ValueError: It is no such code.
    """
    calls = _calls(code)
    if calls and calls[0][0] == "moveTo" and len(calls) == 2:
        place = _point(calls[0][1])
        name, arguments = calls[1]
        if name == "dragTo":
            return slide(place, _point(arguments), boxes), ""
        if name in ("scroll", "hscroll"):
            return _scroll(name, arguments, place)
    if len(calls) != 1:
        return "several_actions", ""
    ((name, arguments),) = calls
    match name:
        case "click":
            return tap(_point(arguments), boxes), ""
        case "doubleClick" | "tripleClick" | "triple_click":
            twice = tap(_point(arguments), boxes).model_copy(update={"action": "double_click"})
            return twice, "" if name == "doubleClick" else "triple_click"
        case "write" | "typewrite":
            return typed(arguments["message"]), ""
        case "press" | "hotkey":
            keys = arguments["keys"]
            return key("+".join([keys] if isinstance(keys, str) else keys).lower()), ""
        case "scroll" | "hscroll":
            return _scroll(name, arguments, None)
        case "terminate":
            return RawAction(action=_ENDS[arguments["status"]]), ""
        case "wait" | "sleep":
            return RawAction(action="wait"), ""
    return _LOST.get(name, "unknown_action"), ""


def _scroll(name: str, arguments: Arguments, place: Place | None) -> tuple[RawAction | str, str]:
    amount = arguments.get("clicks", arguments.get(0))
    if not amount:
        return "unknown_action", ""
    if name == "scroll":
        return scroll("up" if amount > 0 else "down", place), "scroll_amount"
    return scroll("right" if amount > 0 else "left", place), "scroll_amount"


def _point(arguments: Arguments) -> Place:
    return point(float(arguments["x"]), float(arguments["y"]), "unit")


def _calls(code: str) -> list[tuple[str, Arguments]]:
    """The names of the functions that are called, with their arguments by keyword or position."""
    calls: list[tuple[str, Arguments]] = []
    try:
        statements = ast.parse(code).body
        for statement in statements:
            call = statement.value if isinstance(statement, ast.Expr) else None
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
                raise ValueError(f"no call: {ast.unparse(statement)[:80]}")
            arguments: Arguments = {number: ast.literal_eval(value) for number, value in enumerate(call.args)}
            arguments |= {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
            calls.append((call.func.attr, arguments))
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"no code of PyAutoGUI: {error}") from None
    return calls


FORMAT = SetFormat(items, convert)
