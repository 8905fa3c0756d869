"""The annotated sets of `data/samples/grounding`, as entries name them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from step3vl.data.storage import DEFAULT_STORE
from step3vl.pipelines.core.inputs import InputFile, list_pattern
from step3vl.pipelines.sources.annotations.formats import FormatName, make_format
from step3vl.pipelines.sources.annotations.grouping import images_of, split_file
from step3vl.pipelines.sources.annotations.raw import AnnotationFormat, RawImage

FOLDER = "data/samples/grounding"
SETS: dict[FormatName, tuple[str, dict[str, str], str]] = {
    "coco": ("coco/*.json", {}, "../images/{name}"),
    "lvis": ("lvis/*.json", {}, "../{name}"),
    "refcoco": ("refcoco/*.json", {"instances": "coco/instances.json"}, "../images/{name}"),
    "openimages": (
        "openimages/boxes.csv",
        {
            role: f"openimages/{role}.{kind}"
            for role, kind in (("classes", "csv"), ("verified", "csv"), ("hierarchy", "json"))
        },
        "../images/{name}.jpg",
    ),
    "visual_genome": ("visual_genome/*.json", {}, "../images/{name}.jpg"),
    "pixmo_points": ("pixmo/*.parquet", {}, "{name}.jpg"),
    "fsc147": (
        "fsc147/annotation_*.json",
        {"classes": "fsc147/ImageClasses_FSC147.txt", "splits": "fsc147/Train_Test_Val_FSC_147.json"},
        "../images/{name}",
    ),
    "locount": ("locount/*.txt", {}, "../images/{name}.jpg"),
    "yolo": ("yolo/labels/*.txt", {"classes": "yolo/data.yaml"}, "../../images/{name}.jpg"),
    "icdar2015": ("icdar2015/*.txt", {}, "../images/{name}.jpg"),
    "msra_td500": ("msra_td500/*.gt", {}, "../images/{name}.jpg"),
    "pubtabnet": ("pubtabnet/*.jsonl", {}, "../images/{name}"),
    "layout": ("layout/*.json", {}, "../images/{name}"),
    "lines": ("lines/*.jsonl", {}, "../images/{name}"),
}
"""By format: the pattern of the annotation files, the tables, and where the images are."""


def entry_of(name: FormatName, **fields: Any) -> dict[str, Any]:
    """The fields of an entry that reads a set."""
    pattern, tables, images = SETS[name]
    return {
        "domain": "grounding.annotated",
        "name": name,
        "format": name,
        "sources": [{"files": [f"{FOLDER}/{pattern}"], "licence": "CC0-1.0"}],
        "tables": {role: f"{FOLDER}/{path}" for role, path in tables.items()},
        "images": images,
        **fields,
    }


def format_of(name: FormatName, **tables: Path) -> AnnotationFormat:
    """A format with the tables of its set, or with others."""
    return make_format(name, {role: Path(FOLDER, path) for role, path in SETS[name][1].items()} | tables)


def listed(path: Path) -> InputFile:
    """A file as a build lists it."""
    (file,) = list_pattern(str(path.absolute()), "CC0-1.0", entry="t", base="/", store=DEFAULT_STORE)
    return file


def read(name: FormatName, path: Path, **tables: Path) -> Iterator[RawImage]:
    """The images of an annotation file."""
    format = format_of(name, **tables)
    for part in split_file(listed(path), path, format, "", DEFAULT_STORE):
        for image, pieces in images_of(part, "", DEFAULT_STORE):
            yield format.assemble(image, pieces)
