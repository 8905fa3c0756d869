"""OSWorld-G: boxes x, y, width, height, polygons, or nothing that could be clicked, in pixels. A test set.

github.com/xlang-ai/OSWorld-G; a refusal is an instruction whose target is not on the screen.
"""

from typing import Any

from step3vl.pipelines.gui.sets.format import SetFile, SetFormat, array_items, box
from step3vl.pipelines.gui.sets.records import Place, RawScreen, RawTarget, ScreenImage


def convert(record: dict[str, Any], file: SetFile) -> RawScreen:
    return RawScreen(
        screen=ScreenImage(name=record["image_path"]),
        targets=(RawTarget(text=record["instruction"], place=_place(record)),),
        platform="desktop",
    )


def _place(record: dict[str, Any]) -> Place | None:
    size = record["image_size"]
    match record["box_type"]:
        case "bbox":
            return box(record["box_coordinates"], "xywh", "pixels", size)
        case "polygon":
            return box(record["box_coordinates"], "polygon", "pixels", size)
        case "refusal":
            return None
    raise ValueError(f"box_type {record['box_type']!r} is none of bbox, polygon and refusal")


FORMAT = SetFormat(array_items, convert, test_set=True)
