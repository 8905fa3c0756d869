"""What a format is, and the readers that formats share."""

import itertools
import json
import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from step3vl.data.convert.json_array import read_array
from step3vl.data.sample import Image, Size
from step3vl.data.storage import store_of
from step3vl.pipelines.grounding.conventions import BoxFormat, Unit
from step3vl.pipelines.gui.sets.records import Place, RawEpisode, RawScreen, RawTarget, ScreenImage
from step3vl.pipelines.sources.annotations.json_lines import json_lines
from step3vl.pipelines.sources.pairs.parquet_rows import open_parquet

ItemT = TypeVar("ItemT")
Items = Iterator[tuple[str, Any]]
"""The name of a record in its file, and what the file says of it, or the ValueError that says why it is unreadable."""

_ROWS = 16  # of a Parquet file that are held at a time: a row has an image
_MAX_LINE = 64 * 2**20  # bytes of an episode of JSON Lines
_MAX_FILE = 64 * 2**20  # bytes of a file of one episode


class SetFile(NamedTuple):
    """A file of a set.

    Attributes:
        path: On this machine.
        url: Where it is, for the files beside it.
        coordinates: What four numbers mean, given by the entry for a format whose files do not say.
    """

    path: Path
    url: str
    coordinates: BoxFormat | None = None

    def beside(self, name: str) -> bytes:
        """The content of a file, by its path from this one's folder. Raises FileNotFoundError."""
        folder, _, _ = self.url.rpartition("/")
        scheme, separator, rest = folder.rpartition("://")
        store, path = store_of(f"{scheme}{separator}{posixpath.normpath(posixpath.join(rest, name))}")
        return store.read_all(path)


@dataclass(frozen=True)
class SetFormat:
    """A format.

    Attributes:
        items: Reads a file, record by record, in bounded memory.
        convert: What one record says. Raises Dropped for one that is unwanted, and any of `raw.MALFORMED` for a
            malformed one.
        test_set: Whether it is a set to evaluate with.
        untyped: Whether its files do not say what four numbers mean, or releases differ: the entry must.
    """

    items: Callable[[SetFile], Items]
    convert: Callable[[Any, SetFile], RawScreen | RawEpisode]
    test_set: bool = False
    untyped: bool = False


def array_items(file: SetFile) -> Items:
    """The elements of a JSON array."""
    with file.path.open("rb") as source:
        for number, value in enumerate(read_array(source)):
            yield str(number), value


def line_items(file: SetFile) -> Items:
    """The objects of a file of JSON Lines."""
    for number, value in enumerate(json_lines(file.path, _MAX_LINE)):
        yield str(number), value


def object_items(file: SetFile) -> Items:
    """The one object of a file that is an episode."""
    if file.path.stat().st_size > _MAX_FILE:
        raise ValueError(f"the file has more than {_MAX_FILE} bytes: it is no episode")
    value = json.loads(file.path.read_bytes())
    if not isinstance(value, dict):
        raise ValueError("the file is no JSON object")
    yield "0", value


def parquet_items(columns: Sequence[str]) -> Callable[[SetFile], Items]:
    """A reader of the rows of a Parquet file.

    Args:
        columns: Those that are read; an absent one makes the file another format's.
    """

    def items(file: SetFile) -> Items:
        parquet = open_parquet(file.path)
        missing = [column for column in columns if column not in parquet.schema_arrow.names]
        if missing:
            raise ValueError(f"the file has no column {missing[0]}: it is of another format")
        rows = (row for batch in parquet.iter_batches(_ROWS, columns=list(columns)) for row in batch.to_pylist())
        for number, row in enumerate(rows):
            yield str(number), row

    return items


def grouped(items: Iterable[tuple[str, dict[str, Any]]], field: str) -> Items:
    """Records that follow each other and agree in a field, together: the steps of an episode."""
    for name, group in itertools.groupby((value for _, value in items), key=lambda value: str(value[field])):
        yield name, list(group)


def embedded(value: Any) -> ScreenImage:
    """An image as Hugging Face's Parquet files carry it: bytes, or a struct of bytes and path.

    Raises:
        ValueError: There are no bytes, or they are no image.
    """
    data = value.get("bytes") if isinstance(value, dict) else value
    if not data:
        raise ValueError("the row has no bytes of an image")
    return ScreenImage(image=Image.from_bytes(data))


def box(values: Sequence[float], order: Any, unit: Any, size: Sequence[int] | None = None) -> Place:
    """The place of a box."""
    numbers: Size | None = None if size is None else (int(size[0]), int(size[1]))
    return Place(values=tuple(float(value) for value in values), order=order, unit=unit, size=numbers)


def stated_box(values: Sequence[float], file: SetFile) -> Place:
    """The place of a box in the convention that the entry states."""
    if file.coordinates is None:
        raise ValueError("nothing says what the four numbers of a box mean")
    return box(values, file.coordinates.order, file.coordinates.unit)


def elements_screen(record: Any, unit: Unit, platform: str) -> RawScreen:
    """The screen of SeeClick and OS-Atlas: `elements`, or one element in the record itself, of corners and a text.

    `data_type` is `hover` for a text that a pointer on the element brings up.
    """
    return RawScreen(
        screen=ScreenImage(name=record["img_filename"]),
        targets=tuple(
            RawTarget(
                text=str(element["instruction"]),
                phrase="instruction",
                place=box(element["bbox"], "xyxy", unit),
                role=str(element.get("data_type") or ""),
            )
            for element in record.get("elements", [record])
        ),
        platform=platform,
    )
