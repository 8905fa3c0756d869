"""Visual Genome's JSON: `objects.json` and `region_descriptions.json`, boxes as x, y, w, h in pixels.

Its annotators boxed what they described, not every instance, and one thing often twice. So no label is complete, and
a region's description is not known to fit one region alone. https://homes.cs.washington.edu/~ranjay/visualgenome
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from step3vl.pipelines.grounding.records import Subject
from step3vl.pipelines.sources.annotations.coco import stream
from step3vl.pipelines.sources.annotations.raw import Piece, RawImage, RawObject


class VisualGenome:
    """Objects with their names, or regions with their descriptions."""

    SUBJECT: ClassVar[Subject] = "photo"
    TABLES: ClassVar[tuple[str, ...]] = ()

    def __init__(self, tables: Mapping[str, Path]) -> None:
        """It needs no other file."""

    def pieces(self, path: Path, name: str) -> Iterator[Piece]:
        for image in stream(path, "item"):
            if "objects" in image:
                kept = [{key: item[key] for key in ("x", "y", "w", "h", "names")} for item in image["objects"]]
                yield str(image["image_id"]), {"objects": kept}
            elif "regions" in image:
                sides = ("x", "y", "width", "height", "phrase")
                kept = [{key: item[key] for key in sides} for item in image["regions"]]
                yield str(image.get("image_id", image.get("id"))), {"regions": kept}
            else:
                raise ValueError("an image has neither objects nor regions: it is not Visual Genome's")

    def assemble(self, name: str, pieces: Sequence[Any]) -> RawImage:
        objects = [
            RawObject(label=item["names"][0], box=(item["x"], item["y"], item["w"], item["h"]))
            for piece in pieces
            for item in piece.get("objects", ())
            if item["names"]
        ]
        objects += [
            RawObject(
                label="region",
                box=(item["x"], item["y"], item["width"], item["height"]),
                descriptions=(item["phrase"].strip(),),
            )
            for piece in pieces
            for item in piece.get("regions", ())
        ]
        return RawImage(name=name, order="xywh", unit="pixels", objects=tuple(objects))
