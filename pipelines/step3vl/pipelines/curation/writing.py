"""What became of every sample: the shards of those that are kept, and the evidence of those that are not."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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
from step3vl.pipelines.curation.balancing import BALANCE, Balancer, Excess
from step3vl.pipelines.curation.building import index_path, read_screened, save_features
from step3vl.pipelines.curation.config import CurationConfig
from step3vl.pipelines.curation.evidence import evidence_part, write_evidence
from step3vl.pipelines.curation.exact import EXACT, exact_kept
from step3vl.pipelines.curation.exchange import Gathered, Packs, read_part, split
from step3vl.pipelines.curation.features import MEASURES, FeatureStore
from step3vl.pipelines.curation.filtering import MASKED, SampleFilter, sample_of
from step3vl.pipelines.curation.inputs import InputShard, Nodes, nodes_of, open_dataset, rows_of, shards_of
from step3vl.pipelines.curation.resolve import CROPPED, DROP, NEAR, SEMANTIC

_log = logging.getLogger(__name__)

SHARDS = "curate.shards"  # the ledger's name of the step
REASONS = {EXACT: "duplicate", NEAR: "near_duplicate", CROPPED: "crop", SEMANTIC: "semantic_duplicate"}
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
        step: The number of the step in `Outcomes.steps` that dropped each as a duplicate, from 1; 0 where none did.
        drops: Records of `DROP` of those that were dropped.
    """

    step: NDArray[np.uint8]
    drops: NDArray[np.void]

    @property
    def kept(self) -> NDArray[np.bool_]:
        """Whether each is no duplicate."""
        return self.step == 0


class Outcomes:
    """Reads what the steps decided.

    Args:
        features: Of all shards.
        staging: The root.
        exact: Folder of the exact duplicates.
        others: Folders of the other ones, by the step that decided, in order.
        scores: How many scores decide which duplicate is kept.
    """

    def __init__(
        self, features: FeatureStore, staging: Staging, exact: str, others: Mapping[str, str], scores: int
    ) -> None:
        self.features, self._staging = features, staging
        self._exact, self._others, self._scores = exact, dict(others), scores

    @property
    def steps(self) -> tuple[str, ...]:
        """The names of the steps, in order."""
        return (EXACT, *self._others)

    def of(self, number: int) -> Decisions:
        """What became of the samples of a shard."""
        samples = self.features.shard(number).samples
        nodes = nodes_of(number, np.arange(len(samples)))
        kept = exact_kept(samples, number, self._scores, self._staging, self._exact)
        step = (kept != nodes).astype(np.uint8)
        drops = np.zeros(len(samples), DROP)
        drops["node"], drops["kept"], drops["similarity"] = nodes, kept, 1
        for place, folder in enumerate(self._others.values(), 2):
            decided = read_part(self._staging, folder, number, DROP)
            rows = rows_of(decided["node"])
            step[rows], drops[rows] = place, decided
        return Decisions(step, drops[step > 0])

    def candidates(self, number: int) -> NDArray[np.bool_]:
        """Which samples of a shard are read and no duplicates."""
        live: NDArray[np.bool_] = self.features.shard(number).samples["live"] == 1
        return live & self.of(number).kept


class ScatterKept:
    """Sends each sample that is kept to its shard of the new dataset; and writes what became of the others.

    Args:
        outcomes: Of the steps.
        shards: That are read.
        targets: Shards of each split.
        out: URL of the new dataset.
        staging: The root.
        config: Of the curation.
        balancer: What quotas drop.
    """

    def __init__(
        self,
        outcomes: Outcomes,
        shards: tuple[InputShard, ...],
        targets: int,
        out: str,
        staging: Staging,
        config: CurationConfig,
        balancer: Balancer,
    ) -> None:
        self._outcomes, self._shards, self._targets, self._balancer = outcomes, shards, targets, balancer
        self._out, self._staging, self._config = out, staging, config
        self._first = sum(shard.earlier for shard in shards)

    def __call__(self, number: int) -> Packs:
        if self._shards[number].earlier:
            return
        decisions = self._outcomes.of(number)
        samples = self._outcomes.features.shard(number).samples
        excess = self._balancer.excess(number)
        self._write_evidence(number, samples, decisions, excess)
        kept = np.flatnonzero((samples["live"] == 1) & decisions.kept & (excess.quota == 0))
        rows = np.empty(len(kept), PLACE)
        for name in _COPIED:
            rows[name] = samples[name][kept]
        rows["node"] = nodes_of(number, kept)
        target = (rows["id"][:, 0] & np.uint64(0xFFFFFFFF)) % np.uint64(self._targets)
        split_number = SPLITS.index(self._shards[number].split)
        yield from split(rows, target.astype(np.int64) + split_number * self._targets)

    def _write_evidence(self, number: int, samples: NDArray[np.void], decisions: Decisions, excess: Excess) -> None:
        shard = self._shards[number]
        path, root = self._outcomes.features.path(number), self._staging.open()
        rows = [
            *({**sample._asdict(), "matched_dataset": ""} for sample in read_screened(root, path)),
            *self._duplicates(samples, decisions),
            *self._over_quota(samples, excess),
        ]
        for row in rows:
            row["dataset"] = shard.dataset
        store = Store(self._out, self._staging.store)
        part, parts = number - self._first, len(self._shards) - self._first
        write_evidence(store, evidence_part(part, parts), rows)
        letters = [
            DeadLetter(step=row["step"], error=DROPPED, reason=row["reason"], source=row["id"])
            for row in rows
            if row["reason"] != MASKED
        ]
        failed = read_dead_letter_file(root, f"{path}.dead.parquet")
        write_dead_letters(store, dead_letter_part(part, parts), [*failed, *letters])

    def _duplicates(self, samples: NDArray[np.void], decisions: Decisions) -> Iterator[dict[str, Any]]:
        """The evidence of samples that repeat others."""
        drops = decisions.drops
        rows = rows_of(drops["node"])
        matched = self._outcomes.features.gather(drops["kept"]).samples
        fields = zip(
            *(_hex(samples["id"][rows]), _hex(matched["id"]), shards_of(drops["kept"]).tolist()),
            *(drops[name].tolist() for name in ("similarity", "phash", "pdq")),
            decisions.step[rows].tolist(),
            samples["images"][rows].tolist(),
            strict=True,
        )
        for id, kept, number, similarity, phash, pdq, place, images in fields:
            step = self._outcomes.steps[place - 1]
            is_measured = images > 0 and step != CROPPED
            yield {
                "id": id,
                "step": step,
                "reason": REASONS[step],
                "matched_id": kept,
                "matched_dataset": self._shards[number].dataset,
                "similarity": similarity,
                "phash": phash if is_measured else None,
                "pdq": pdq if is_measured else None,
                "detail": "",
            }

    def _over_quota(self, samples: NDArray[np.void], excess: Excess) -> Iterator[dict[str, Any]]:
        """The evidence of samples that are beyond what is kept of their group."""
        places = np.flatnonzero(excess.quota)
        for id, place in zip(_hex(samples["id"][places]), places.tolist(), strict=True):
            quota = self._config.balance[int(excess.quota[place]) - 1]
            yield {
                "id": id,
                "step": BALANCE,
                "reason": quota.reason,
                "matched_id": "",
                "matched_dataset": "",
                "value": float(excess.amount[place]),
                "limit": float(excess.budget[place]),
                "detail": f"{quota.unit} of {excess.group[place]}",
            }


def _hex(ids: NDArray[np.uint64]) -> list[str]:
    return [f"{high:016x}{low:016x}" for high, low in ids.tolist()]


class ReportDecisions:
    """Reports what became of the samples of each shard, by step."""

    def __init__(
        self, outcomes: Outcomes, shards: tuple[InputShard, ...], config: CurationConfig, balancer: Balancer
    ) -> None:
        self._outcomes, self._shards, self._config, self._balancer = outcomes, shards, config, balancer

    def __call__(self, number: int) -> Iterator[str]:
        if self._shards[number].earlier:
            return
        decisions = self._outcomes.of(number)
        left = int(self._outcomes.features.shard(number).samples["live"].sum())
        steps = []
        for place, name in enumerate(self._outcomes.steps, 1):
            steps.append(_step(name, left, {REASONS[name]: int((decisions.step == place).sum())}))
            left = steps[-1].kept
        if self._config.balance:
            quotas = self._balancer.excess(number).quota
            dropped = Counter(self._config.balance[place - 1].reason for place in quotas[quotas > 0].tolist())
            steps.append(_step(BALANCE, left, dropped))
        yield Report(accounts=tuple(steps)).model_dump_json(exclude_defaults=True)


def _step(name: str, read: int, dropped: Mapping[str, int]) -> LedgerStep:
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
        folders: Of these records, relative to the root; and of those of the curation whose failed samples were tried
            again, of which unchanged shards are kept.
        config: Of the curation.
    """

    def __init__(
        self,
        features: FeatureStore,
        shards: tuple[InputShard, ...],
        targets: int,
        out: str,
        staging: Staging,
        folders: tuple[str, str],
        config: CurationConfig,
    ) -> None:
        self._features, self._shards, self._targets, self._out = features, shards, targets, out
        self._staging, self._folders, self._config = staging, folders, config
        self._filters: dict[str, SampleFilter] = {}  # by URL of the dataset

    def __call__(self, number: int, rows: NDArray[Any]) -> Gathered:
        if not len(rows):
            return
        split_name, target = SPLITS[number // self._targets], number % self._targets
        name = shard_name(self._config.name, split_name, target, self._targets)
        rows = rows[np.lexsort((rows["node"], rows["id"][:, 1], rows["id"][:, 0]))]
        with self._staging.heartbeats.working(name):
            self._write(name, split_name, rows, [record_path(folder, number) for folder in self._folders])
        yield Report(accounts=(LedgerStep(name=SHARDS, read=len(rows), kept=len(rows)),))

    def _write(self, name: str, split_name: Split, rows: NDArray[Any], paths: Sequence[str]) -> None:
        root, out = self._staging.open(), Store(self._out, self._staging.store)
        digest = blake3(repr((WRITTEN_VERSION, name)).encode())
        for field in ("id", "size", "xxh3", "masked", "measures"):
            digest.update(np.ascontiguousarray(rows[field]).tobytes())
        for path in dict.fromkeys(paths):
            kept = read_model(root, path, KeptShard)
            if kept is not None and kept.is_intact(out, digest.hexdigest()):
                if not out.exists(f"{self._index_path(kept.written)}.json"):  # of a dataset that was set aside
                    self._write_index(out, kept.written, rows["node"])
                root.put(paths[0], kept.model_dump_json().encode())
                return
        written = write_shard(self._out, name, split_name, self._samples(rows), self._staging.store)
        self._write_index(out, written, rows["node"])
        offsets = out.hash(written.info.offsets_path)
        record = KeptShard(digest=digest.hexdigest(), written=written, offsets_blake3=offsets)
        root.put(paths[0], record.model_dump_json().encode())
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
        save_features(out, self._index_path(written), features, [], self._config)

    def _index_path(self, written: WrittenShard) -> str:
        shard = InputShard(
            dataset=self._out, number=0, split=written.info.split, blake3=written.info.blake3, earlier=False
        )
        return index_path(shard, self._config)

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
