"""AndroidControl: episodes as TFRecord, with a screenshot and an accessibility tree before and after each action.

github.com/google-research/google-research/tree/master/android_control. Points are in pixels. `scroll` says where the
view moves, as ours does, against the finger. There is no target box: elements are the nodes of the accessibility tree
that can be operated, of which the smallest around the point is meant.
"""

import json
from collections.abc import Iterator
from typing import Any, cast

from step3vl.data.sample import Image
from step3vl.pipelines.gui.sets.actions import key, scroll, step, tap, typed
from step3vl.pipelines.gui.sets.format import Items, SetFile, SetFormat, box
from step3vl.pipelines.gui.sets.records import Place, RawAction, RawEpisode, ScreenImage, point
from step3vl.pipelines.gui.sets.tfrecord import Example, fields, read_records, signed

_OPERABLE = (12, 14, 15, 19)  # checkable, clickable, editable, long clickable: fields of a node
_BOUNDS, _VISIBLE = 2, 23
_TREE, _NODES, _WINDOWS = 11, 1, 1


def items(file: SetFile) -> Items:
    for number, record in enumerate(read_records(file.path)):
        yield str(number), record


def convert(record: bytes, file: SetFile) -> RawEpisode:
    example = Example(record)
    actions = [json.loads(text) for text in example.bytes("actions")]
    words = [text.decode() for text in example.bytes("step_instructions")]
    images = [Image.from_bytes(data) for data in example.bytes("screenshots")]
    sizes = list(zip(example.integers("screenshot_widths"), example.integers("screenshot_heights"), strict=True))
    trees = example.bytes("accessibility_trees")
    if not len(actions) + 1 == len(images) == len(sizes) == len(trees) or len(words) != len(actions):
        raise ValueError(
            f"{len(images)} screenshots, {len(sizes)} sizes and {len(trees)} trees do not fit {len(actions)} actions "
            f"with {len(words)} instructions"
        )
    steps = []
    for action, text, image, size, tree in zip(actions, words, images, sizes, trees, strict=False):
        converted = _action(action, size, tree)
        steps.append(step(ScreenImage(image=image), converted, instruction=text))
    steps.append(step(ScreenImage(image=images[-1]), RawAction(action="complete")))
    return RawEpisode(goal=example.text("goal"), steps=tuple(steps), platform="android")


def _action(action: dict[str, Any], size: tuple[int, int], tree: bytes) -> RawAction | str:
    match action["action_type"]:
        case "click" | "long_press" as kind:
            place = point(action["x"], action["y"], "pixels", size)
            targets = _around(action["x"], action["y"], size, tree)
            click = tap(place, targets)
            return click if kind == "click" else click.model_copy(update={"action": "long_press"})
        case "scroll":
            return scroll(action["direction"])
        case "open_app":
            return RawAction(action="awake", text=action["app_name"])
        case "input_text":
            return typed(action["text"])
        case "navigate_home":
            return key("home")
        case "navigate_back":
            return key("back")
        case "wait":
            return RawAction(action="wait")
    return "unknown_action"


def _around(x: float, y: float, size: tuple[int, int], forest: bytes) -> tuple[Place, ...]:
    """The smallest node that can be operated and is around a point; none where there is none."""
    around = [
        bounds for bounds in operable_boxes(forest) if bounds[0] <= x <= bounds[2] and bounds[1] <= y <= bounds[3]
    ]
    if not around:
        return ()
    smallest = min(around, key=lambda bounds: (bounds[2] - bounds[0]) * (bounds[3] - bounds[1]))
    return (box(smallest, "xyxy", "pixels", size),)


def operable_boxes(forest: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Left, top, right and bottom of the visible nodes of an `AndroidAccessibilityForest` that can be operated."""
    for window in fields(forest).get(_WINDOWS, []):
        for tree in fields(cast(bytes, window)).get(_TREE, []):
            for raw in fields(cast(bytes, tree)).get(_NODES, []):
                node = fields(cast(bytes, raw))
                if node.get(_VISIBLE) and any(node.get(field) for field in _OPERABLE) and _BOUNDS in node:
                    rect = fields(cast(bytes, node[_BOUNDS][0]))  # zeros are not written
                    left, top, right, bottom = (signed(rect.get(side, [0])[0]) for side in (1, 2, 3, 4))
                    yield left, top, right, bottom


FORMAT = SetFormat(items, convert)
