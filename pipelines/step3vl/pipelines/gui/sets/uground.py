"""UGround-V1-Data-Box: Parquet with the image, its size, and a conversation of descriptions and `(x1, y1, x2, y2)`.

huggingface.co/datasets/osunlp/UGround-V1-Data-Box. Readers of it take the numbers for 0..999 of the screen, or for
pixels: the entry must say which, such as `coordinates: {order: xyxy, unit: of_999}`. The release with points alone is
refused, for a point proves nothing about an element.
"""

import json
import re
from typing import Any

from step3vl.pipelines.gui.sets.format import SetFile, SetFormat, embedded, parquet_items, stated_box
from step3vl.pipelines.gui.sets.records import RawScreen, RawTarget

_BOX = re.compile(r"\(?\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*\)?")


def convert(record: dict[str, Any], file: SetFile) -> RawScreen:
    turns = json.loads(record["conversations"])
    if len(turns) % 2 or [turn["from"] for turn in turns] != ["human", "gpt"] * (len(turns) // 2):
        raise ValueError("the conversation is no pairs of human and gpt")
    targets = []
    for question, answer in zip(turns[::2], turns[1::2], strict=True):
        match = _BOX.fullmatch(answer["value"].strip())
        if match is None:
            raise ValueError(f"{answer['value'][:40]!r} is no box")
        place = stated_box([float(value) for value in match.groups()], file)
        targets.append(RawTarget(text=question["value"].strip(), place=place))
    return RawScreen(screen=embedded(record["image"]), targets=tuple(targets), platform="web")


FORMAT = SetFormat(parquet_items(("image", "conversations")), convert, untyped=True)
