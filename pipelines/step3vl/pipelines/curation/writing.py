"""What became of every sample: the shards of those that are kept, and the evidence of those that are not."""

import io
import logging
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from blake3 import blake3
from numpy.typing import NDArray

from step3vl.data.dataset import (
    DROPPED,
    DeadLetter,
    LedgerStep,
    Split,
    WrittenShard,
    dead_letter_part,
    read_dead_letter_file,
    shard_name,
    write_dead_letters,
    write_shard,
)
from step3vl.data.sample import Sample
from step3vl.data.storage import FileSlice, Store, read_slices, split_sample
from step3vl.pipelines.core.accounts import Report
from step3vl.pipelines.core.commits import read_model
from step3vl.pipelines.core.kept_shard import KeptShard
from step3vl.pipelines.core.staging import Staging
from step3vl.pipelines.curation.building import index_path, read_screened, save_features
from step3vl.pipelines.curation.config import CurationConfig
from step3vl.pipelines.curation.evidence import EVIDENCE_SCHEMA, evidence_part
from step3vl.pipelines.curation.exact import EXACT, exact_kept
from step3vl.pipelines.curation.exchange import Gathered, Packs, read_part, split
from step3vl.pipelines.curation.features import MEASURES, FeatureStore
from step3vl.pipelines.curation.filtering import MASKED, SampleFilter, sample_of
from step3vl.pipelines.curation.inputs import InputShard, Nodes, nodes_of, open_dataset, rows_of, shards_of
from step3vl.pipelines.curation.resolve import DROP, NEAR

_log = logging.getLogger(__name__)

SHARDS = "curate.shards"  # the ledger's name of the step
DUPLICATE = "duplicate"
NEAR_DUPLICATE = "near_duplicate"
SPLITS: tuple[Split, ...] = ("train", "heldout")
WRITTEN_VERSION = 2  # raised with every change of the bytes of shards
_WINDOW = 64 << 20  # bytes of samples in memory
_COPIED = ("id", "offset", "size", "xxh3", "masked", "measures")  # from the record of a sample to its place
PLACE = np.dtype(
    [
        ("id", "<u8", 2),
        ("node", "<u8"),
        ("offset", "<i8"),
        ("size", "<i8"),
        ("xxh3", "<u8"),
        ("masked", "u1"),
        ("measures", "<f4", (len(MEASURES),)),
    ]
)


class Decisions(NamedTuple):
    """What became of the samples of a shard; arrays of one entry for each.

    Attributes:
        exact: The node that each one duplicates exactly; its own where there is none.
        near: The same of near-duplicates, for those that are no exact ones.
        drops: Records of `DROP`.
    """

    exact: NDArray[np.bool_]
    near: NDArray[np.bool_]
    drops: NDArray[np.void]


class Outcomes:
    """Reads what the steps decided.

    Args:
        features: Of all shards.
        staging: The root.
        exact: Folder of the exact duplicates.
        near: Folder of the near-duplicates.
    """

    def __init__(self, features: FeatureStore, staging: Staging, exact: str, near: str) -> None:
        self.features, self._staging, self._exact, self._near = features, staging, exact, near

    def of(self, number: int) -> Decisions:
        """What became of the samples of a shard."""
        samples = self.features.shard(number).samples
        nodes = nodes_of(number, np.arange(len(samples)))
        kept = exact_kept(samples, number, self._staging, self._exact)
        exact = kept != nodes
        drops = np.zeros(len(samples), DROP)
        drops["node"], drops["kept"], drops["similarity"] = nodes, kept, 1
        decided = read_part(self._staging, self._near, number, DROP)
        near = np.zeros(len(samples), bool)
        near[rows_of(decided["node"])] = True
        drops[near] = decided
        return Decisions(exact, near, drops[exact | near])


class ScatterKept:
    """Sends each sample that is kept to its shard of the new dataset; and writes what became of the others.

    Args:
        outcomes: Of the steps.
        shards: That are read.
        targets: Shards of each split.
        out: URL of the new dataset.
        staging: The root.
        config: Of the curation.
    """

    def __init__(
        self,
        outcomes: Outcomes,
        shards: tuple[InputShard, ...],
        targets: int,
        out: str,
        staging: Staging,
        config: CurationConfig,
    ) -> None:
        self._outcomes, self._shards, self._targets = outcomes, shards, targets
        self._out, self._staging, self._config = out, staging, config
        self._first = sum(shard.earlier for shard in shards)

    def __call__(self, number: int) -> Packs:
        if self._shards[number].earlier:
            return
        decisions = self._outcomes.of(number)
        samples = self._outcomes.features.shard(number).samples
        self._write_evidence(number, samples, decisions)
        kept = np.flatnonzero((samples["live"] == 1) & ~decisions.exact & ~decisions.near)
        rows = np.empty(len(kept), PLACE)
        for name in _COPIED:
            rows[name] = samples[name][kept]
        rows["node"] = nodes_of(number, kept)
        target = (rows["id"][:, 0] & np.uint64(0xFFFFFFFF)) % np.uint64(self._targets)
        split_number = SPLITS.index(self._shards[number].split)
        yield from split(rows, target.astype(np.int64) + split_number * self._targets)

    def _write_evidence(self, number: int, samples: NDArray[np.void], decisions: Decisions) -> None:
        drops = decisions.drops
        dropped = samples[rows_of(drops["node"])]
        matched = self._outcomes.features.gather(drops["kept"]).samples
        shard = self._shards[number]
        exact = decisions.exact[rows_of(drops["node"])]
        path, root = self._outcomes.features.path(number), self._staging.open()
        screened = read_screened(root, path)
        none = [None] * len(drops)
        columns: dict[str, list[Any]] = {
            "id": _hex(dropped["id"]),
            "step": [EXACT if is_exact else NEAR for is_exact in exact],
            "reason": [DUPLICATE if is_exact else NEAR_DUPLICATE for is_exact in exact],
            "matched_id": _hex(matched["id"]),
            "value": none,
            "limit": none,
            "detail": [""] * len(drops),
        }
        for name in ("similarity", "phash", "pdq"):
            columns[name] = drops[name].tolist()
        columns = {name: [getattr(sample, name) for sample in screened] + rest for name, rest in columns.items()}
        columns["dataset"] = [shard.dataset] * len(columns["id"])
        columns["matched_dataset"] = [""] * len(screened)
        columns["matched_dataset"] += [self._shards[number].dataset for number in shards_of(drops["kept"])]
        sink = io.BytesIO()
        pq.write_table(pa.table(columns, EVIDENCE_SCHEMA), sink)
        store = Store(self._out, self._staging.store)
        part, parts = number - self._first, len(self._shards) - self._first
        store.put(evidence_part(part, parts), sink.getvalue())
        letters = [
            DeadLetter(step=step, error=DROPPED, reason=reason, source=sample)
            for step, reason, sample in zip(columns["step"], columns["reason"], columns["id"], strict=True)
            if reason != MASKED
        ]
        failed = read_dead_letter_file(root, f"{path}.dead.parquet")
        write_dead_letters(store, dead_letter_part(part, parts), [*failed, *letters])


def _hex(ids: NDArray[np.uint64]) -> list[str]:
    return [f"{high:016x}{low:016x}" for high, low in ids.tolist()]


class ReportDecisions:
    """Reports what became of the samples of each shard, by step."""

    def __init__(self, outcomes: Outcomes, shards: tuple[InputShard, ...], near: bool) -> None:
        self._outcomes, self._shards, self._near = outcomes, shards, near

    def __call__(self, number: int) -> Iterator[str]:
        if self._shards[number].earlier:
            return
        decisions = self._outcomes.of(number)
        exact, near = int(decisions.exact.sum()), int(decisions.near.sum())
        read = int(self._outcomes.features.shard(number).samples["live"].sum())
        steps = [_step(EXACT, read, {DUPLICATE: exact})]
        if self._near:
            steps.append(_step(NEAR, read - exact, {NEAR_DUPLICATE: near}))
        yield Report(accounts=tuple(steps)).model_dump_json(exclude_defaults=True)


def _step(name: str, read: int, dropped: dict[str, int]) -> LedgerStep:
    dropped = {reason: count for reason, count in dropped.items() if count}
    return LedgerStep(name=name, read=read, kept=read - sum(dropped.values()), dropped=dropped)


class WriteShards:
    """Writes the shards of the new dataset: the samples sorted by id, with bytes and images as they were.

    Args:
        features: Of all shards.
        shards: That are read.
        targets: Shards of each split.
        out: URL of the new dataset.
        staging: The root, where what was written is remembered.
        folder: Of these records, relative to the root.
        config: Of the curation.
    """

    def __init__(
        self,
        features: FeatureStore,
        shards: tuple[InputShard, ...],
        targets: int,
        out: str,
        staging: Staging,
        folder: str,
        config: CurationConfig,
    ) -> None:
        self._features, self._shards, self._targets, self._out = features, shards, targets, out
        self._staging, self._folder, self._config = staging, folder, config
        self._filters: dict[str, SampleFilter] = {}  # by URL of the dataset

    def __call__(self, number: int, rows: NDArray[Any]) -> Gathered:
        if not len(rows):
            return
        split_name, target = SPLITS[number // self._targets], number % self._targets
        name = shard_name(self._config.name, split_name, target, self._targets)
        rows = rows[np.lexsort((rows["node"], rows["id"][:, 1], rows["id"][:, 0]))]
        with self._staging.heartbeats.working(name):
            self._write(name, split_name, rows, record_path(self._folder, number))
        yield Report(accounts=(LedgerStep(name=SHARDS, read=len(rows), kept=len(rows)),))

    def _write(self, name: str, split_name: Split, rows: NDArray[Any], path: str) -> None:
        root, out = self._staging.open(), Store(self._out, self._staging.store)
        digest = blake3(repr((WRITTEN_VERSION, name)).encode())
        for field in ("id", "size", "xxh3", "masked", "measures"):
            digest.update(np.ascontiguousarray(rows[field]).tobytes())
        kept = read_model(root, path, KeptShard)
        if kept is not None and kept.is_intact(out, digest.hexdigest()):
            return
        written = write_shard(self._out, name, split_name, self._samples(rows), self._staging.store)
        self._write_index(out, written, rows["node"])
        offsets = out.hash(written.info.offsets_path)
        record = KeptShard(digest=digest.hexdigest(), written=written, offsets_blake3=offsets)
        root.put(path, record.model_dump_json().encode())
        _log.info("%s: %d samples", name, len(rows))

    def _write_index(self, out: Store, written: WrittenShard, nodes: Nodes) -> None:
        """Write the features of a shard beside the dataset, so that a later curation need not read the shard."""
        features = self._features.gather(nodes)
        table = pq.read_table(
            pa.BufferReader(out.read_all(written.info.index_path)), columns=["offset", "size", "xxh3"]
        )
        for field in table.column_names:
            features.samples[field] = table.column(field).to_numpy()
        features.samples["masked"], features.samples["measures"] = 0, np.nan  # the samples are written with them
        shard = InputShard(
            dataset=self._out, number=0, split=written.info.split, blake3=written.info.blake3, earlier=False
        )
        save_features(out, index_path(shard, self._config), features, [], self._config)

    def _samples(self, rows: NDArray[Any]) -> Iterator[Sample]:
        ends = np.cumsum(rows["size"]) // _WINDOW
        for window in np.split(rows, np.flatnonzero(np.diff(ends)) + 1):
            slices = [
                FileSlice(self._tar(shard), offset, size, f"{xxh3:016x}")
                for shard, offset, size, xxh3 in zip(
                    shards_of(window["node"]).tolist(),
                    window["offset"].tolist(),
                    window["size"].tolist(),
                    window["xxh3"].tolist(),
                    strict=True,
                )
            ]
            for place, data in zip(window, read_slices(slices, self._staging.store), strict=True):
                sample = sample_of(*split_sample(data))
                if place["masked"]:
                    sample = self._filter_of(place["node"]).mask(sample)
                measures = {
                    name: round(float(value), 4)
                    for name, value in zip(MEASURES, place["measures"], strict=True)
                    if not np.isnan(value)
                }
                yield sample.model_copy(update={"scores": {**sample.scores, **measures}}) if measures else sample

    def _filter_of(self, node: np.uint64) -> SampleFilter:
        """The filters of the dataset of a node, as its shard was read with them."""
        assert self._config.filters is not None
        url = self._shards[int(shards_of(np.array([node]))[0])].dataset
        if url not in self._filters:
            self._filters[url] = SampleFilter(self._config.filters, open_dataset(url, self._staging.store))
        return self._filters[url]

    def _tar(self, number: int) -> str:
        shard = self._shards[number]
        dataset = open_dataset(shard.dataset, self._staging.store)
        return f"{dataset.url}/{dataset.manifest.shards[shard.number].path}"


def record_path(folder: str, number: int) -> str:
    """Where a written shard is remembered."""
    return f"{folder}/{number:06d}.json"
