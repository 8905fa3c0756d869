"""WebDataset tars of picture and text pairs, as img2dataset writes them: KEY.jpg with KEY.txt, KEY.json or both.

A pair is a document: the picture, then its text. Neighbouring members with the same key are one pair.
"""

import json
import tarfile
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from step3vl.data.convert.records import (
    EXTRA,
    LARGEST_PICTURE,
    STEP,
    About,
    Pictures,
    Record,
    assemble,
    convert,
    extra,
    field,
    files_of,
)
from step3vl.data.ledger import DeadLetter
from step3vl.data.sample import EXTENSION, Image, ImagePart, Sample, text

_PICTURES = (*EXTENSION.values(), "jpeg", "tiff")
_TEXTS = ("txt", "text", "caption")
_CAPTIONS = ("caption", "text", "txt")


def read(source: Path, about: About) -> Iterator[Sample | DeadLetter]:
    """Samples and dead letters, in the order of the tars."""
    return convert(_groups(source), lambda record: to_sample(record, about, Pictures(None)))


def _groups(source: Path) -> Iterator[Record | DeadLetter]:
    for path in files_of(source, ".tar"):
        key = ""
        try:
            with tarfile.open(path, "r|") as archive:
                for key, members in groupby(_members(archive), lambda member: member[0]):
                    yield Record(f"{path.name}#{key}", {ending: data for _, ending, data in members})
        except (tarfile.TarError, OSError, EOFError) as error:
            reason = f"the archive is broken after {key or 'its beginning'}, so the rest is lost: {error}"
            yield DeadLetter(step=STEP, error=type(error).__name__, reason=reason, source=path.name)


def _members(archive: tarfile.TarFile) -> Iterator[tuple[str, str, bytes]]:
    """Key, ending and bytes of each file, as WebDataset splits names: at the first dot of the last part."""
    for member in archive:
        folder, _, name = member.name.rpartition("/")
        key, _, ending = name.partition(".")
        if member.isfile() and (file := archive.extractfile(member)):
            yield f"{folder}/{key}" if folder else key, ending.lower(), file.read(LARGEST_PICTURE + 1)


def to_sample(record: Record, about: About, pictures: Pictures) -> Sample:
    """Raises ValueError when there is no picture, more than one, or no text."""
    members = record.value
    if any(len(data) > LARGEST_PICTURE for data in members.values()):
        raise ValueError(f"a member has more than {LARGEST_PICTURE} bytes")
    found = [ending for ending in members if ending in _PICTURES]
    if len(found) != 1:
        raise ValueError(f"a pair needs one picture; its members are {', '.join(sorted(members))}")
    meta = json.loads(members["json"]) if "json" in members else {}
    said = next((members[ending].decode() for ending in _TEXTS if ending in members), None)
    if said is None:
        said = field(meta, *_CAPTIONS)
    if not isinstance(said, str) or not said:
        raise ValueError("it has no text: neither KEY.txt nor a caption in KEY.json")
    shown = pictures.show({"bytes": members[found[0]], "path": record.where})
    where = field(meta, "url") or record.where
    return assemble(meta, about, str(where), pictures, made_by="webdataset", content=(shown, text(said)))


def to_record(sample: Sample, names: list[str]) -> dict[str, Any]:
    """The members but for the picture, which the writer adds: text and JSON."""
    match sample.content:
        case (ImagePart(), written) if not isinstance(written, ImagePart):
            meta = {"caption": written.text, EXTRA: extra(sample)}
            return {"txt": written.text, "json": meta}
    raise ValueError("a pair is a document of one picture and the text after it")


def read_back(record: Mapping[str, Any], known: Mapping[str, Image]) -> Sample:
    members = {
        EXTENSION[known[""].format]: b"",
        "txt": record["txt"].encode(),
        "json": json.dumps(record["json"]).encode(),
    }
    return to_sample(Record("", members), About(), Pictures(None, known))
