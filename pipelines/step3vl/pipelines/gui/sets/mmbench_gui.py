"""MMBench-GUI, level 2: corners in pixels or in 0..1, which its own script tells by their size. A test set.

github.com/open-compass/MMBench-GUI. Here the entry must say which, `coordinates: {order: xyxy, unit: pixels}`.
"""

from typing import Any

from step3vl.pipelines.gui.sets.format import SetFile, SetFormat, array_items, stated_box
from step3vl.pipelines.gui.sets.records import RawScreen, RawTarget, ScreenImage


def convert(record: dict[str, Any], file: SetFile) -> RawScreen:
    target = RawTarget(
        text=record["instruction"], place=stated_box(record["bbox"], file), role=str(record.get("data_type") or "")
    )
    return RawScreen(screen=ScreenImage(name=record["image_path"]), targets=(target,), platform=record["platform"])


FORMAT = SetFormat(array_items, convert, test_set=True, untyped=True)
