"""The driver of a curation: pipelines one after the other, each committed under the root before the next begins.

features     each shard -> records of what is compared             read once; kept for later curations
exact        contents -> which sample each one duplicates
edges        keys -> pairs -> pairs that are duplicates
components   edges -> stars, by rounds
near         components -> which samples are kept
crops        equal texts -> images compared by tiles
semantic     embeddings -> clusters -> which samples are kept, see `semantic`
balance      groups -> where the quota of each ends, by rounds
shards       kept samples -> shards, index, evidence, dead letters; then `dataset.json`

The process that curates starts pipelines and adds up what they report. What grows with the corpus stays in files.
"""

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import PCollection
from blake3 import blake3

from step3vl.data.dataset import (
    DEAD_LETTERS_FOLDER,
    MANIFEST,
    Dataset,
    Ledger,
    LedgerStep,
    code_version,
    commit,
    read_dead_letters,
)
from step3vl.data.dataset.combine import copy_counting
from step3vl.data.errors import AGAIN, UserError, infrastructure_errors
from step3vl.data.inspect import write_card
from step3vl.data.storage import Store
from step3vl.pipelines.core.accounts import Report, check_failures
from step3vl.pipelines.core.beam import WriteReport, beam_options, read_report
from step3vl.pipelines.core.kept_shard import KeptShard
from step3vl.pipelines.core.lease import Lease
from step3vl.pipelines.core.retry import retry_id
from step3vl.pipelines.core.staging import Staging
from step3vl.pipelines.curation.balancing import BALANCE, Balancer
from step3vl.pipelines.curation.benchmarks import read_items
from step3vl.pipelines.curation.building import BuildFeatures, features_path, retried_path
from step3vl.pipelines.curation.candidates import (
    CANDIDATES,
    EDGE,
    KEY,
    GatherKeys,
    ScatterHotPairs,
    ScatterKeys,
    VerifyPairs,
)
from step3vl.pipelines.curation.components import connect
from step3vl.pipelines.curation.config import CurationConfig, SemanticConfig
from step3vl.pipelines.curation.cropped import CropSteps
from step3vl.pipelines.curation.decontaminate import DECONTAMINATE, BenchmarkIndex, save_index
from step3vl.pipelines.curation.evidence import EVIDENCE, REPORT
from step3vl.pipelines.curation.exact import EXACT, PAIR, ScatterContents, content_dtype, gather_contents
from step3vl.pipelines.curation.exchange import Exchange, WriteParts, partitions_for, run_exchanges, scatter_from
from step3vl.pipelines.curation.features import FeatureStore, dtype_of
from step3vl.pipelines.curation.filtering import FILTER
from step3vl.pipelines.curation.inputs import Inputs
from step3vl.pipelines.curation.reading import READ
from step3vl.pipelines.curation.resolve import CROPPED, DROP, NEAR, SEMANTIC, GatherComponents, ScatterStars
from step3vl.pipelines.curation.semantic import SemanticSteps
from step3vl.pipelines.curation.similar_items import SIMILAR_ITEMS, SimilarItems
from step3vl.pipelines.curation.writing import (
    PLACE,
    SHARDS,
    SPLITS,
    Outcomes,
    ReportDecisions,
    ScatterKept,
    WriteShards,
    record_path,
)
from step3vl.pipelines.layout import STAGING, Retries, absolute_url

_log = logging.getLogger(__name__)

_VERSION = 4  # raised with every change of what the steps decide
Wire = Callable[[beam.Pipeline, Staging], Iterable[PCollection[str]]]


def curate(datasets: Sequence[str], out: str | Path, config: CurationConfig, *, retry_failed: bool = False) -> Dataset:
    """Curate datasets into a new one, resume a curation that was interrupted, or open one that is finished.

    Args:
        datasets: Folders or URLs. Of duplicates that are equally good, the one of the first dataset is kept.
        out: Folder or URL of the new dataset.
        config: What is dropped.
        retry_failed: Whether samples that could not be read are read again.

    Raises:
        UserError: A dataset is not there, `out` holds another finished dataset, another build is at work, too many
            samples cannot be read, or none is left.
        InfrastructureError: The machine caused an error, also after retries; the next run resumes.
    """
    beam_options(config.beam_options)
    url = absolute_url(out)
    with infrastructure_errors(f"curating {url}"):
        inputs = Inputs.open(
            [absolute_url(dataset) for dataset in datasets],
            [absolute_url(dataset) for dataset in config.against],
            config.store,
        )
        curation = _Curation(inputs, url, config, retry_failed)
        dataset = curation.open_finished() or curation.run()
    if not dataset.files.exists("card.md"):
        with infrastructure_errors(f"{url} is committed; writing its card", AGAIN):
            write_card(dataset, url, read_dead_letters(url, config.store), config.store)
    return dataset


class _Curation:
    def __init__(self, inputs: Inputs, out: str, config: CurationConfig, retry_failed: bool) -> None:
        self._inputs, self._out, self._config = inputs, out, config
        self._staging = Staging(absolute_url(config.root or f"{out}/{STAGING}"), str(Path.cwd()), config.store)
        self._shards = inputs.shards
        self._earlier = np.array([shard.earlier for shard in inputs.shards], bool)
        self._new = inputs.datasets[len(config.against) :]
        self._targets = config.shards or max(1, *(self._largest(split) for split in SPLITS))
        self._benchmarks, benchmarks = self._index_benchmarks()
        self._exclusions = inputs.exclusions
        origin = [dataset.fingerprint for dataset in inputs.datasets]
        self._origin = {
            "datasets": [{"name": part.manifest.name, "fingerprint": part.fingerprint} for part in self._new],
            "against": [
                {"name": part.manifest.name, "fingerprint": part.fingerprint}
                for part in inputs.datasets[: len(config.against)]
            ],
            **benchmarks,
            **({"exclusions": self._exclusions.digest} if self._exclusions else {}),
        }
        depends = json.dumps(
            [_VERSION, origin, config.content(), self._benchmarks, self._exclusions.digest], sort_keys=True
        )
        self._first = f"curation/{blake3(depends.encode()).hexdigest(10)}"  # without retries
        self._retries = Retries.load(self._staging.open()).begin([self._first] if retry_failed else [])
        self._rounds = self._retries.current.get(self._first, 0)
        self._folder = retry_id(self._first, self._rounds) if self._rounds else self._first
        paths = [features_path(shard, config, self._benchmarks, self._exclusions) for shard in inputs.shards]
        self._feature_paths = paths

    def _index_benchmarks(self) -> tuple[str, dict[str, Any]]:
        """Index the benchmarks, which are small. Returns the path of the index, and what is recorded of it."""
        config = self._config.decontaminate
        if config is None:
            return "", {}
        index = BenchmarkIndex.of(read_items(config, self._staging.base, self._config.store), config)
        figures = {"items": len(index.names), "common_ngrams": index.common, "unfindable_items": index.unfindable}
        _log.info("benchmarks: %s", ", ".join(f"{name} {count:,}" for name, count in figures.items()))
        path = save_index(index, self._config, self._staging.open())
        return path, {"benchmarks": {**figures, "fingerprint": Path(path).stem}}

    def _largest(self, split: str) -> int:
        return sum(shard.split == split for dataset in self._new for shard in dataset.manifest.shards)

    def recorded(self) -> dict[str, Any]:
        """The configuration as `dataset.json` has it."""
        content = self._config.model_dump(mode="json", exclude={"root", "store", "beam_options", "against"})
        return {"curate": {**content, **self._origin}}

    def open_finished(self) -> Dataset | None:
        """The dataset that is there already, which nothing replaces."""
        store = Store(self._out, self._config.store)
        if not store.exists(MANIFEST):
            return None
        dataset = Dataset.open(self._out, self._config.store)
        if dataset.manifest.config != self.recorded():
            raise UserError(
                f"{self._out} holds another finished dataset; give another folder, with root={self._staging.root} to "
                "reuse what was read"
            )
        _log.info("%s is already curated from these datasets", self._out)
        return dataset

    def run(self) -> Dataset:
        """Run all steps that are not committed, and commit the dataset."""
        root = self._staging.open()
        with Lease(root) as lease:
            self._retries.save(root)
            read = self._run("features", self._wire_features)
            check_failures(read, self._config.failure_budget)
            paths = [retried_path(root, path, self._rounds) for path in self._feature_paths]
            self._features = FeatureStore(root, paths, dtype_of(self._config))
            counts = {step.name: step.read for step in read.accounts}
            samples, keys = counts.get(READ, 0), counts["keys"]
            self._run("exact", self._wire_exact(partitions_for(samples)))
            near, figures = self._near(keys)
            lease.check()
            dropped = {NEAR: near} if self._config.near or self._config.images else {}
            if self._config.images and self._config.images.crops:
                dropped[CROPPED], counted = self._find_crops(dropped, partitions_for(samples))
                figures |= counted
            clusters = ""
            if self._config.semantic:
                drops, clusters, counted = self._compare_meanings(dropped, self._config.semantic)
                dropped |= {SEMANTIC: drops} if drops else {}
                figures |= counted
            lease.check()
            outcomes = self._outcomes(dropped)
            balancer = Balancer(
                self._features,
                self._shards,
                outcomes.candidates,
                self._config,
                self._staging,
                self._path("balance"),
                clusters,
                partitions_for(samples),
            )
            balancer.run(self._run)
            lease.check()
            written = self._run("shards", self._wire_shards(outcomes, balancer))
            lease.check()
            dataset = self._commit([*read.accounts, *written.accounts], figures)
            self._retries.commit().save(root)
            return dataset

    def _outcomes(self, dropped: Mapping[str, str]) -> Outcomes:
        return Outcomes(self._features, self._staging, self._path("exact"), dropped, len(self._config.prefer))

    def _find_crops(self, dropped: Mapping[str, str], partitions: int) -> tuple[str, dict[str, int]]:
        """Compare images by their tiles. Returns the folder of the decisions, and figures."""
        folder, outcomes = self._path("crops"), self._outcomes(dropped)
        steps = CropSteps(self._features, self._shards, outcomes, self._config, self._staging, folder, partitions)
        return folder, {step.name: step.read for step in self._run("crops", steps.wire).accounts}

    def _compare_meanings(self, dropped: Mapping[str, str], config: SemanticConfig) -> tuple[str, str, dict[str, int]]:
        """Embed what is left. Returns the folders of the decisions and of the clusters, and figures."""
        outcomes = self._outcomes(dropped)
        steps = SemanticSteps(self._features, self._shards, outcomes, self._config, self._staging, self._folder)
        embedded = self._run("embeddings", steps.wire_embeddings)
        steps.fit(sum(step.read for step in embedded.accounts))
        accounts = [*embedded.accounts, *self._run("semantic", steps.wire_clusters).accounts]
        if self._benchmarks:
            similar = SimilarItems(
                steps, self._features, self._shards, config, self._benchmarks, self._out, self._staging
            )
            accounts += self._run(SIMILAR_ITEMS, similar.wire).accounts
        return steps.drops, steps.clusters, {step.name: step.read for step in accounts}

    def _path(self, name: str) -> str:
        return f"{self._folder}/{name}"

    def _run(self, name: str, wire: Wire) -> Report:
        """Run a pipeline, unless its report says that it was run to its end."""
        path = f"{self._path(name)}.json"
        if not self._staging.open().exists(path):
            _log.info("%s", name)

            def wire_with_report(pipeline: beam.Pipeline, staging: Staging) -> None:
                reports = list(wire(pipeline, staging))
                _ = reports | "all reports" >> beam.Flatten() | WriteReport(staging, path)

            run_exchanges(name, self._config.beam_options, self._staging, wire_with_report)
        return read_report(self._staging, path)

    def _wire_features(self, pipeline: beam.Pipeline, staging: Staging) -> Iterable[PCollection[str]]:
        numbers = pipeline | "shards" >> beam.Create(range(len(self._shards)))
        build = BuildFeatures(self._shards, self._config, staging, self._benchmarks, self._exclusions, self._rounds)
        yield numbers | "read" >> beam.ParDo(build).with_output_types(str)

    def _wire_exact(self, partitions: int) -> Wire:
        def wire(pipeline: beam.Pipeline, staging: Staging) -> Iterable[PCollection[str]]:
            scatter = ScatterContents(self._features, self._earlier, partitions, len(self._config.prefer))
            contents = scatter_from(pipeline, len(self._shards), scatter, "contents")
            exchange = Exchange(content_dtype(len(self._config.prefer)), gather_contents, partitions, staging)
            duplicates = contents | "duplicates" >> exchange
            write = Exchange(PAIR, WriteParts(staging, self._path("exact")), len(self._shards), staging)
            yield duplicates.reports
            yield (duplicates.packs | "write" >> write).reports

        return wire

    def _near(self, keys: int) -> tuple[str, dict[str, int]]:
        """Find near-duplicates. Returns the folder of the decisions, and figures of the graph."""
        config = self._config
        partitions = partitions_for(keys)
        pairs = self._run("edges", self._wire_edges(partitions))
        steps = {step.name: step for step in pairs.accounts}
        edges = steps[CANDIDATES].kept if CANDIDATES in steps else 0
        partitions = partitions_for(2 * edges) if edges else 0
        stars, rounds = "", 0
        if edges:
            flags, parts = config.beam_options, len(self._shards)
            stars, rounds = connect(self._staging, self._path("edges"), parts, partitions, flags)
        decided = self._run("near", self._wire_near(stars, partitions))
        figures = {step.name: step.read for step in (*pairs.accounts, *decided.accounts)}
        return self._path("near"), {**figures, "edges": edges, "rounds": rounds}

    def _wire_edges(self, partitions: int) -> Wire:
        def wire(pipeline: beam.Pipeline, staging: Staging) -> Iterable[PCollection[str]]:
            config, hot = self._config, self._config.hot_bucket
            keys = ScatterKeys(self._features, staging, self._path("exact"), config, partitions)
            sent = scatter_from(pipeline, len(self._shards), keys, "keys")
            buckets = sent | "buckets" >> Exchange(KEY, GatherKeys(self._earlier, hot), partitions, staging)
            hot_pairs = ScatterHotPairs(keys, self._earlier, hot)
            local = scatter_from(pipeline, len(self._shards), hot_pairs, "hot pairs")
            verify = VerifyPairs(self._features, staging, self._path("edges"), config)
            pairs = (buckets.packs, local) | "all pairs" >> beam.Flatten()
            yield buckets.reports
            yield (pairs | "verify" >> Exchange(EDGE, verify, len(self._shards), staging)).reports

        return wire

    def _wire_near(self, stars: str, partitions: int) -> Wire:
        def wire(pipeline: beam.Pipeline, staging: Staging) -> Iterable[PCollection[str]]:
            sent = scatter_from(pipeline, partitions, ScatterStars(staging, stars, partitions), "stars")
            gather = GatherComponents(self._features, self._earlier, self._config)
            decided = sent | "components" >> Exchange(EDGE, gather, partitions, staging)
            write = Exchange(DROP, WriteParts(staging, self._path("near")), len(self._shards), staging)
            yield decided.reports
            yield (decided.packs | "write" >> write).reports

        return wire

    def _wire_shards(self, outcomes: Outcomes, balancer: Balancer) -> Wire:
        def wire(pipeline: beam.Pipeline, staging: Staging) -> Iterable[PCollection[str]]:
            numbers = pipeline | "decided" >> beam.Create(range(len(self._shards)))
            report = ReportDecisions(outcomes, self._shards, self._config, balancer)
            yield numbers | "count" >> beam.FlatMap(report).with_output_types(str)
            scatter = ScatterKept(outcomes, self._shards, self._targets, self._out, staging, self._config, balancer)
            kept = scatter_from(pipeline, len(self._shards), scatter, "kept")
            records = self._path("shards")
            write = WriteShards(
                self._features,
                self._shards,
                self._targets,
                self._out,
                staging,
                (records, f"{self._first}/shards"),
                self._config,
            )
            yield (kept | "write" >> Exchange(PLACE, write, self._targets * len(SPLITS), staging)).reports

        return wire

    def _commit(self, accounts: Iterable[LedgerStep], figures: dict[str, int]) -> Dataset:
        root, out = self._staging.open(), Store(self._out, self._config.store)
        written = [
            KeptShard.model_validate_json(root.read_all(record_path(self._path("shards"), number))).written
            for number in range(self._targets * len(SPLITS))
            if root.exists(record_path(self._path("shards"), number))
        ]
        order = {
            name: place
            for place, name in enumerate(
                (READ, FILTER, DECONTAMINATE, EXACT, NEAR, CROPPED, SEMANTIC, BALANCE, SHARDS)
            )
        }
        steps = sorted(
            (step for step in Ledger.merge(accounts).steps if step.name in order), key=lambda step: order[step.name]
        )
        _check(steps)
        _log.info("%s", ", ".join(f"{name} {count:,}" for name, count in sorted(figures.items())))
        report = {
            **figures,
            "datasets": [dataset.url for dataset in self._new],
            "against": [dataset.url for dataset in self._inputs.datasets[: len(self._config.against)]],
        }
        out.put(REPORT, (json.dumps(report, indent=1, sort_keys=True) + "\n").encode())
        for folder in ("", "index", EVIDENCE, DEAD_LETTERS_FOLDER):  # what killed workers left there
            out.sweep(folder)
        counting = copy_counting(self._new[0], out)
        previous = Ledger.join(dataset.manifest.ledger for dataset in self._new)
        return commit(
            self._out,
            name=self._config.name,
            shards=written,
            ledger=[*previous.steps, *steps],
            counting=counting,
            config=self.recorded(),
            code_version=code_version("step3vl.data", "step3vl.pipelines"),
            store=self._config.store,
        )


def _check(steps: Sequence[LedgerStep]) -> None:
    """Check that each step read what the one before it kept.

    Raises:
        ValueError: Samples were lost or made.
    """
    for before, after in pairwise(steps):
        if after.read != before.emitted:
            raise ValueError(
                f"step {before.name} kept {before.emitted} samples but step {after.name} read {after.read}"
            )
