"""OpenImages' CSV: boxes as left, right, top, bottom in 0..1, classes by machine ids, verified labels of images.

Every instance of a label that was verified for an image has a box, unless a box is a group of more than five. A label
is the most specific one: a man is not also a person. So a label is not complete where a narrower one has boxes.
https://storage.googleapis.com/openimages/web/factsfigures_v7.html
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from step3vl.pipelines.grounding.records import Subject
from step3vl.pipelines.sources.annotations.raw import Piece, RawImage, RawObject

_COLUMNS = ("ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax")
_FLAGS = ("IsGroupOf", "IsDepiction")


class OpenImages:
    """Boxes, with three tables: `classes` (class-descriptions-boxable.csv), `verified` (labels of images, verified by
    people, which say what is absent) and `hierarchy` (bbox_labels_600_hierarchy.json)."""

    SUBJECT: ClassVar[Subject] = "photo"
    TABLES: ClassVar[tuple[str, ...]] = ("classes", "verified", "hierarchy")

    def __init__(self, tables: Mapping[str, Path]) -> None:
        with tables["classes"].open(newline="", encoding="utf-8") as file:
            self._names = {row[0]: row[1] for row in csv.reader(file) if len(row) == 2}
        self._verified = tables["verified"]
        self._narrower: dict[str, frozenset[str]] = {}
        self._add_narrower(json.loads(tables["hierarchy"].read_bytes()))

    def _add_narrower(self, node: Mapping[str, Any]) -> frozenset[str]:
        """Note the labels below one; returns them and itself."""
        below = frozenset().union(*(self._add_narrower(child) for child in node.get("Subcategory", ())))
        self._narrower[node["LabelName"]] = self._narrower.get(node["LabelName"], frozenset()) | below
        return below | {node["LabelName"]}

    def pieces(self, path: Path, name: str) -> Iterator[Piece]:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            missing = [column for column in _COLUMNS if column not in (rows.fieldnames or ())]
            if missing:
                raise ValueError(f"the file has no column {missing[0]}: it is not OpenImages' boxes")
            for row in rows:
                yield row["ImageID"], {"box": {key: row.get(key, "0") for key in (*_COLUMNS[1:], *_FLAGS)}}
        with self._verified.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                yield row["ImageID"], {"verified": [row["LabelName"], float(row["Confidence"])]}

    def assemble(self, name: str, pieces: Sequence[Any]) -> RawImage:
        boxes = [piece["box"] for piece in pieces if "box" in piece]
        objects = tuple(map(self._object, boxes))
        ids = {row["LabelName"] for row in boxes}
        labels = {item.label for item in objects}
        complete = {self._names[each] for each in ids if not self._narrower.get(each, frozenset()) & ids}
        absent = {
            self._names[label]
            for label, confidence in (piece["verified"] for piece in pieces if "verified" in piece)
            if confidence == 0 and label in self._names
        }
        return RawImage(
            name=name,
            order="xxyy",
            unit="unit",
            objects=objects,
            complete=tuple(sorted(complete)),
            absent=tuple(sorted(absent - labels)),
        )

    def _object(self, row: Mapping[str, str]) -> RawObject:
        if row["LabelName"] not in self._names:
            raise ValueError(f"class {row['LabelName']} has no description")
        reasons = {"IsGroupOf": "group", "IsDepiction": "depiction"}
        return RawObject(
            label=self._names[row["LabelName"]],
            box=tuple(float(row[key]) for key in _COLUMNS[2:]),
            ignored=next((reason for key, reason in reasons.items() if row[key] == "1"), ""),
        )
