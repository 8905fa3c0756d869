"""COCO's JSON and what is written like it: COCO, Objects365, DocLayNet, CDLA; LVIS; and RefCOCO, which refers to it.

COCO gives boxes as left, top, width and height in pixels, and boxes of every instance of its categories in every
image. A crowd is one box around many. LVIS says for each image which categories are exhaustive and which are absent;
its other categories are simply not annotated. https://cocodataset.org/#format-data, https://www.lvisdataset.org
"""

import io
import json
import pickle
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import ijson

from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.grounding.records import Subject
from step3vl.pipelines.sources.annotations.raw import Piece, RawImage, RawObject, absent_labels

_MAX_REFS = 512 * 2**20  # bytes; those of RefCOCOg are 66 MB
_TRAIN = ("train",)


def stream(path: Path, prefix: str) -> Iterator[Any]:
    """The items of an array in a JSON file, without the rest of it in memory.

    Args:
        path: The file.
        prefix: Where they are, as ijson spells it.

    Raises:
        ValueError: The file is no JSON.
    """
    with path.open("rb") as file:
        try:
            yield from ijson.items(file, prefix, use_float=True)
        except ijson.JSONError as error:
            raise ValueError(f"the file is no JSON: {error}") from None


class Coco:
    """COCO's instances. Objects365's boxes of reflections and of depictions are regions to ignore."""

    SUBJECT: ClassVar[Subject] = "photo"
    TABLES: ClassVar[tuple[str, ...]] = ()

    def __init__(self, tables: Mapping[str, Path]) -> None:
        """It needs no other file."""

    def pieces(self, path: Path, name: str) -> Iterator[Piece]:
        yield "", {"categories": sorted(categories(path).items())}
        for each in stream(path, "images.item"):
            kept = ("file_name", "coco_url", "width", "height", "neg_category_ids", "not_exhaustive_category_ids")
            yield str(each["id"]), {"image": {key: each[key] for key in kept if key in each}}
        for each in stream(path, "annotations.item"):
            yield str(each["image_id"]), {"annotation": annotation(each)}

    def assemble(self, name: str, pieces: Sequence[Any]) -> RawImage:
        labels = {number: label for piece in pieces for number, label in piece.get("categories", ())}
        image = _image_of(pieces)
        objects = tuple(object_of(piece["annotation"], labels) for piece in pieces if "annotation" in piece)
        present = {item.label for item in objects}
        return RawImage(
            name=image["file_name"],
            size=(image["width"], image["height"]),
            order="xywh",
            unit="pixels",
            objects=objects,
            complete=tuple(sorted(present)),
            absent=absent_labels(name, list(labels.values()), list(present)),
        )


class Layout(Coco):
    """COCO's JSON of page layouts: DocLayNet, CDLA, PubLayNet."""

    SUBJECT: ClassVar[Subject] = "page"


class Lvis(Coco):
    """LVIS: only categories that are listed for an image are known to be absent from it, or complete in it."""

    def assemble(self, name: str, pieces: Sequence[Any]) -> RawImage:
        labels = {number: label for piece in pieces for number, label in piece.get("categories", ())}
        image = _image_of(pieces)
        objects = tuple(object_of(piece["annotation"], labels) for piece in pieces if "annotation" in piece)
        partial = {labels[number] for number in image.get("not_exhaustive_category_ids", ())}
        # LVIS v1 has COCO's URL in place of a file name: .../train2017/000000391895.jpg
        file_name = image.get("file_name") or "/".join(image["coco_url"].split("/")[-2:])
        return RawImage(
            name=file_name,
            size=(image["width"], image["height"]),
            order="xywh",
            unit="pixels",
            objects=objects,
            complete=tuple(sorted({item.label for item in objects} - partial)),
            absent=tuple(sorted(labels[number] for number in image.get("neg_category_ids", ()))),
        )


class RefCoco:
    """RefCOCO, RefCOCO+ and RefCOCOg: `refs(unc).p` or the same list as JSON, with COCO's instances as a table.

    Only what its authors call `train` is used; the rest are test sets.
    """

    SUBJECT: ClassVar[Subject] = "photo"
    TABLES: ClassVar[tuple[str, ...]] = ("instances",)

    def __init__(self, tables: Mapping[str, Path]) -> None:
        self._instances = tables["instances"]
        self._coco = Coco({})

    def pieces(self, path: Path, name: str) -> Iterator[Piece]:
        images: set[str] = set()
        for each in _references(path):
            images.add(str(each["image_id"]))
            sentences = [sentence["sent"] for sentence in each["sentences"]]
            yield (
                str(each["image_id"]),
                {"reference": {"id": each["ann_id"], "split": each["split"], "phrases": sentences}},
            )
        # The ids of images are few beside their annotations: COCO's 20,000 here are under two megabytes.
        yield from (piece for piece in self._coco.pieces(self._instances, name) if not piece[0] or piece[0] in images)

    def assemble(self, name: str, pieces: Sequence[Any]) -> RawImage:
        references = [piece["reference"] for piece in pieces if "reference" in piece]
        if any(reference["split"] not in _TRAIN for reference in references):
            raise Dropped("test_split")
        annotations = [piece["annotation"] for piece in pieces if "annotation" in piece]
        phrases: dict[int, list[str]] = defaultdict(list)
        for reference in references:
            phrases[reference["id"]] += reference["phrases"]
        unknown = phrases.keys() - {each["id"] for each in annotations}
        if unknown:
            raise ValueError(f"annotation {min(unknown)} is referred to and is not in the instances")
        image = self._coco.assemble(name, pieces)
        objects = (
            item.model_copy(update={"phrases": tuple(phrases[each["id"]])})
            for item, each in zip(image.objects, annotations, strict=True)
        )
        return image.model_copy(update={"objects": tuple(objects)})


def categories(path: Path) -> dict[int, str]:
    """The categories of a file by their ids. Raises ValueError where there are none."""
    labels = {each["id"]: each["name"] for each in stream(path, "categories.item")}
    if not labels:
        raise ValueError("the file has no categories: it is not in COCO's format")
    return labels


def annotation(raw: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of an annotation: no run-length masks, which only crowds have, and no keypoints."""
    kept = ("id", "category_id", "bbox", "iscrowd", "ignore", "isfake", "isreflected")
    polygons = raw.get("segmentation")
    return {key: raw[key] for key in kept if key in raw} | (
        {"segmentation": polygons} if isinstance(polygons, list) else {}
    )


def object_of(raw: Mapping[str, Any], labels: Mapping[int, str]) -> RawObject:
    """An object of COCO's. Raises ValueError for one without a box or of no known category."""
    if raw["category_id"] not in labels or "bbox" not in raw:
        raise ValueError(f"annotation {raw.get('id')} has no box or no known category")
    reasons = {"iscrowd": "crowd", "ignore": "ignore", "isfake": "depiction", "isreflected": "reflection"}
    return RawObject(
        label=labels[raw["category_id"]],
        box=tuple(raw["bbox"]),
        polygons=tuple(tuple(polygon) for polygon in raw.get("segmentation", ())),
        ignored=next((reason for key, reason in reasons.items() if raw.get(key)), ""),
    )


def _image_of(pieces: Sequence[Any]) -> dict[str, Any]:
    images = [piece["image"] for piece in pieces if "image" in piece]
    if len(images) != 1:
        raise ValueError(f"{len(images)} entries of `images` have this id")
    return dict(images[0])


class _PlainUnpickler(pickle.Unpickler):
    """Reads lists, dictionaries, texts and numbers, and refuses everything that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"a list of references needs no {module}.{name}")


def _references(path: Path) -> list[Any]:
    if path.stat().st_size > _MAX_REFS:
        raise ValueError(f"a list of references has at most {_MAX_REFS} bytes")
    data = path.read_bytes()
    try:
        references = json.loads(data) if data[:1] in b"[ \n" else _PlainUnpickler(io.BytesIO(data)).load()
    except (pickle.UnpicklingError, EOFError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise ValueError(f"the file is no list of references: {error}") from None
    if not isinstance(references, list):
        raise ValueError("the file is no list of references")
    return references
