"""ScreenSpot and ScreenSpot-V2: an instruction and a box x, y, width, height in pixels. A test set.

github.com/njucckevin/SeeClick, huggingface.co/datasets/OS-Copilot/ScreenSpot-v2
"""

from typing import Any

from step3vl.pipelines.gui.sets.format import SetFile, SetFormat, array_items, box
from step3vl.pipelines.gui.sets.records import RawScreen, RawTarget, ScreenImage


def convert(record: dict[str, Any], file: SetFile) -> RawScreen:
    if "img_size" in record:
        raise ValueError("a record with img_size is of another release, which writes corners")
    place = box(record["bbox"], "xywh", "pixels")
    target = RawTarget(text=record["instruction"], place=place, role=record["data_type"])
    return RawScreen(
        screen=ScreenImage(name=record["img_filename"]), targets=(target,), platform=record["data_source"]
    )


FORMAT = SetFormat(array_items, convert, test_set=True)
