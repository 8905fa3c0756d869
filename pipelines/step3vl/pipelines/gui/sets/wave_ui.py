"""WaveUI: Parquet of an element a row, corners in pixels of `resolution`, with texts that a model wrote about it.

huggingface.co/datasets/agentsea/wave-ui. A part of it is GroundUI-18K, which others evaluate with, and which is left
out (`test_set`); name the images of the sets that you evaluate with in `exclude_images`, for it shares screens with
them.
"""

from typing import Any

from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.gui.sets.format import SetFile, SetFormat, box, embedded, parquet_items
from step3vl.pipelines.gui.sets.records import Phrase, RawScreen, RawTarget

_COLUMNS = ("image", "instruction", "bbox", "resolution", "source", "platform", "name", "type", "purpose")
_TEXTS: tuple[tuple[str, Phrase], ...] = (("instruction", "instruction"), ("name", "name"), ("purpose", "function"))


def convert(record: dict[str, Any], file: SetFile) -> RawScreen:
    if "groundui" in str(record["source"]).lower().replace("-", "").replace("_", ""):
        raise Dropped("test_set")
    place = box(record["bbox"], "xyxy", "pixels", record["resolution"])
    return RawScreen(
        screen=embedded(record["image"]),
        targets=tuple(
            RawTarget(text=record[column], phrase=phrase, place=place, role=(record["type"] or "").lower())
            for column, phrase in _TEXTS
            if record[column] and record[column].strip()
        ),
        platform=record["platform"] or "",
    )


FORMAT = SetFormat(parquet_items(_COLUMNS), convert)
