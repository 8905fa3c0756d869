"""WebDataset tars of image and text pairs, as img2dataset writes them: KEY.jpg with KEY.txt, KEY.json or both.

A pair is a document: the image, then its text. Adjacent members with the same key are one pair.
"""

import json
import tarfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from step3vl.data.convert.image_loader import MAX_IMAGE, ImageLoader
from step3vl.data.convert.records import (
    CONVERT_STEP,
    EXTRA,
    RecordCodec,
    RecordDefaults,
    SourceRecord,
    build_sample,
    convert_records,
    extra_fields,
    field,
)
from step3vl.data.convert.source_files import files_of
from step3vl.data.dataset.ledger import DeadLetter
from step3vl.data.sample.parts import EXTENSION, ImagePart, text
from step3vl.data.sample.sample import Sample

_IMAGES = (*EXTENSION.values(), "jpeg", "tiff")
_TEXTS = ("txt", "text", "caption")
_CAPTIONS = ("caption", "text", "txt")


def read(source: Path, defaults: RecordDefaults) -> Iterator[Sample | DeadLetter]:
    """Read a file or folder. Returns samples and dead letters in the order of the tars."""
    return convert_records(_groups(source), to_sample, defaults, folder=None)


def _groups(source: Path) -> Iterator[SourceRecord | DeadLetter]:
    for path in files_of(source, ".tar"):
        key = ""
        try:
            with tarfile.open(path, "r|") as archive:
                for key, members in groupby(_members(archive), lambda member: member[0]):
                    yield SourceRecord(f"{path.name}#{key}", {suffix: data for _, suffix, data in members})
        except (tarfile.TarError, OSError, EOFError) as error:
            reason = f"the archive is broken after {key or 'its beginning'}, so the rest is lost: {error}"
            yield DeadLetter(step=CONVERT_STEP, error=type(error).__name__, reason=reason, source=path.name)


def _members(archive: tarfile.TarFile) -> Iterator[tuple[str, str, bytes]]:
    """Key, suffix and bytes of each file, as WebDataset splits names: at the first dot of the last part."""
    for member in archive:
        folder, _, name = member.name.rpartition("/")
        key, _, suffix = name.partition(".")
        if member.isfile() and (file := archive.extractfile(member)):
            yield f"{folder}/{key}" if folder else key, suffix.lower(), file.read(MAX_IMAGE + 1)


def to_sample(record: SourceRecord, defaults: RecordDefaults, loader: ImageLoader) -> Sample:
    """Convert a pair. Raises ValueError when there is no image, more than one, or no text."""
    members = record.value
    if any(len(data) > MAX_IMAGE for data in members.values()):
        raise ValueError(f"a member has more than {MAX_IMAGE} bytes")
    suffixes = [suffix for suffix in members if suffix in _IMAGES]
    if len(suffixes) != 1:
        raise ValueError(f"a pair needs one image; its members are {', '.join(sorted(members))}")
    meta = json.loads(members["json"]) if "json" in members else {}
    caption = next((members[suffix].decode() for suffix in _TEXTS if suffix in members), None)
    if caption is None:
        caption = field(meta, *_CAPTIONS)
    if not isinstance(caption, str) or not caption:
        raise ValueError("it has no text: neither KEY.txt nor a caption in KEY.json")
    shown_image = loader.show({"bytes": members[suffixes[0]], "path": record.where})
    where = field(meta, "url") or record.where
    return build_sample(
        meta, defaults, str(where), loader, format_name="webdataset", content=(shown_image, text(caption))
    )


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
    return to_sample(SourceRecord(record.where, {"jpg": b"", **texts}), defaults, loader)


CODEC = RecordCodec(to_record, _written_to_sample)
