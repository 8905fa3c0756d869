"""The build: a configuration becomes a committed dataset, fragment by fragment. A second run does what is missing.

waves    Beam   inputs -> fragments -> through the segments of every entry, up to a model; the model on Ray; and so on
tokens   Beam   the tokenizer: loaded, or trained on the texts of the samples; then tokens, fragment by fragment
shards   Beam   samples -> shards, and the table of dead letters; then `dataset.json`, and the data card

The process that builds starts pipelines and adds up what they report. Nothing that grows with the corpus comes here,
except the list of its shards. What the pipelines leave under the root is kept, so that a later build of a changed
configuration, or with another input file, does only what has changed.
"""

import logging
import os
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from step3vl.data.dataset import (
    EXCLUSIONS,
    MANIFEST,
    SHARDS_STEP,
    Counting,
    Dataset,
    Ledger,
    WrittenShard,
    code_version,
    commit,
    dead_letter_part,
    read_dead_letters,
    require_samples,
)
from step3vl.data.dataset.exclusions import read_exclusions
from step3vl.data.errors import AGAIN, UserError, infrastructure_errors
from step3vl.data.inspect import write_card
from step3vl.data.storage import DEFAULT_STORE, Store, StoreConfig, is_url
from step3vl.data.tokens import TOKENIZER, load_tokenizer, train_bpe
from step3vl.pipelines.config import CorpusConfig, TrainedTokenizer
from step3vl.pipelines.core.accounts import TOKENS, Report, check_ledger, in_order
from step3vl.pipelines.core.beam import beam_options
from step3vl.pipelines.core.dead_letters import dead_letter_files
from step3vl.pipelines.core.fragments import fragment_count
from step3vl.pipelines.core.lease import Lease
from step3vl.pipelines.core.listing import number_counts
from step3vl.pipelines.core.ray import models_session, run_on_ray
from step3vl.pipelines.core.text_sample import read_texts
from step3vl.pipelines.core.tokens import StagedTokenizer
from step3vl.pipelines.core.waves import Chains
from step3vl.pipelines.layout import (
    STAGING,
    Generations,
    Retries,
    absolute_url,
    asset_hashes,
    chains_of,
    earlier_fragments,
    entries_left_out,
    input_exclusions,
    open_staging,
    staging_root,
)
from step3vl.pipelines.planning import CorpusPlan, PlannedSegment, corpus_plan
from step3vl.pipelines.provenance import KnownInputs, changes, provenance, versions
from step3vl.pipelines.stages import Stages
from step3vl.pipelines.view.progress import byte_size
from step3vl.pipelines.view.watcher import NoWatch, Watch

__all__ = [
    "CorpusConfig",
    "CorpusPlan",
    "PlannedSegment",
    "build_corpus",
    "changes",
    "clean_corpus",
    "corpus_plan",
    "reuse_earlier",
    "staging_root",
    "versions",
]

_log = logging.getLogger(__name__)

_CARD = "card.md"  # the last file of a card that is written
_NO_WATCH = NoWatch()


def build_corpus(
    config: CorpusConfig,
    out: str | Path,
    *,
    rebuild: Sequence[str] = (),
    retry_failed: bool = False,
    watch: Watch = _NO_WATCH,
) -> Dataset:
    """Build the dataset at `out`, resume a build that was interrupted, or open it when it is finished.

    Args:
        config: Of the corpus.
        out: Folder or URL of the dataset.
        rebuild: Names of entries whose records are worked on again, although they are committed.
        retry_failed: Whether records that failed are tried again, and what is made of them is added.
        watch: Is told what is worked on.

    Raises:
        UserError: The configuration names what does not exist, `out` holds another finished dataset, another build is
            at work, a step fails on too many records, or no sample is left.
        InfrastructureError: The machine caused an error, also after retries; the next build resumes.
        ValueError: The ledger does not balance.
    """
    beam_options(config.beam_options)
    if not is_url(str(out)) and Path(out).is_file():
        raise UserError(f"{out} is a file; give a folder for the dataset")
    with infrastructure_errors(f"building {out}"):
        build = _Build(config, out, rebuild, retry_failed, watch)
        dataset = build.run()
    build.write_card(dataset)
    return dataset


def reuse_earlier(earlier: Path, out: Path) -> None:
    """Let a new build or curation at `out` use what that of a dataset left which was set aside, and forget what it
    forgot.

    The staging folder moves; shards are linked, or copied where the file system has no links.

    Args:
        earlier: The folder of the dataset that was set aside.
        out: The folder of the new one.
    """
    if (earlier / EXCLUSIONS).is_dir():
        shutil.copytree(earlier / EXCLUSIONS, out / EXCLUSIONS)
    if not (earlier / STAGING).is_dir():
        return
    (out / "shards").mkdir(parents=True, exist_ok=True)
    for path in (earlier / "shards").glob("*"):
        target = out / "shards" / path.name
        try:
            os.link(path, target)
        except OSError:
            shutil.copy2(path, target)
    (earlier / STAGING).rename(out / STAGING)


def clean_corpus(
    out: str | Path, config: CorpusConfig | None = None, store_config: StoreConfig = DEFAULT_STORE
) -> str:
    """Remove what a build keeps to be resumed and reused. A finished dataset needs none of it.

    Args:
        out: Folder or URL of the dataset.
        config: Of the corpus, where it names another root.
        store_config: How a remote store is used where there is no `config`.

    Returns:
        The URL of the folder that was removed.

    Raises:
        UserError: A build is at work there.
    """
    store = Store(staging_root(config, out), config.store) if config else Store(f"{out}/{STAGING}", store_config)
    with Lease(store):
        pass
    store.remove_folder("")
    return store.url


class _Build:
    """A run over the stages. Whatever is committed already, now or in an earlier run, is not done again."""

    def __init__(
        self, config: CorpusConfig, out: str | Path, rebuild: Sequence[str], retry_failed: bool, watch: Watch
    ) -> None:
        self._config = config
        self._out = Store(absolute_url(out), config.store)
        self._rebuild, self._retry_failed = rebuild, retry_failed
        self._watch = watch
        self._staging = open_staging(config, out)
        self._root = self._staging.open()

    def run(self) -> Dataset:
        if self._out.exists(MANIFEST):
            return self._open_finished()
        if any(self._out.names("shards")) and not any(self._root.names("")):
            raise UserError(f"{self._out.url} has a folder `shards` that no build of ours left; give another folder")
        with Lease(self._root) as lease:
            return self._build(lease)

    def _open_finished(self) -> Dataset:
        """The finished dataset, which nothing replaces."""
        if self._rebuild or self._retry_failed:
            raise UserError(f"{self._out.url} is finished; {self._make_room()}")
        if differences := changes(self._config, self._out.url):
            raise UserError(
                f"{self._out.url} holds a finished dataset, which differs in {'; '.join(differences)}; "
                f"{self._make_room()}"
            )
        _log.info("%s is already built from this configuration and input", self._out.url)
        return Dataset.open(self._out.url, self._config.store)

    def _make_room(self) -> str:
        if is_url(self._out.url):
            return f"give another URL, with root={self._staging.root} to reuse what has not changed"
        return "give another folder, or --force to set it aside and build again"

    def _build(self, lease: Lease) -> Dataset:
        left_out = entries_left_out(self._config, self._staging)
        for name, reason in left_out.items():
            _log.warning("%s is left out: %s", name, reason)
        config = self._config = self._config.without(left_out)
        if isinstance(config.tokens.tokenizer, str):
            load_tokenizer(config.tokens.tokenizer)  # now, and not after hours of work, it may turn out to be missing
        assets = asset_hashes(config, self._staging)
        generations = Generations.load(self._root).begin(self._rebuild)
        generations.save(self._root)
        chains = chains_of(config, assets, generations.current)
        folders = [segment.folder for segment in chains.segments]
        retries = Retries.load(self._root).begin(folders if self._retry_failed else ())
        retries.save(self._root)
        chains = chains.with_retries(retries.current)
        for segment in chains.segments:
            self._root.sweep(segment.folder)
        excluded = input_exclusions(config, self._staging)
        stages = Stages(config, self._out.url, chains, self._staging, excluded + read_exclusions(self._out))
        report = self._run_waves(stages, lease)
        require_samples(config.name, _samples(report, chains), report.accounts)
        for entry in _empty_entries(report, chains):
            _log.warning("%s emitted no sample; the ledger says what became of its records", entry)
        name, tokenizer = self._settle_tokenizer(stages, report.text_bytes)
        dead_letters = dead_letter_files(report.accounts)
        counts = stages.token_folders(tokenizer)
        shards, sink = self._write_shards(stages, tokenizer, counts, report.fragments, dead_letters)
        lease.check()
        ledger = in_order(Ledger.merge([*report.accounts, *sink.accounts]), chains.step_names())
        check_ledger(ledger, chains.step_names(), report.inputs)
        hashed = {name: total for name, total in report.inputs.items() if total.content}
        KnownInputs(entries=hashed).save(self._root)
        self._remove_leftovers(shards, dead_letters)
        dataset = commit(
            self._out.url,
            name=config.name,
            shards=shards,
            ledger=ledger.steps,
            counting=Counting(tokenizer=name, tokenizer_sha256=tokenizer.sha256, image=config.tokens.image),
            config=provenance(config, assets, report.inputs, left_out, excluded.digest).record(),
            code_version=code_version("step3vl.data", "step3vl.pipelines"),
            store=config.store,
        )
        generations.commit().save(self._root)
        retries.commit().save(self._root)
        if left_out:
            _log.warning("%s is committed without %s", self._out.url, ", ".join(left_out))
        self._tell_of_earlier_fragments({*folders, *counts.values()})
        return dataset

    def _run_waves(self, stages: Stages, lease: Lease) -> Report:
        """All waves, one after the other. Ray is started once for the models of all of them."""
        reports = []
        with ExitStack() as stack:
            for index in range(len(stages.chains.waves())):
                if index == 1:  # only the first wave has no model on Ray
                    stack.enter_context(models_session(self._config.models))
                reports.append(self._run_wave(stages, index, lease))
        return Report.merge(reports)

    def _run_wave(self, stages: Stages, index: int, lease: Lease) -> Report:
        """The models on Ray that a wave begins with, and then its pipeline."""
        wave = stages.chains.waves()[index]
        segments = [stages.chains.segments[number] for number in wave.numbers]
        if index:
            for number in wave.levels[0]:
                segment = stages.chains.segments[number]
                _log.info("%s: running the model", segment.name)
                self._watch.segment_started(segment.name, segment.folder, None)
                work_list, models = stages.chains.work_list(number), self._config.models
                run_on_ray(segment, work_list, self._staging, models, self._config.failure_budget)
                self._watch.segment_ended(segment.name)
        elif wave.numbers:
            _log.info("working on %s", ", ".join(segment.name for segment in segments))
        counts = number_counts(stages.chains, self._config.fraction)
        totals = {number: fragment_count(count) for number, count in counts.items()}
        for number, segment in zip(wave.numbers, segments, strict=True):
            if not stages.chains.is_on_ray(number):
                self._watch.segment_started(segment.name, segment.folder, totals.get(number))
        report = stages.run_wave(wave, is_first=index == 0)
        for segment in segments:
            self._watch.segment_ended(segment.name)
        lease.check()
        return report

    def _write_shards(
        self,
        stages: Stages,
        tokenizer: StagedTokenizer,
        counts: Mapping[str, str],
        fragments: Mapping[str, int],
        dead_letters: int,
    ) -> tuple[list[WrittenShard], Report]:
        """Count tokens, and write the shards and the table of dead letters.

        Args:
            stages: Of the build.
            tokenizer: What counts tokens.
            counts: As `Stages.token_folders` returns them.
            fragments: Committed by each segment.
            dead_letters: Files of the table.
        """
        _log.info("counting tokens and writing shards")
        for segment, folder in counts.items():
            entry = folder.split("/")[0]
            self._watch.segment_started(f"{entry}.{TOKENS}", folder, fragments.get(segment, 0))
        self._watch.segment_started(SHARDS_STEP, "shards", None)
        written = stages.write_shards(stages.chains.waves(), tokenizer, dead_letters)
        for folder in counts.values():
            self._watch.segment_ended(f"{folder.split('/')[0]}.{TOKENS}")
        self._watch.segment_ended(SHARDS_STEP)
        return written

    def _settle_tokenizer(self, stages: Stages, text_bytes: int) -> tuple[str, StagedTokenizer]:
        """The name of the tokenizer as the manifest gives it, and where workers find it.

        One that is not published becomes a part of the dataset.
        """
        choice = self._config.tokens.tokenizer
        if isinstance(choice, TrainedTokenizer):
            _log.info("training a tokenizer of %d ids", choice.train)
            stages.write_texts(stages.chains.waves(), min(1.0, choice.sample / max(text_bytes, 1)))
            tokenizer = train_bpe(read_texts(self._staging), choice.train)
        else:
            tokenizer = load_tokenizer(choice)
        staged = StagedTokenizer.stage(tokenizer, choice if isinstance(choice, str) else "", self._staging)
        staged.save(self._staging)
        if staged.path == "qwen3":
            return staged.path, staged
        self._out.put(TOKENIZER, self._root.read_all(staged.path))
        return TOKENIZER, staged

    def _remove_leftovers(self, shards: Sequence[WrittenShard], dead_letters: int) -> None:
        """Remove the files of attempts that did not commit, such as those with another number of shards."""
        infos = [shard.info for shard in shards]
        keep = {path for info in infos for path in (info.path, info.index_path, info.offsets_path)}
        keep |= {dead_letter_part(number, dead_letters) for number in range(dead_letters)}
        for folder, pattern in (("shards", rf"{self._config.name}-\w+-\d{{5}}-of-\d{{5}}\."), ("dead_letters", "")):
            for name in list(self._out.names(folder)):
                if f"{folder}/{name}" not in keep and re.match(pattern, name):
                    self._out.remove(f"{folder}/{name}")

    def _tell_of_earlier_fragments(self, current: Collection[str]) -> None:
        """Say what other configurations left under the root, which nothing removes by itself."""
        left = earlier_fragments(self._root, current)
        if left.size:
            _log.info(
                "%s%s under %s are of earlier configurations, for builds that return to them; `step3vl corpus clean` "
                "removes all that is there",
                "" if left.is_complete else "at least ",
                byte_size(left.size),
                self._root.url,
            )

    def write_card(self, dataset: Dataset) -> None:
        """Write the data card, unless it is there."""
        if not self._out.exists(_CARD):
            with infrastructure_errors(f"{self._out.url} is committed; writing its card", AGAIN):
                dead_letters = read_dead_letters(self._out.url, self._config.store)
                write_card(dataset, self._out.url, dead_letters, self._config.store)


def _samples(report: Report, chains: Chains) -> int:
    """How many samples the entries emitted."""
    lasts = {names[-1] for names in chains.step_names()}
    return sum(step.emitted for step in report.accounts if step.name in lasts)


def _empty_entries(report: Report, chains: Chains) -> list[str]:
    """The entries that emitted no sample."""
    emitted = {step.name for step in report.accounts if step.emitted}
    return [entry for entry, *steps in chains.step_names() if steps[-1] not in emitted]
