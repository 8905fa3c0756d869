"""Pairs of an image and texts: what a pair is, and Parquet tables of them with the column names that are in use.

| set | image | texts | also read |
|---|---|---|---|
| LAION-400M, -2B, -5B | `URL`, `url` | `TEXT`, `caption` | `similarity`, `AESTHETIC_SCORE`, `pwatermark`, `punsafe` |
| COYO-700M | `url` | `text` | `clip_similarity_vitb32`, `aesthetic_score_laion_v2`, `watermark_score` ... |
| BLIP-CCS | `url` | `caption` | |
| Zero (CCMB) | `image_url`, `url` | `title`, `content`, `query` | |
| of Hugging Face or img2dataset | `image`, `jpg`: bytes | `caption`, `text`, `txt` | `url`, `license` |
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.sample import Image
from step3vl.pipelines.core.inputs import InputFile
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.sources.pairs.obelics import report_unused
from step3vl.pipelines.sources.pairs.parquet_rows import RowReader, open_parquet

Role = Literal["caption", "alt", "above", "below"]
"""What a text is to an image: the caption of a table; the alternative text, or the text above or below, of a page."""

SLICE = 16
"""Pairs that a worker reads together."""

_URLS = ("url", "image_url", "img_url", "image_link")
_BYTES = ("image", "jpg", "jpeg", "png", "webp", "image_bytes", "img", "bytes")
_TEXTS = ("caption", "text", "txt", "title", "alt_text", "content", "query")
_LICENCES = ("license", "licence")
_SCORES = {
    "similarity": "stated_similarity",
    "clip_similarity_vitb32": "stated_similarity",
    "clip_similarity_vitl14": "stated_similarity_l14",
    "aesthetic_score": "stated_aesthetic",
    "aesthetic_score_laion_v2": "stated_aesthetic",
    "pwatermark": "stated_watermark",
    "watermark_score": "stated_watermark",
    "punsafe": "stated_nsfw",
    "nsfw_score_opennsfw2": "stated_nsfw",
}
_MAX_TEXT = 4000  # characters of a text


class PairText(Config):
    """A text that may describe an image."""

    role: Role
    text: str


class Pair(Config):
    """An image and the texts that may describe it."""

    image: Image | None = None
    """None where `reason` says why."""
    texts: tuple[PairText, ...] = ()
    around: tuple[str, ...] = ()
    """Other words about the image: its file's name, the title of its page, the heading above it."""
    url: str = ""
    """Of the image; empty where it is not known."""
    uri: str
    """What was read."""
    licence: str
    scores: dict[str, float] = Field(default_factory=dict)
    """As the source states them."""
    similarities: tuple[float, ...] = ()
    """Of each text to the image, by a model; empty before one has seen them."""
    aesthetic: float | None = None
    """Of the image, by a model."""
    reason: str = ""
    """Why there is no pair."""


class PairSlice(Config):
    """Some pairs of a file."""

    file: InputFile
    kind: Literal["table", "tar"]
    start: int
    """First row of a table, first byte of a tar."""
    stop: int
    damage: str = ""
    """Why there are no more."""


class RawPair(Config):
    """A pair as a file has it: the image in bytes or by its address."""

    key: str
    data: bytes = b""
    url: str = ""
    texts: tuple[PairText, ...] = ()
    licence: str = ""
    scores: dict[str, float] = Field(default_factory=dict)
    reason: str = ""


class Columns(Config):
    """The columns of a table that are used."""

    url: str = ""
    data: str = ""
    texts: tuple[str, ...] = ()
    licence: str = ""
    scores: dict[str, str] = Field(default_factory=dict)
    """Score by column."""

    @property
    def names(self) -> list[str]:
        """All of them, each once."""
        return list(dict.fromkeys(filter(None, (self.url, self.data, *self.texts, self.licence, *self.scores))))


def columns_of(schema: pa.Schema) -> Columns:
    """Which columns of a table hold images and texts, by their names and types.

    Args:
        schema: Of the table.

    Raises:
        Dropped: There is no column of images or none of texts.
    """
    by_name = {name.lower(): name for name in schema.names}

    def first(names: Sequence[str], accepts: Any) -> str:
        matches = (by_name[name] for name in names if name in by_name)
        return next((name for name in matches if accepts(schema.field(name).type)), "")

    columns = Columns(
        url=first(_URLS, _is_text),
        data=first(_BYTES, _is_bytes),
        texts=tuple(
            by_name[name] for name in _TEXTS if name in by_name and _is_text(schema.field(by_name[name]).type)
        ),
        licence=first(_LICENCES, _is_text),
        scores={by_name[name]: score for name, score in _SCORES.items() if name in by_name},
    )
    if not columns.url and not columns.data:
        raise Dropped("no_image_column")
    if not columns.texts:
        raise Dropped("no_text_column")
    return columns


def slices_of_table(path: Path, file: InputFile) -> Iterator[PairSlice]:
    """A table in slices.

    Args:
        path: The table on this machine.
        file: What it was listed as.

    Raises:
        Dropped: It has no columns of images and texts.
        ParquetError: It is damaged.
    """
    table = open_parquet(path)
    columns = columns_of(table.schema_arrow)
    report_unused(file.key, [name for name in table.schema_arrow.names if name not in columns.names])
    rows = table.metadata.num_rows
    for start in range(0, rows, SLICE):
        yield PairSlice(file=file, kind="table", start=start, stop=min(start + SLICE, rows))


def read_table(reader: RowReader, path: Path, part: PairSlice) -> Iterator[RawPair]:
    """The pairs of a slice of a table.

    Args:
        reader: Reads one slice after the other.
        path: The table on this machine.
        part: The slice.

    Raises:
        ParquetError: The table is damaged.
    """
    columns = columns_of(open_parquet(path).schema_arrow)
    for number, row in enumerate(reader.read(path, columns.names, part.start, part.stop), part.start):
        yield _raw_pair(str(number), row, columns)


def _raw_pair(key: str, row: Mapping[str, Any], columns: Columns) -> RawPair:
    stored = row.get(columns.data)
    if isinstance(stored, Mapping):  # as Hugging Face's image feature has it
        stored = stored.get("bytes")
    url = str(row.get(columns.url) or "").strip()
    scores = {}
    for column, score in columns.scores.items():
        if isinstance(row[column], int | float):
            scores[score] = float(row[column])
    reason = "" if stored or url else "no_image"
    return RawPair(
        key=key,
        data=stored or b"",
        url=url,
        texts=caption_texts([row.get(name) for name in columns.texts]),
        licence=str(row.get(columns.licence) or "").strip(" ?"),
        scores=scores,
        reason=reason,
    )


def caption_texts(values: Sequence[Any]) -> tuple[PairText, ...]:
    """The captions among the values of a record, each once."""
    texts = (" ".join(value.split()) for value in values if isinstance(value, str))
    return tuple(PairText(role="caption", text=text) for text in dict.fromkeys(texts) if 0 < len(text) <= _MAX_TEXT)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(kind.field(index).name == "bytes" for index in range(kind.num_fields))
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
