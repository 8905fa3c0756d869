"""Multimodal-Mind2Web: a row of Parquet an action, with the whole page as the screenshot.

huggingface.co/datasets/osunlp/Multimodal-Mind2Web. The box of a candidate is in its attributes, `x,y,width,height` in
pixels of the screenshot; -1 means that it has none. The rows of a task follow each other. Only the training part is
for training: name its files alone.
"""

import json
from typing import Any

from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.gui.sets.actions import key, step, tap, typed
from step3vl.pipelines.gui.sets.format import Items, SetFile, SetFormat, box, embedded, grouped, parquet_items
from step3vl.pipelines.gui.sets.records import Place, RawAction, RawEpisode, RawStep

_COLUMNS = (
    "annotation_id", "confirmed_task", "operation", "pos_candidates", "action_reprs", "target_action_index",
    "screenshot", "website",
)  # fmt: skip


def items(file: SetFile) -> Items:
    if file.url.rpartition("/")[2].startswith("test"):
        raise ValueError("the file is of a test set, which is not for training")
    yield from grouped(parquet_items(_COLUMNS)(file), "annotation_id")


def convert(rows: list[dict[str, Any]], file: SetFile) -> RawEpisode:
    steps = tuple(_step(row) for row in rows if row["screenshot"] and row["screenshot"]["bytes"])
    if not steps:
        raise Dropped("missing_image")
    numbers = [int(row["target_action_index"]) for row in rows]
    whole = len(steps) == len(rows) and numbers == list(range(len(rows[0]["action_reprs"])))
    return RawEpisode(
        goal=rows[0]["confirmed_task"], steps=steps, platform="web", problem="" if whole else "incomplete"
    )


def _step(row: dict[str, Any]) -> RawStep:
    operation = json.loads(row["operation"])
    kind, value = operation.get("original_op") or operation["op"], operation.get("value") or ""
    places = tuple(filter(None, map(_place, row["pos_candidates"])))
    screen = embedded(row["screenshot"])
    if kind == "ENTER":
        return step(screen, key("enter"))
    if kind == "HOVER":
        return step(screen, "hover")
    if not places:
        return step(screen, "element_without_box")
    action: RawAction | str = {"CLICK": tap(places[0], places)}.get(kind, "unknown_action")
    if kind in ("TYPE", "SELECT"):
        action = typed(value, places[0])
    return step(screen, action, loss="select" if kind == "SELECT" else "")


def _place(candidate: str) -> Place | None:
    raw = json.loads(candidate)
    attributes = raw["attributes"]
    attributes = json.loads(attributes) if isinstance(attributes, str) else attributes
    values = [float(value) for value in attributes["bounding_box_rect"].split(",")]
    return None if values == [-1.0] * 4 else box(values, "xywh", "pixels")


FORMAT = SetFormat(items, convert)
