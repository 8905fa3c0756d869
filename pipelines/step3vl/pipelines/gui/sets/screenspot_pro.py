"""ScreenSpot-Pro: corners in pixels of `img_size`, some instructions for what is not there. A test set.

github.com/likaixin2000/ScreenSpot-Pro-GUI-Grounding
"""

from typing import Any

from step3vl.pipelines.gui.sets.format import SetFile, SetFormat, array_items, box
from step3vl.pipelines.gui.sets.records import RawScreen, RawTarget, ScreenImage


def convert(record: dict[str, Any], file: SetFile) -> RawScreen:
    is_there = record.get("gt_type", "positive") == "positive"
    place = box(record["bbox"], "xyxy", "pixels", record["img_size"]) if is_there else None
    target = RawTarget(text=record["instruction"], place=place, role=record["ui_type"])
    return RawScreen(screen=ScreenImage(name=record["img_filename"]), targets=(target,), platform=record["platform"])


FORMAT = SetFormat(array_items, convert, test_set=True)
