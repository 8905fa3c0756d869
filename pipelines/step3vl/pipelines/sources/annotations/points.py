"""Sets of points: PixMo's Parquet, in per cent of the image's sides, and FSC-147's JSON, in pixels."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, ClassVar

import ijson

from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.grounding.records import Subject
from step3vl.pipelines.sources.annotations.raw import Piece, RawImage, RawObject
from step3vl.pipelines.sources.pairs.parquet_rows import open_parquet

_COLUMNS = ["image_sha256", "label", "points", "count"]
_REACH = 2.5  # per cent of a side: PixMo says nothing of an object's size


class PixmoPoints:
    """PixMo-Points: rows of an image, a label and a point on each instance; none where there is none.

    Images are named by the SHA-256 of their bytes, since an address may show another one today.
    """

    SUBJECT: ClassVar[Subject] = "photo"
    TABLES: ClassVar[tuple[str, ...]] = ()

    def __init__(self, tables: Mapping[str, Path]) -> None:
        """It needs no other file."""

    def pieces(self, path: Path, name: str) -> Iterator[Piece]:
        for batch in open_parquet(path).iter_batches(1024, columns=_COLUMNS):
            for row in batch.to_pylist():
                points = [[point["x"], point["y"]] for point in row["points"] or ()]
                yield row["image_sha256"], {"label": row["label"], "points": points, "count": row["count"]}

    def assemble(self, name: str, pieces: Sequence[Any]) -> RawImage:
        for piece in pieces:
            if piece["count"] is not None and piece["count"] != len(piece["points"]):
                raise ValueError(f"{piece['label']!r}: {len(piece['points'])} points, counted as {piece['count']}")
        labels = [piece["label"] for piece in pieces if piece["points"]]
        return RawImage(
            name=name,
            order="xyxy",
            unit="percent",
            objects=tuple(
                RawObject(label=piece["label"], point=tuple(point)) for piece in pieces for point in piece["points"]
            ),
            complete=tuple(sorted(set(labels))),
            absent=tuple(sorted({piece["label"] for piece in pieces if not piece["points"]} - set(labels))),
            reach=_REACH,
            sha256=name,
        )


class Fsc147:
    """FSC-147: a point on every instance of one class, three boxes of examples, with `classes` and `splits`.

    Points are in pixels of the images whose longer side the authors limited (images_384_VarV2). Only their training
    images are used.
    """

    SUBJECT: ClassVar[Subject] = "photo"
    TABLES: ClassVar[tuple[str, ...]] = ("classes", "splits")

    def __init__(self, tables: Mapping[str, Path]) -> None:
        lines = tables["classes"].read_text(encoding="utf-8").splitlines()
        self._classes = dict(line.split("\t", 1) for line in lines if "\t" in line)
        self._train = frozenset(json.loads(tables["splits"].read_bytes())["train"])

    def pieces(self, path: Path, name: str) -> Iterator[Piece]:
        with path.open("rb") as file:
            for image, value in ijson.kvitems(file, "", use_float=True):
                yield image, {key: value[key] for key in ("points", "box_examples_coordinates")}

    def assemble(self, name: str, pieces: Sequence[Any]) -> RawImage:
        (piece,) = pieces
        if name not in self._train:
            raise Dropped("test_split")
        label = self._classes[name].strip()
        sides = [_sides(corners) for corners in piece["box_examples_coordinates"]]
        return RawImage(
            name=name,
            order="xyxy",
            unit="pixels",
            objects=tuple(RawObject(label=label, point=tuple(point)) for point in piece["points"]),
            complete=(label,),
            reach=median(min(width, height) for width, height in sides) / 2 if sides else 0.0,
        )


def _sides(corners: Sequence[Sequence[float]]) -> tuple[float, float]:
    xs, ys = [corner[0] for corner in corners], [corner[1] for corner in corners]
    return max(xs) - min(xs), max(ys) - min(ys)
