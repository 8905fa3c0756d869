"""Small files of pairs for tests: images, tables and tars."""

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image as PILImage

from step3vl.data.storage import DEFAULT_STORE
from step3vl.pipelines.core.inputs import InputFile, list_pattern


@cache
def png(seed: int, size: tuple[int, int] = (200, 160)) -> bytes:
    """An image of a few large blocks of colour, another one for each seed."""
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    PILImage.fromarray(blocks).resize(size, PILImage.Resampling.BICUBIC).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def write_table(path: Path, columns: Mapping[str, Sequence[Any]], row_group: int = 1000) -> Path:
    """A Parquet table."""
    pq.write_table(pa.table({name: list(values) for name, values in columns.items()}), path, row_group_size=row_group)
    return path


def write_tar(path: Path, members: Sequence[tuple[str, bytes]]) -> Path:
    """A tar as img2dataset writes it."""
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def pair_members(number: int, caption: str, **meta: Any) -> list[tuple[str, bytes]]:
    """The members of a pair."""
    key = f"{number:09}"
    return [
        (f"{key}.png", png(number)),
        (f"{key}.json", json.dumps({"caption": caption, **meta}).encode()),
        (f"{key}.txt", caption.encode()),
    ]


def listed(path: Path, licence: str = "CC0-1.0") -> InputFile:
    """A file as an entry lists it."""
    (file,) = list_pattern(path.name, licence, entry="t", base=str(path.parent), store=DEFAULT_STORE)
    return file
