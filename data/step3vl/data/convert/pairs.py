"""WebDataset tars of image and text pairs, as img2dataset writes them: KEY.jpg with KEY.txt, KEY.json or both.

A pair is a document: the image, then its text. Adjacent members with the same key are one pair.
"""

import json
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import groupby
from typing import Any, NamedTuple

from step3vl.data.convert.chunks import CHUNK, Chunk, ReadRecord, RecordBatch
from step3vl.data.convert.fields import Fields, excerpt
from step3vl.data.convert.image_loader import MAX_IMAGE, ImageLoader
from step3vl.data.convert.records import (
    CONVERT_STEP,
    EXTRA,
    RecordCodec,
    RecordDefaults,
    SourceRecord,
    build_sample,
    extra_fields,
)
from step3vl.data.convert.source_files import COMPRESSED, SourceFile
from step3vl.data.dataset.ledger import DeadLetter
from step3vl.data.errors import is_infrastructure_error
from step3vl.data.sample.parts import EXTENSION, ImagePart, text
from step3vl.data.sample.sample import Sample
from step3vl.data.storage.tar import BLOCK

_IMAGES = (*EXTENSION.values(), "jpeg", "tiff")
TARS = (*(f".tar{packed}" for packed in COMPRESSED), ".tgz")
_TEXTS = ("txt", "text", "caption")
_CAPTIONS = ("caption", "text", "txt")
_ITEMS = 4096  # of a chunk


class _Pair(NamedTuple):
    """Where the members of a pair are in a tar that is not compressed: offset and size, by suffix."""

    where: str
    members: dict[str, tuple[int, int]]


class TarPairs(NamedTuple):
    """Pairs of a tar that is not compressed."""

    file: SourceFile
    items: list[_Pair | ReadRecord]

    def records(self) -> Iterator[ReadRecord]:
        with self.file.local().open("rb", buffering=0) as file:
            for item in self.items:
                if isinstance(item, _Pair):
                    spans = {
                        suffix: (min(size, MAX_IMAGE + 1), offset) for suffix, (offset, size) in item.members.items()
                    }
                    yield SourceRecord(item.where, {name: os.pread(file.fileno(), *spans[name]) for name in spans})
                else:
                    yield item


def read_file(file: SourceFile) -> Iterator[Chunk]:
    """The pairs of a tar, in order. Of a compressed one they are read here, of others where they are converted."""
    key, items, size = "", list[_Pair | ReadRecord](), 0
    is_plain = not file.is_compressed()

    def chunk() -> Chunk:
        return (
            TarPairs(file, items) if is_plain else RecordBatch([item for item in items if not isinstance(item, _Pair)])
        )

    try:
        faults = _faults(file, is_plain)
        with _open(file, is_plain) as archive:
            for key, members in groupby(_members(archive), lambda member: member.key):
                where = f"{file.name}#{key}"
                if key in faults:
                    if reason := faults[key]:
                        items.append(DeadLetter(step=CONVERT_STEP, error="ValueError", reason=reason, source=where))
                        faults[key] = ""  # the key is a single record, wherever its members are
                elif is_plain:
                    places = {member.suffix: (member.info.offset_data, member.info.size) for member in members}
                    size += sum(length for _, length in places.values())
                    items.append(_Pair(where, places))
                else:
                    value = {member.suffix: member.read(archive) for member in members}
                    size += sum(map(len, value.values()))
                    items.append(SourceRecord(where, value))
                if size >= CHUNK or len(items) == _ITEMS:
                    yield chunk()
                    items, size = [], 0
    except (tarfile.TarError, OSError, EOFError) as error:
        if is_infrastructure_error(error):
            raise
        reason = f"the archive is broken after {key or 'its beginning'}, so the rest is lost: {error}"
        items.append(DeadLetter(step=CONVERT_STEP, error=type(error).__name__, reason=reason, source=file.name))
    if items:
        yield chunk()


class _Member(NamedTuple):
    """A member of a tar: its key and suffix, as WebDataset splits names at the first dot of the last part."""

    key: str
    suffix: str
    info: tarfile.TarInfo

    def read(self, archive: tarfile.TarFile) -> bytes:
        file = archive.extractfile(self.info)
        return file.read(MAX_IMAGE + 1) if file else b""


@contextmanager
def _open(file: SourceFile, is_plain: bool) -> Iterator[tarfile.TarFile]:
    """Open a tar, whose members' bytes are skipped if it is plain."""
    if is_plain:
        with file.local().open("rb") as data, tarfile.open(fileobj=data, mode="r:") as archive:
            yield archive
            data.seek(archive.offset)  # `tarfile` takes whatever is no header for the end
            if data.read(BLOCK).strip(b"\0"):
                raise tarfile.ReadError(f"what is at byte {archive.offset} is neither a header nor the end")
    else:
        with file.open() as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            yield archive


def _members(archive: tarfile.TarFile) -> Iterator[_Member]:
    for member in archive:
        folder, _, name = member.name.rpartition("/")
        key, _, suffix = name.partition(".")
        if member.isfile():
            yield _Member(f"{folder}/{key}" if folder else key, suffix.lower(), member)
        archive.members = []  # type: ignore[attr-defined]  # tarfile would keep the headers of all


def _faults(file: SourceFile, is_plain: bool) -> dict[str, str]:
    """The keys whose members are apart from each other, or repeated, with what is wrong; from the headers alone.

    Read one group after another, such a key would look like several incomplete pairs. What ends the headers early is
    left to the reading of the pairs.
    """
    faults: dict[str, str] = {}
    seen: set[str] = set()
    with suppress(tarfile.TarError, EOFError), _open(file, is_plain) as archive:
        for key, members in groupby(_members(archive), lambda member: member.key):
            suffixes = [member.suffix for member in members]
            if key in seen:
                faults[key] = "its members are apart in the tar: other keys are between them; sort the tar by name"
            elif len(set(suffixes)) < len(suffixes):
                faults[key] = f"a member is repeated in the tar: its members are {excerpt(', '.join(suffixes))}"
            seen.add(key)
    return faults


def to_sample(record: SourceRecord, defaults: RecordDefaults, loader: ImageLoader) -> Sample:
    """Convert a pair. Raises ValueError when there is no image, more than one, or no text."""
    members = Fields.of(record.value)
    names = members.names()
    if any(len(members.peek(name)) > MAX_IMAGE for name in names):
        raise ValueError(f"a member has more than {MAX_IMAGE} bytes")
    images = [name for name in names if _type(name) in _IMAGES]
    if len(images) != 1:
        raise ValueError(f"a pair needs one image; its members are {excerpt(', '.join(sorted(names)))}")
    texts = [name for name in names if _type(name) in _TEXTS]
    if len(texts) > 1:
        raise ValueError(f"a pair needs one text; its members are {excerpt(', '.join(sorted(names)))}")
    meta = members.child(json.loads(members.get("json")) if "json" in names else {}, "json")
    meta.accept("key", "sha256", "status", "error_message", "width", "height", "original_width", "original_height")
    caption: Any = members.get(texts[0]).decode() if texts else None
    if caption:
        meta.accept(*(name for name in _CAPTIONS if meta.peek(name) == caption))  # another caption is not used
    else:
        caption = meta.get(*_CAPTIONS)
    if not isinstance(caption, str) or not caption.strip():
        raise ValueError("it has no text: neither KEY.txt nor a caption in KEY.json")
    image = loader.show({"bytes": members.get(images[0]), "path": record.where})
    where = meta.get("url") or record.where
    return build_sample(meta, defaults, str(where), loader, format_name="webdataset", content=(image, text(caption)))


def _type(suffix: str) -> str:
    """The last part of a suffix: names with dots, such as `Track 2.0.jpg`, have more."""
    return suffix.rpartition(".")[2]


def to_record(sample: Sample, names: list[str]) -> dict[str, Any]:
    """The text and JSON members; the writer adds the image. Raises ValueError for a sample that is not a pair."""
    match sample.content:
        case (ImagePart(), caption) if not isinstance(caption, ImagePart):
            meta = {"caption": caption.text, EXTRA: extra_fields(sample)}
            return {"txt": caption.text, "json": meta}
    raise ValueError("a pair is a document of one image and the text after it")


def _written_to_sample(record: SourceRecord, defaults: RecordDefaults, loader: ImageLoader) -> Sample:
    """Convert what `to_record` returned; the loader has the image, whatever its member's name and bytes."""
    texts = {"txt": record.value["txt"].encode(), "json": json.dumps(record.value["json"]).encode()}
    return to_sample(SourceRecord(record.where, {"jpg": b"-", **texts}), defaults, loader)


CODEC = RecordCodec(to_record, _written_to_sample)
