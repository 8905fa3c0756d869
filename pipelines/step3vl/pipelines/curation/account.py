"""`corpus ledger`: sample by sample and token by token, what became of all that a curation read.

Evidence and dead letters lie in a part for each shard that was read. What they do not name must be in the new dataset:
it is sorted by the shard in which it then is, on this machine's disk, and looked up shard by shard.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from step3vl.data.dataset import (
    DROPPED,
    Dataset,
    dead_letter_part,
    read_dead_letter_file,
    shard_name,
    shard_of,
)
from step3vl.data.errors import UserError
from step3vl.data.storage import Store
from step3vl.pipelines.curation.evidence import evidence_part, read_evidence, read_report
from step3vl.pipelines.curation.filtering import MASKED
from step3vl.pipelines.curation.groups import host_of
from step3vl.pipelines.curation.reading import READ

GroupBy = Literal["domain", "task", "source", "split"]

KEPT, FAILED, LOST = "kept", "failed", "unaccounted"
_FILES = 256  # on disk, into which samples are sorted
_ROW = np.dtype([("id", "V16"), ("shard", "<i4"), ("group", "<u4"), ("tokens", "<i8")])


class GroupAccount(NamedTuple):
    """The samples of one domain, task, source or split.

    Attributes:
        name: Of the group.
        samples: By what became of them: `kept`, `failed`, a reason for which they were dropped, or `unaccounted`.
        tokens: Of the same samples, as they were read.
        written: Tokens of the kept ones as they were written; other than read where personal data were masked.
    """

    name: str
    samples: Counter[str]
    tokens: Counter[str]
    written: int


def account(dataset: Dataset, by: GroupBy) -> list[GroupAccount]:
    """Look up every sample that a curation read in what it left: shards, evidence and dead letters.

    Memory is that of a shard and of the names of the groups; 32 bytes of each kept sample lie on disk meanwhile.

    Args:
        dataset: That a curation made, beside which its evidence is.
        by: How samples are grouped.

    Returns:
        The groups by name. In a sound dataset none has `unaccounted` samples.

    Raises:
        UserError: It was not curated, a dataset that it was made of has moved, or has changed.
        StoreError: The store does not answer.
    """
    urls = read_report(dataset)["datasets"]
    inputs = [Dataset.open(url, dataset.files.config) for url in urls]
    groups: dict[str, GroupAccount] = {}
    with TemporaryDirectory() as folder:
        claims = _Claims(dataset, Path(folder))
        parts = sum(len(source.manifest.shards) for source in inputs)
        part = 0
        for source in inputs:
            for number in range(len(source.manifest.shards)):
                _read_shard(source, number, by, _Outcomes(dataset.files, part, parts), claims, groups)
                part += 1
        names = list(groups)
        claimed = 0
        for rows, written in claims.settle():
            for group, read, tokens in zip(rows["group"].tolist(), rows["tokens"].tolist(), written, strict=True):
                name = names[group]
                outcome = LOST if tokens is None else KEPT
                groups[name].samples[outcome] += 1
                groups[name].tokens[outcome] += read
                groups[name] = groups[name]._replace(written=groups[name].written + (tokens or 0))
                claimed += tokens is not None
    total = sum(shard.samples for shard in dataset.manifest.shards)
    if claimed != total:
        raise UserError(
            f"{dataset.url} has {total} samples, and {claimed} samples of {', '.join(urls)} account for them; the "
            "datasets were changed since: curate them again"
        )
    return [groups[name] for name in sorted(groups)]


def _read_shard(
    source: Dataset,
    number: int,
    by: GroupBy,
    outcomes: "_Outcomes",
    claims: "_Claims",
    groups: dict[str, GroupAccount],
) -> None:
    """Account for the samples of a shard that were dropped or failed, and claim that the others were kept."""
    split = source.manifest.shards[number].split
    places = {name: place for place, name in enumerate(groups)}
    rows = source.shard_index(number, ["id", "domain", "task", "source", "text_tokens", "image_tokens"])
    for row in rows.to_pylist():
        name = split if by == "split" else host_of(row["source"]) if by == "source" else row[by]
        if name not in places:
            places[name] = len(groups)
            groups[name] = GroupAccount(name, Counter(), Counter(), 0)
        tokens = row["text_tokens"] + row["image_tokens"]
        outcome, id = outcomes.look_up(row["id"])
        if outcome:
            groups[name].samples[outcome] += 1
            groups[name].tokens[outcome] += tokens
        else:
            claims.add(split, id, places[name], tokens)
    claims.flush()


class _Outcomes:
    """What became of the samples of a shard that was read, but for the kept ones.

    Args:
        files: Store of the new dataset.
        part: The number of the shard among all that were read.
        parts: Their number.
    """

    def __init__(self, files: Store, part: int, parts: int) -> None:
        path = dead_letter_part(part, parts)
        self._unread = {
            letter.source: letter.reason if letter.error == DROPPED else FAILED
            for letter in (read_dead_letter_file(files, path) if files.exists(path) else ())
            if letter.step == READ
        }
        self._masked: dict[str, str] = {}  # ids of masked samples
        self._dropped: dict[str, str] = {}  # reasons
        path = evidence_part(part, parts)
        names = ("id", "reason", "matched_id")
        table = read_evidence(files, path, names) if files.exists(path) else None
        for id, reason, matched in zip(*(table[name].to_pylist() for name in names), strict=True) if table else ():
            if reason == MASKED:
                self._masked[id] = matched
            else:
                self._dropped[id] = reason

    def look_up(self, id: str) -> tuple[str, str]:
        """Why a sample is not kept, empty for one that should be, and the id that it then has."""
        name = self._masked.get(id, id)
        return self._dropped.get(name) or self._unread.get(id, ""), name


class _Claims:
    """Samples that should be in a new dataset, on disk in files by the shard in which they then are."""

    def __init__(self, dataset: Dataset, folder: Path) -> None:
        self._dataset, self._folder = dataset, folder
        shards = dataset.manifest.shards
        self._places = {Path(info.path).name: place for place, info in enumerate(shards)}
        self._counts = {
            info.split: (name[: -len("-train-00000-of-00000.tar")], int(name[-9:-4]))
            for info in shards
            if (name := Path(info.path).name.replace(f"-{info.split}-", "-train-"))
        }
        self._rows: defaultdict[int, list[tuple[bytes, int, int, int]]] = defaultdict(list)

    def add(self, split: str, id: str, group: int, tokens: int) -> None:
        """Claim that a sample is there."""
        place = -1
        if split in self._counts:
            name, count = self._counts[split]
            place = self._places.get(shard_name(name, split, shard_of(id, count), count), -1)
        self._rows[place % _FILES].append((bytes.fromhex(id), place, group, tokens))

    def flush(self) -> None:
        """Write what was added."""
        for number, rows in self._rows.items():
            with (self._folder / str(number)).open("ab") as file:
                file.write(np.array(rows, _ROW).tobytes())
        self._rows.clear()

    def settle(self) -> Iterator[tuple[NDArray[np.void], list[int | None]]]:
        """All claims, and the tokens of each sample as it was written; None for one that is not there."""
        for path in sorted(self._folder.iterdir()):
            rows = np.frombuffer(path.read_bytes(), _ROW)
            for place in np.unique(rows["shard"]).tolist():
                claims = rows[rows["shard"] == place]
                written = self._written(place) if place >= 0 else {}
                yield claims, [written.get(id) for id in claims["id"].tolist()]

    def _written(self, place: int) -> dict[bytes, int]:
        """The tokens of the samples of a shard, by id."""
        table = self._dataset.shard_index(place, ["id", "text_tokens", "image_tokens"])
        columns = (table[name].to_pylist() for name in table.column_names)
        return {bytes.fromhex(id): text + image for id, text, image in zip(*columns, strict=True)}
