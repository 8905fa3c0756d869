"""`corpus ledger`: sample by sample and token by token, what became of all that a curation read."""

import json
from collections import Counter, defaultdict
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.compute as pc

from step3vl.data.dataset import DROPPED, Dataset, read_dead_letters
from step3vl.data.errors import UserError
from step3vl.pipelines.curation.evidence import REPORT, evidence_tables
from step3vl.pipelines.curation.filtering import MASKED
from step3vl.pipelines.curation.reading import READ

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
        for number, shard in enumerate(source.manifest.shards):
            rows = source.shard_index(number, ["id", "domain", "task", "source", "text_tokens", "image_tokens"])
            for row in rows.to_pylist():
                name = shard.split if by == "split" else _source(row["source"]) if by == "source" else row[by]
                group = groups.setdefault(name, GroupAccount(name, Counter(), Counter(), 0))
                outcome, written = outcomes.look_up(url, row["id"])
                group.samples[outcome] += 1
                group.tokens[outcome] += row["text_tokens"] + row["image_tokens"]
                groups[name] = group._replace(written=group.written + written)
                claimed += outcome == KEPT
    total = sum(shard.samples for shard in dataset.manifest.shards)
    if claimed != total:
        raise UserError(
            f"{dataset.url} has {total} samples, and {claimed} samples of {', '.join(inputs)} account for them; the "
            "datasets were changed since: curate them again"
        )
    return [groups[name] for name in sorted(groups)]


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
    """What became of samples, by what a curation left beside its dataset. Evidence is read once, for all inputs."""

    def __init__(self, dataset: Dataset) -> None:
        self._kept = _Kept(dataset)
        self._unread = {
            letter.source: letter.reason if letter.error == DROPPED else FAILED
            for letter in read_dead_letters(dataset.url, dataset.files.config)
            if letter.step == READ
        }
        self._masked: defaultdict[str, dict[str, str]] = defaultdict(dict)  # ids of masked samples, by dataset and id
        self._dropped: defaultdict[str, dict[str, str]] = defaultdict(dict)  # reasons, by dataset and id
        names = ("id", "dataset", "reason", "matched_id")
        for table in evidence_tables(dataset.files, names):
            for id, url, reason, matched in zip(*(table[name].to_pylist() for name in names), strict=True):
                if reason == MASKED:
                    self._masked[url][id] = matched
                else:
                    self._dropped[url][id] = reason

    def look_up(self, url: str, id: str) -> tuple[str, int]:
        """What became of a sample of a dataset, and how many tokens were written of it."""
        name = self._masked[url].get(id, id)
        if outcome := self._dropped[url].get(name) or self._unread.get(id):
            return outcome, 0
        tokens = self._kept.tokens(name)
        return (LOST, 0) if tokens is None else (KEPT, tokens)


def _source(uri: str) -> str:
    """The host of a URL, or the file of another source."""
    try:
        host = urlsplit(uri).hostname
    except ValueError:
        host = None
    return host or uri.partition("#")[0]
