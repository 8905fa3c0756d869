"""`corpus ledger`: sample by sample and token by token, what became of all that a curation read."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from step3vl.data.dataset import DROPPED, Dataset, read_dead_letters
from step3vl.data.errors import UserError
from step3vl.pipelines.curation.filtering import MASKED
from step3vl.pipelines.curation.reading import READ
from step3vl.pipelines.curation.writing import EVIDENCE, REPORT

GroupBy = Literal["domain", "task", "source", "split"]

KEPT, FAILED, LOST = "kept", "failed", "unaccounted"


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

    Memory is that of the ids of the samples that were kept or dropped, about 40 bytes each.

    Args:
        dataset: That a curation made, beside which its evidence is.
        by: How samples are grouped.

    Returns:
        The groups by name. In a sound dataset none has `unaccounted` samples.

    Raises:
        UserError: It was not curated, a dataset that it was made of has moved, or has changed.
        StoreError: The store does not answer.
    """
    if not dataset.files.exists(REPORT):
        raise UserError(f"{dataset.url} was not curated: {REPORT} is missing; its ledger by step is all there is")
    inputs = json.loads(dataset.files.read_all(REPORT))["datasets"]
    outcomes = _Outcomes(dataset)
    groups: dict[str, GroupAccount] = {}
    claimed = 0
    for url in inputs:
        source = Dataset.open(url, dataset.files.config)
        fates = outcomes.of(url)
        for number, shard in enumerate(source.manifest.shards):
            rows = source.shard_index(number, ["id", "domain", "task", "source", "text_tokens", "image_tokens"])
            for row in rows.to_pylist():
                name = shard.split if by == "split" else _source(row["source"]) if by == "source" else row[by]
                group = groups.setdefault(name, GroupAccount(name, Counter(), Counter(), 0))
                fate, written = fates.look_up(row["id"])
                group.samples[fate] += 1
                group.tokens[fate] += row["text_tokens"] + row["image_tokens"]
                groups[name] = group._replace(written=group.written + written)
                claimed += fate == KEPT
    total = sum(shard.samples for shard in dataset.manifest.shards)
    if claimed != total:
        raise UserError(
            f"{dataset.url} has {total} samples, and {claimed} samples of {', '.join(inputs)} account for them; the "
            "datasets were changed since: curate them again"
        )
    return [groups[name] for name in sorted(groups)]


class _Fates:
    """What became of the samples of one dataset."""

    def __init__(self, masked: dict[str, str], dropped: dict[str, str], unread: dict[str, str], kept: "_Kept") -> None:
        self._masked, self._dropped, self._unread, self._kept = masked, dropped, unread, kept

    def look_up(self, id: str) -> tuple[str, int]:
        """What became of a sample, and how many tokens were written of it."""
        name = self._masked.get(id, id)
        if fate := self._dropped.get(name) or self._unread.get(id):
            return fate, 0
        tokens = self._kept.tokens(name)
        return (LOST, 0) if tokens is None else (KEPT, tokens)


class _Kept:
    """The tokens of the samples of the new dataset, by id."""

    def __init__(self, dataset: Dataset) -> None:
        columns = ["id", "text_tokens", "image_tokens"]
        tables = [dataset.shard_index(number, columns) for number in range(len(dataset.manifest.shards))]
        table = pa.concat_tables(tables)
        self._ids = {bytes.fromhex(id): place for place, id in enumerate(table["id"].to_pylist())}
        self._tokens = pc.add(table["text_tokens"], table["image_tokens"]).to_numpy()

    def tokens(self, id: str) -> int | None:
        place = self._ids.get(bytes.fromhex(id))
        return None if place is None else int(self._tokens[place])


class _Outcomes:
    """What a curation left beside its dataset."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset, self._kept = dataset, _Kept(dataset)
        self._unread = {
            letter.source: letter.reason if letter.error == DROPPED else FAILED
            for letter in read_dead_letters(dataset.url, dataset.files.config)
            if letter.step == READ
        }

    def of(self, url: str) -> _Fates:
        masked: dict[str, str] = {}
        dropped: dict[str, str] = {}
        for table in self._evidence(url):
            columns = [table[name].to_pylist() for name in ("id", "reason", "matched_id")]
            for id, reason, matched in zip(*columns, strict=True):
                if reason == MASKED:
                    masked[id] = matched
                else:
                    dropped[id] = reason
        return _Fates(masked, dropped, self._unread, self._kept)

    def _evidence(self, url: str) -> Iterator[pa.Table]:
        files = self._dataset.files
        for part in sorted(files.names(EVIDENCE, ".parquet")):
            table = pq.read_table(
                pa.BufferReader(files.read_all(f"{EVIDENCE}/{part}")),
                columns=["id", "dataset", "reason", "matched_id"],
            )
            yield table.filter(pc.equal(table["dataset"], url))


def _source(uri: str) -> str:
    """The host of a URL, or the file of another source."""
    try:
        host = urlsplit(uri).hostname
    except ValueError:
        host = None
    return host or uri.partition("#")[0]
