"""The formats of annotated sets by name: a new one is a class and a line here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from step3vl.data.errors import UserError, describe_error
from step3vl.pipelines.sources.annotations.coco import Coco, Layout, Lvis, RefCoco
from step3vl.pipelines.sources.annotations.json_lines import PlainLines, PubTabNet
from step3vl.pipelines.sources.annotations.openimages import OpenImages
from step3vl.pipelines.sources.annotations.points import Fsc147, PixmoPoints
from step3vl.pipelines.sources.annotations.raw import MALFORMED, AnnotationFormat
from step3vl.pipelines.sources.annotations.text_files import Icdar2015, Locount, MsraTd500, Yolo
from step3vl.pipelines.sources.annotations.visual_genome import VisualGenome

FormatName = Literal[
    "coco", "layout", "lvis", "refcoco", "openimages", "visual_genome", "pixmo_points", "fsc147", "locount", "yolo",
    "icdar2015", "msra_td500", "pubtabnet", "lines",
]  # fmt: skip

FORMATS: dict[FormatName, type[AnnotationFormat]] = {
    "coco": Coco,  # also Objects365
    "layout": Layout,  # DocLayNet, CDLA, PubLayNet
    "lvis": Lvis,
    "refcoco": RefCoco,  # also RefCOCO+ and RefCOCOg
    "openimages": OpenImages,
    "visual_genome": VisualGenome,
    "pixmo_points": PixmoPoints,
    "fsc147": Fsc147,
    "locount": Locount,
    "yolo": Yolo,
    "icdar2015": Icdar2015,
    "msra_td500": MsraTd500,
    "pubtabnet": PubTabNet,
    "lines": PlainLines,
}


def check_tables(name: FormatName, tables: Mapping[str, str], entry: str) -> None:
    """Raises UserError unless an entry gives exactly the files that a format needs besides its annotations."""
    needed = FORMATS[name].TABLES
    for role in needed:
        if role not in tables:
            raise UserError(f"{entry}: the format {name} needs tables: {{{role}: FILE}}")
    for role in tables:
        if role not in needed:
            raise UserError(f"{entry}: the format {name} needs no table {role!r}, but {', '.join(needed) or 'none'}")


def make_format(name: FormatName, tables: Mapping[str, Path]) -> AnnotationFormat:
    """A format with its tables read.

    Raises:
        ValueError: A table is damaged, or another file.
    """
    try:
        return FORMATS[name](tables)
    except MALFORMED as error:
        files = ", ".join(f"{role} ({path.name})" for role, path in tables.items())
        raise ValueError(f"the format {name} cannot read its tables {files}: {describe_error(error)}") from None
