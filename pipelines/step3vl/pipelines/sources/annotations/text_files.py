"""Sets with a text file for each image: YOLO, Locount, ICDAR 2015, MSRA-TD500.

An image's name is that of its file without the ending.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import yaml

from step3vl.pipelines.grounding.conventions import rotated_rectangle
from step3vl.pipelines.grounding.records import Subject
from step3vl.pipelines.sources.annotations.raw import Piece, RawImage, RawObject, absent_labels

_MAX_FILE = 4 * 2**20  # bytes of the annotations of an image
_UNREADABLE = "###"  # in place of a text that the annotators of ICDAR 2015 could not read


class _FileOfLines:
    """The parts that formats with a line for each object share."""

    SUBJECT: ClassVar[Subject] = "photo"
    TABLES: ClassVar[tuple[str, ...]] = ()
    PREFIX: ClassVar[str] = ""
    """What the names of annotation files have before those of images."""

    def __init__(self, tables: Mapping[str, Path]) -> None:
        """Most need no other file."""

    def pieces(self, path: Path, name: str) -> Iterator[Piece]:
        if path.stat().st_size > _MAX_FILE:
            raise ValueError(f"the annotations of one image have at most {_MAX_FILE} bytes")
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        yield PurePosixPath(name).stem.removeprefix(self.PREFIX), [line for line in lines if line.strip()]


class Yolo(_FileOfLines):
    """Ultralytics' YOLO: `class cx cy w h` in 0..1, or `class x1 y1 x2 y2 x3 y3 ...`, with the `data.yaml` as a table.

    A file of poses has a box and key points in a line, which could be taken for a polygon: it is refused.
    """

    TABLES: ClassVar[tuple[str, ...]] = ("classes",)

    def __init__(self, tables: Mapping[str, Path]) -> None:
        config = yaml.safe_load(tables["classes"].read_text(encoding="utf-8"))
        if "kpt_shape" in config:
            raise ValueError("a set of poses has key points, not polygons")
        names = config["names"]
        self._names = dict(enumerate(names)) if isinstance(names, list) else {int(k): v for k, v in names.items()}

    def assemble(self, name: str, pieces: Sequence[Any]) -> RawImage:
        objects = []
        for line in pieces[0]:
            number, *values = line.split()
            numbers = tuple(map(float, values))
            label = self._names[int(number)]
            if len(numbers) == 4:
                objects.append(RawObject(label=label, box=numbers))
            elif len(numbers) >= 6 and len(numbers) % 2 == 0:
                objects.append(RawObject(label=label, polygons=(numbers,)))
            else:
                raise ValueError(f"{len(numbers)} numbers are neither a box nor a polygon")
        labels = [item.label for item in objects]
        return RawImage(
            name=name,
            order="cxcywh",
            unit="unit",
            objects=tuple(objects),
            complete=tuple(sorted(set(labels))),
            absent=absent_labels(name, list(self._names.values()), labels),
        )


class Locount(_FileOfLines):
    """Locount: `x1,y1,x2,y2,class,count` in pixels; a box holds one or a pile of a product."""

    def assemble(self, name: str, pieces: Sequence[Any]) -> RawImage:
        objects = []
        for line in pieces[0]:
            *sides, label, count = line.split(",")
            objects.append(RawObject(label=label, box=tuple(map(float, sides)), count=int(count)))
        complete = tuple(sorted({item.label for item in objects}))
        return RawImage(name=name, order="xyxy", unit="pixels", objects=tuple(objects), complete=complete)


class Icdar2015(_FileOfLines):
    """ICDAR 2015, incidental scene text: `x1,y1,...,x4,y4,text` in pixels, in files `gt_NAME.txt`."""

    PREFIX = "gt_"

    def assemble(self, name: str, pieces: Sequence[Any]) -> RawImage:
        objects = []
        for line in pieces[0]:
            *corners, text = line.split(",", 8)
            if len(corners) != 8:
                raise ValueError(f"a line has {len(corners)} numbers before its text, not those of four corners")
            unreadable = text.strip() == _UNREADABLE
            objects.append(
                RawObject(
                    label="word",
                    polygons=(tuple(map(float, corners)),),
                    attributes={} if unreadable else {"text": text.strip()},
                    ignored="unreadable" if unreadable else "",
                )
            )
        return RawImage(name=name, order="xyxy", unit="pixels", objects=tuple(objects), complete=("word",))


class MsraTd500(_FileOfLines):
    """MSRA-TD500: `index difficult x y width height radians` in pixels; the rectangle is turned about its centre."""

    def assemble(self, name: str, pieces: Sequence[Any]) -> RawImage:
        objects = []
        for line in pieces[0]:
            _, difficult, *numbers = line.split()
            x, y, width, height, radians = map(float, numbers)
            objects.append(
                RawObject(
                    label="text line",
                    polygons=(rotated_rectangle(x, y, width, height, radians),),
                    ignored="difficult" if difficult == "1" else "",
                )
            )
        return RawImage(name=name, order="xyxy", unit="pixels", objects=tuple(objects), complete=("text line",))
