"""WebDataset tars of image-text pairs, as img2dataset writes them: KEY.jpg with KEY.txt, KEY.json or both.

A tar is walked once by its headers; a slice of it is then read with one request, and images stay where they are.
"""

import json
import tarfile
from collections.abc import Iterator
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from xxhash import xxh3_64_hexdigest

from step3vl.data.sample import Pointer
from step3vl.data.storage import read_slices
from step3vl.pipelines.core.inputs import InputFile
from step3vl.pipelines.sources.pairs.image_text import SLICE, PairSlice, RawPair, caption_texts

_IMAGES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff")
_TEXTS = ("txt", "text", "caption")
_MAX_TEXT = 1 << 20  # bytes of a member that is no image
_MAX_SLICE = 64 << 20  # bytes of a slice, which ends earlier then
_BLOCK = 512


class TarError(ValueError):
    """A tar that cannot be read."""


class TarPair(NamedTuple):
    """A pair of a tar, and where its image is."""

    raw: RawPair
    at: Pointer | None


class _Member(NamedTuple):
    key: str
    suffix: str
    start: int  # of its header
    offset: int  # of its content
    size: int
    stop: int  # of its last block


def is_tar(path: Path) -> bool:
    """Whether a file is a tar that is not compressed, by its first header."""
    with path.open("rb") as file:
        header = file.read(_BLOCK)
    return header[257:262] == b"ustar"


def slices_of_tar(path: Path, file: InputFile) -> Iterator[PairSlice]:
    """A tar in slices of whole pairs. What follows damage is lost; the last slice then says so.

    Args:
        path: The tar on this machine.
        file: What it was listed as.
    """
    start = stop = count = 0
    try:
        with path.open("rb") as data:
            for _, members in groupby(_members(data), lambda member: member.key):
                group = list(members)
                if count and (count == SLICE or group[-1].stop - start > _MAX_SLICE):
                    yield PairSlice(file=file, kind="tar", start=start, stop=stop)
                    count = 0
                if not count:
                    start = group[0].start
                stop, count = group[-1].stop, count + 1
        damage = "" if _has_end(path) else "the tar ends without its two empty blocks: it was cut"
    except TarError as error:
        damage = str(error)
    if count:
        yield PairSlice(file=file, kind="tar", start=start, stop=stop)
    if damage:
        yield PairSlice(file=file, kind="tar", start=stop, stop=stop, damage=damage)


def read_tar(part: PairSlice) -> Iterator[TarPair]:
    """The pairs of a slice of a tar.

    Args:
        part: The slice.

    Raises:
        TarError: The tar is damaged.
        InfrastructureError: It cannot be read.
    """
    if part.damage:
        raise TarError(part.damage)
    (data,) = read_slices([Pointer(path=part.file.url, offset=part.start, size=part.stop - part.start)])
    for key, members in groupby(_members(BytesIO(data)), lambda member: member.key):
        contents = {member.suffix: member for member in members}
        yield _pair(key, contents, data, part)


def _pair(key: str, members: dict[str, _Member], data: bytes, part: PairSlice) -> TarPair:
    images = [members[suffix] for suffix in members if suffix in _IMAGES]
    meta: Any = {}
    reason = "" if len(images) == 1 else "no_image" if not images else "several_images"
    if "json" in members:
        try:
            meta = json.loads(_text(members["json"], data))
        except ValueError:
            reason = reason or "damaged_json"
    if not isinstance(meta, dict):
        meta = {}
    texts = [_text(members[suffix], data) for suffix in _TEXTS if suffix in members]
    raw = RawPair(
        key=key,
        url=str(meta.get("url") or ""),
        texts=caption_texts([*texts, meta.get("caption"), meta.get("text")]),
        licence=str(meta.get("license") or meta.get("LICENSE") or "").strip(" ?"),
        reason=reason,
    )
    if reason:
        return TarPair(raw, None)
    image = images[0]
    content = _content(image, data)
    at = Pointer(
        path=part.file.url, offset=part.start + image.offset, size=image.size, xxh3=xxh3_64_hexdigest(content)
    )
    return TarPair(raw.model_copy(update={"data": content}), at)


def _content(member: _Member, data: bytes) -> bytes:
    return data[member.offset : member.offset + member.size]


def _text(member: _Member, data: bytes) -> str:
    return _content(member, data)[:_MAX_TEXT].decode("utf-8", "replace")


def _has_end(path: Path) -> bool:
    """Whether a tar ends as it should; one that is cut between two members reads like a shorter one."""
    with path.open("rb") as data:
        data.seek(max(path.stat().st_size - 2 * _BLOCK, 0))
        return data.read() == bytes(2 * _BLOCK)


def _members(data: BinaryIO) -> Iterator[_Member]:
    """The files of a tar; names are split as WebDataset splits them, at the first dot of the last part."""
    try:
        with tarfile.open(fileobj=data, mode="r:") as archive:
            start = 0
            for member in archive:
                folder, _, name = member.name.rpartition("/")
                key, _, suffix = name.partition(".")
                if member.isfile():
                    key = f"{folder}/{key}" if folder else key
                    yield _Member(key, suffix.lower(), start, member.offset_data, member.size, archive.offset)
                start = archive.offset
    except (tarfile.TarError, OSError, EOFError) as error:
        raise TarError(f"the tar is damaged: {error}") from None
