"""Sets in JSON Lines: PubTabNet, and a plain format of one object a line for whatever else there is."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.grounding.records import Subject
from step3vl.pipelines.sources.annotations.raw import Piece, RawImage, RawObject

_MAX_LINE = 4 * 2**20  # bytes of the annotations of an image
_TAGS = frozenset(f"<{end}{tag}>" for tag in ("b", "i", "u", "sup", "sub", "strike", "overline") for end in ("", "/"))


class PubTabNet:
    """PubTabNet: tables as HTML tokens with the box of each cell that is not empty, x1, y1, x2, y2 in pixels.

    A cell's row and column count from 1, and a cell that spans several has the first of them. Only its training part
    is used.
    """

    SUBJECT: ClassVar[Subject] = "table"
    TABLES: ClassVar[tuple[str, ...]] = ()

    def __init__(self, tables: Mapping[str, Path]) -> None:
        """It needs no other file."""

    def pieces(self, path: Path, name: str) -> Iterator[Piece]:
        for row in json_lines(path):
            yield row["filename"], {"split": row["split"], "html": row["html"]}

    def assemble(self, name: str, pieces: Sequence[Any]) -> RawImage:
        (piece,) = pieces
        if piece["split"] != "train":
            raise Dropped("test_split")
        places = _places(piece["html"]["structure"]["tokens"])
        cells = piece["html"]["cells"]
        if len(places) != len(cells):
            raise ValueError(f"the structure has {len(places)} cells, and {len(cells)} are listed")
        objects = []
        for (row, column), cell in zip(places, cells, strict=True):
            if "bbox" not in cell:
                continue  # an empty cell
            text = "".join(token for token in cell["tokens"] if token not in _TAGS).strip()
            attributes = {"row": str(row), "column": str(column)} | ({"text": text} if text else {})
            objects.append(RawObject(label="cell", box=tuple(cell["bbox"]), attributes=attributes))
        return RawImage(name=name, order="xyxy", unit="pixels", objects=tuple(objects), complete=("cell",))


def _places(tokens: Sequence[str]) -> list[tuple[int, int]]:
    """The first row and column of each cell, in the order of an HTML table's tokens."""
    taken: set[tuple[int, int]] = set()
    places: list[tuple[int, int]] = []
    row = 0
    spans: dict[str, int] = {}
    for token in (*tokens, "</tr>"):
        text = token.strip()
        if text == "<tr>":
            row += 1
        elif text in ("<td>", "<td", "<th>", "<th"):
            spans = {}
        elif text.startswith(("rowspan=", "colspan=")):
            key, _, value = text.partition("=")
            spans[key] = min(int(value.strip('"')), 1000)
        if text in ("<td>", "<th>", ">"):
            column = 1
            while (row, column) in taken:
                column += 1
            places.append((row, column))
            for down in range(spans.get("rowspan", 1)):
                taken |= {(row + down, column + across) for across in range(spans.get("colspan", 1))}
    return places


class PlainLines:
    """A line for each image: `{"image", "size", "order", "unit", "objects", "complete", "absent"}`, as in `RawImage`.

    `order` and `unit` have to be there: four numbers without them could mean anything, and are refused.
    """

    SUBJECT: ClassVar[Subject] = "photo"
    TABLES: ClassVar[tuple[str, ...]] = ()

    def __init__(self, tables: Mapping[str, Path]) -> None:
        """It needs no other file."""

    def pieces(self, path: Path, name: str) -> Iterator[Piece]:
        for row in json_lines(path):
            yield str(row["image"]), row

    def assemble(self, name: str, pieces: Sequence[Any]) -> RawImage:
        if len(pieces) != 1:
            raise ValueError(f"{len(pieces)} lines have this image")
        fields = {key: value for key, value in pieces[0].items() if key != "image"}
        if "order" not in fields or "unit" not in fields:
            raise ValueError("a line says neither order nor unit of its coordinates: give both")
        return RawImage.model_validate({**fields, "name": name})


def json_lines(path: Path, longest: int = _MAX_LINE) -> Iterator[dict[str, Any]]:
    """The objects of a file of JSON Lines.

    Args:
        path: The file.
        longest: Bytes of a line, at most.

    Raises:
        ValueError: A line is no object, or longer.
    """
    with path.open("rb") as lines:
        number = 0
        while line := lines.readline(longest + 1):
            number += 1
            if len(line) > longest:
                raise ValueError(f"line {number} has more than {longest} bytes")
            value = json.loads(line)
            if not isinstance(value, dict):
                raise ValueError(f"line {number} is no object")
            yield value
