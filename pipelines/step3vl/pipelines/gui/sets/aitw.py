"""Android in the Wild: a TFRecord example a step, the steps of an episode after each other.

github.com/google-research/google-research/tree/master/android_in_the_wild. Points are y, x in 0..1, boxes y, x,
height, width. A touch that is lifted within .04 is a tap, a longer one a swipe. The screenshot is its raw pixels.
"""

import io
import math
from typing import Any

from PIL import Image as PILImage

from step3vl.data.sample import Image
from step3vl.pipelines.gui.sets.actions import TAP_REACH, key, slide, step, tap, typed
from step3vl.pipelines.gui.sets.format import Items, SetFile, SetFormat, box, grouped
from step3vl.pipelines.gui.sets.records import Place, RawAction, RawEpisode, ScreenImage
from step3vl.pipelines.gui.sets.tfrecord import Example, read_records


def items(file: SetFile) -> Items:
    examples = (
        ("", {"episode": example.text("episode_id"), "example": example})
        for example in map(Example, read_records(file.path))
    )
    yield from grouped(examples, "episode")


def convert(rows: list[dict[str, Any]], file: SetFile) -> RawEpisode:
    examples = sorted((row["example"] for row in rows), key=lambda example: example.integers("step_id")[0])
    numbers = [example.integers("step_id")[0] for example in examples]
    whole = numbers == list(range(examples[0].integers("episode_length")[0]))
    return RawEpisode(
        goal=examples[0].text("goal_info"),
        steps=tuple(step(ScreenImage(image=_image(example)), _action(example)) for example in examples),
        platform="android",
        problem="" if whole else "incomplete",
    )


def _action(example: Example) -> RawAction | str:
    match example.integers("results/action_type")[0]:
        case 3:  # TYPE
            return typed(example.text("results/type_action"))
        case 4:  # DUAL_POINT
            return _touch(example)
        case 5:
            return key("back")
        case 6:
            return key("home")
        case 7:
            return key("enter")
        case 10:  # STATUS_TASK_COMPLETE
            return RawAction(action="complete")
        case 11:  # STATUS_TASK_IMPOSSIBLE
            return RawAction(action="abort")
    return "unknown_action"


def _touch(example: Example) -> RawAction:
    touch, lift = example.floats("results/yx_touch"), example.floats("results/yx_lift")
    start, end = (Place(values=tuple(values), order="yx", unit="unit") for values in (touch, lift))
    if math.dist(touch, lift) > TAP_REACH:
        return slide(start, end)
    flat = example.floats("image/ui_annotations_positions")
    boxes = [box(flat[at : at + 4], "yxhw", "unit") for at in range(0, len(flat), 4)]
    y, x = touch
    around = [b for b in boxes if 0 <= y - b.values[0] <= b.values[2] and 0 <= x - b.values[1] <= b.values[3]]
    return tap(start, sorted(around, key=lambda b: b.values[2] * b.values[3])[:1])


def _image(example: Example) -> Image:
    width, height = example.integers("image/width")[0], example.integers("image/height")[0]
    channels, (data,) = example.integers("image/channels")[0], example.bytes("image/encoded")
    if channels != 3 or len(data) != width * height * channels:
        raise ValueError(f"{len(data)} bytes are no image of {width} x {height} with {channels} channels")
    buffer = io.BytesIO()
    PILImage.frombytes("RGB", (width, height), data).save(buffer, "PNG")
    return Image.from_bytes(buffer.getvalue())


FORMAT = SetFormat(items, convert)
