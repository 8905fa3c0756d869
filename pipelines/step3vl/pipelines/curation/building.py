"""The features of a shard, committed under the root: read once, and again only when shard or configuration change."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import apache_beam as beam
import numpy as np
from blake3 import blake3

from step3vl.data.dataset import (
    DROPPED,
    DeadLetter,
    Exclusions,
    LedgerStep,
    read_dead_letter_file,
    write_dead_letters,
)
from step3vl.data.storage import Store
from step3vl.pipelines.core.accounts import Report, check_early, first_examples
from step3vl.pipelines.core.commits import Commit, read_commit
from step3vl.pipelines.core.retry import retry_id
from step3vl.pipelines.core.staging import Staging
from step3vl.pipelines.curation.config import CurationConfig
from step3vl.pipelines.curation.decontaminate import CONTAMINATED, DECONTAMINATE, Decontaminator, load_decontaminator
from step3vl.pipelines.curation.features import Features, FeatureStore, dtype_of
from step3vl.pipelines.curation.filtering import FILTER, MASKED
from step3vl.pipelines.curation.inputs import InputShard, open_dataset
from step3vl.pipelines.curation.reading import READ, ReadSample, ShardReader, features_of

FEATURES_VERSION = 6  # raised with every change of what is compared
_FOLDER = "features"
_NOTHING = Exclusions()
_ENDINGS = ("bin", "images", "dead.parquet", "screened.json")


class ScreenedSample(NamedTuple):
    """A sample that was dropped or masked as it was read: the columns of its evidence.

    Attributes:
        id: As the dataset has it.
        step: `FILTER` or `DECONTAMINATE`.
        reason: Why.
        matched_id: The benchmark item that it contains, or the id of the masked sample.
        similarity: With the item, see `Hit`.
        phash: The same.
        pdq: The same.
        value: What a filter measured.
        limit: The bound that the value is beyond.
        detail: Where and what.
    """

    id: str
    step: str
    reason: str
    matched_id: str = ""
    similarity: float | None = None
    phash: int | None = None
    pdq: int | None = None
    value: float | None = None
    limit: float | None = None
    detail: str = ""

    @property
    def is_dropped(self) -> bool:
        """Whether it is no longer there, rather than masked."""
        return self.reason != MASKED


class FeatureCommit(Commit):
    """Says that the features of a shard are complete."""

    accounts: tuple[LedgerStep, ...]
    examples: tuple[DeadLetter, ...] = ()
    keys: int
    """Under which its samples meet, at most."""

    @property
    def has_failures(self) -> bool:
        """Whether a sample could not be read."""
        return any(step.failed for step in self.accounts)


def features_path(
    shard: InputShard, config: CurationConfig, benchmarks: str = "", exclusions: Exclusions = _NOTHING
) -> str:
    """Where the features of a shard are, relative to the root and without an ending.

    The name follows from the shard's bytes and from what is kept of samples, not from where the dataset is.

    Args:
        shard: The shard.
        config: What is compared.
        benchmarks: Path of the index of benchmark items. Samples of earlier datasets are not searched for them.
        exclusions: The samples that must no longer be used; those of earlier datasets stay.
    """
    depends = {
        "benchmarks": "" if shard.earlier else benchmarks,
        "exclusions": "" if shard.earlier else exclusions.digest,
        "filters": None if shard.earlier else config.filters and config.filters.model_dump(mode="json"),
        "version": FEATURES_VERSION,
        "shard": shard.blake3,
        "split": shard.split,
        "near": config.near and [config.near.ngram, config.near.slots],
        "images": config.images is not None,
        "prefer": config.scores,
    }
    return f"{_FOLDER}/{blake3(json.dumps(depends, sort_keys=True).encode()).hexdigest(16)}"


def retried_path(root: Store, path: str, retries: int) -> str:
    """Where the features of a shard are after rounds of retries.

    Args:
        root: Store of the root.
        path: As `features_path` gives it.
        retries: Rounds.
    """
    for number in range(1, retries + 1):
        retry = retry_id(path, number)
        path = retry if root.exists(f"{retry}.json") else path
    return path


def index_path(shard: InputShard, config: CurationConfig) -> str:
    """The same beside a dataset that was curated, relative to the dataset."""
    plain = config.model_copy(update={"filters": None})  # what the index has passed them
    return f"index/{features_path(shard, plain).rpartition('/')[2]}"


class BuildFeatures(beam.DoFn):
    """Reads shards, by number, and commits their features. The outputs are `Report`s as JSON.

    Args:
        shards: All of them.
        config: What is compared.
        staging: The root.
        benchmarks: Path of the index of benchmark items; empty where samples are not searched for them.
        exclusions: The samples that must no longer be used.
        retries: How often samples that failed are to be read again.
    """

    def __init__(
        self,
        shards: tuple[InputShard, ...],
        config: CurationConfig,
        staging: Staging,
        benchmarks: str,
        exclusions: Exclusions,
        retries: int = 0,
    ) -> None:
        self._shards, self._config, self._staging = shards, config, staging
        self._benchmarks, self._exclusions, self._retries = benchmarks, exclusions, retries

    def setup(self) -> None:
        self._staging.heartbeats.start()
        self._so_far = Report()
        self._decontaminator: Decontaminator | None = None

    def process(self, number: int) -> Iterator[str]:
        shard, root = self._shards[number], self._staging.open()
        path = features_path(shard, self._config, self._benchmarks, self._exclusions)
        with self._staging.heartbeats.working(path):
            commit = read_commit(root, path, FeatureCommit) or self._build(shard, root, path)
            for number in range(1, self._retries + 1):
                retry = retry_id(path, number)
                again = read_commit(root, retry, FeatureCommit) if commit.has_failures else None
                if again is None and commit.has_failures and number == self._retries:
                    again = self._build(shard, root, retry, path)
                if again is not None:
                    path, commit = retry, again
        report = Report(accounts=() if shard.earlier else commit.accounts, examples=commit.examples)
        self._so_far += report
        check_early(self._so_far, self._config.failure_budget)
        keys = LedgerStep(name="keys", read=commit.keys, kept=commit.keys)
        yield report.model_copy(update={"accounts": (*report.accounts, keys)}).model_dump_json(exclude_defaults=True)

    def _build(self, shard: InputShard, root: Store, path: str, before: str = "") -> FeatureCommit:
        """Read a shard; with the path of features that it has already, only what failed then."""
        dataset = open_dataset(shard.dataset, self._staging.store)
        steps = screening_steps(shard, self._config, self._benchmarks)
        if (
            not before
            and not steps
            and not self._exclusions
            and (commit := copy_features(dataset.files, index_path(shard, self._config), root, path))
        ):
            return commit
        parts = [Features.load(b"", b"", dtype_of(self._config))]
        dead: list[DeadLetter] = []
        screened: list[ScreenedSample] = []
        failed: set[str] | None = None
        if before:
            parts = [FeatureStore(root, [before], dtype_of(self._config)).shard(0)]
            letters = [*read_dead_letter_file(root, f"{before}.dead.parquet")]
            failed = {letter.source for letter in letters if letter.error != DROPPED}
            dead = [letter for letter in letters if letter.error == DROPPED]
            screened = read_screened(root, before)
        for batch in ShardReader(dataset, shard, self._config, self._exclusions).batches(failed):
            samples = [item for item in batch if isinstance(item, ReadSample)]
            parts.append(features_of(samples, shard, self._config))
            dead += [item for item in batch if isinstance(item, DeadLetter)]
            screened += _filtered(samples)
            if DECONTAMINATE in steps:
                screened += self._search(samples, parts[-1])
        features = Features.concatenate(parts)
        if before:
            features = features.take(np.argsort(features.samples["offset"]))
        return save_features(root, path, features, dead, self._config, steps, screened)

    def _search(self, samples: Sequence[ReadSample], features: Features) -> Iterator[ScreenedSample]:
        """The live samples that contain benchmark items, which are then no longer live."""
        if self._decontaminator is None:
            self._decontaminator = load_decontaminator(self._staging.open(), self._benchmarks, self._config)
        hits = self._decontaminator.check(
            [sample.text for sample in samples],
            [sample.images for sample in samples],
            [sample.look for sample in samples],
        )
        for sample, hit, record in zip(samples, hits, features.samples, strict=True):
            if hit is not None and record["live"]:
                record["live"] = 0
                yield ScreenedSample(
                    sample.id,
                    DECONTAMINATE,
                    CONTAMINATED,
                    hit.item,
                    hit.similarity,
                    hit.phash,
                    hit.pdq,
                    detail=hit.detail,
                )


def screening_steps(shard: InputShard, config: CurationConfig, benchmarks: str) -> tuple[str, ...]:
    """The steps that may drop samples of a shard as they are read, in order; none for one of an earlier dataset.

    Args:
        shard: The shard.
        config: Of the curation.
        benchmarks: Path of the index of benchmark items; empty where samples are not searched for them.
    """
    steps = ((FILTER, config.filters), (DECONTAMINATE, benchmarks))
    return () if shard.earlier else tuple(step for step, is_on in steps if is_on)


def _filtered(samples: Sequence[ReadSample]) -> Iterator[ScreenedSample]:
    """Those that filters dropped or masked."""
    for sample in samples:
        finding, masked, _ = sample.filtered
        if finding is not None:
            reason, value, limit, detail = finding
            yield ScreenedSample(sample.id, FILTER, reason, value=value, limit=limit, detail=detail)
        elif masked is not None:
            detail = ", ".join(f"{kind} {count}" for kind, count in sorted(masked.kinds.items()))
            yield ScreenedSample(sample.row["id"], FILTER, MASKED, sample.id, detail=detail)


def save_features(
    store: Store,
    path: str,
    features: Features,
    dead: Sequence[DeadLetter],
    config: CurationConfig,
    steps: Sequence[str] = (),
    screened: Sequence[ScreenedSample] = (),
) -> FeatureCommit:
    """Write the features of a shard, and at last their commit.

    Args:
        store: Where to.
        path: Without an ending.
        features: Of all samples that could be read.
        dead: The others: failed, or excluded.
        config: What is compared.
        steps: That may have dropped some of them, as `screening_steps` gives them.
        screened: Those that were dropped or masked.
    """
    samples, images = features.dump()
    store.put(f"{path}.bin", samples)
    store.put(f"{path}.images", images)
    write_dead_letters(store, f"{path}.dead.parquet", dead)
    store.put(f"{path}.screened.json", json.dumps(screened).encode())
    failed = Counter(letter.error for letter in dead if letter.error != DROPPED)
    excluded = Counter(letter.reason for letter in dead if letter.error == DROPPED)
    kept = len(features.samples)
    accounts = [LedgerStep(name=READ, read=kept + len(dead), kept=kept, dropped=excluded, failed=failed)]
    for step in steps:
        dropped = Counter(sample.reason for sample in screened if sample.step == step and sample.is_dropped)
        accounts.append(LedgerStep(name=step, read=kept, kept=kept - dropped.total(), dropped=dropped))
        kept -= dropped.total()
    commit = FeatureCommit(
        files={ending: store.size(f"{path}.{ending}") for ending in _ENDINGS},
        accounts=tuple(accounts),
        examples=first_examples(dead),
        keys=_most_keys(features, config),
    )
    store.put(f"{path}.json", commit.model_dump_json().encode())
    return commit


def copy_features(source: Store, source_path: str, target: Store, path: str) -> FeatureCommit | None:
    """Copy features that an earlier curation left beside its dataset; None where there are none."""
    commit = read_commit(source, source_path, FeatureCommit)
    if commit is not None:
        for ending in _ENDINGS:
            target.put(f"{path}.{ending}", source.read_all(f"{source_path}.{ending}"))
        target.put(f"{path}.json", commit.model_dump_json().encode())
    return commit


def read_screened(root: Store, path: str) -> list[ScreenedSample]:
    """The samples of a shard that were dropped or masked as they were read.

    Args:
        root: Store of the root.
        path: As `features_path` gives it.
    """
    return [ScreenedSample(*row) for row in json.loads(root.read_all(f"{path}.screened.json"))]


def _most_keys(features: Features, config: CurationConfig) -> int:
    samples = features.samples
    bands = config.near.bands if config.near else 0
    return len(samples) + bands * int((samples["words"] > 0).sum()) + 35 * int((samples["images"] > 0).sum())
