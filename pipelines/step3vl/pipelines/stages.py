"""The Beam pipelines of a build, in the order in which they run."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam

from step3vl.data.dataset import Exclusions, WrittenShard
from step3vl.pipelines.config import CorpusConfig
from step3vl.pipelines.core.accounts import Report, check_failures
from step3vl.pipelines.core.beam import WriteList, WriteReport, read_list, read_report, run_pipeline
from step3vl.pipelines.core.dead_letters import WriteDeadLetters
from step3vl.pipelines.core.listing import ListInputs
from step3vl.pipelines.core.segments_on_beam import RunLevel, inputs_for_ray
from step3vl.pipelines.core.shard_writer import Sharding
from step3vl.pipelines.core.sink import CountTokens, WriteShards
from step3vl.pipelines.core.staging import Staging
from step3vl.pipelines.core.text_sample import WriteTexts
from step3vl.pipelines.core.tokens import NO_EXCLUSIONS, StagedTokenizer, TokenCounter
from step3vl.pipelines.core.waves import Chains, Wave
from step3vl.pipelines.core.work_list import ReadWorkLists, WriteWorkLists

_log = logging.getLogger(__name__)

_SHARDS_REPORT = "control/report.shards.json"
_SHARDS = "control/shards.json"


@dataclass(frozen=True)
class Stages:
    """The pipelines of one build. Each returns when its results are committed under the root.

    Attributes:
        config: Of the corpus.
        out: URL of the dataset.
        chains: The segments of all entries.
        staging: The root.
        exclusions: The samples that must no longer be used.
    """

    config: CorpusConfig
    out: str
    chains: Chains
    staging: Staging
    exclusions: Exclusions = NO_EXCLUSIONS

    def run_wave(self, wave: Wave, *, is_first: bool) -> Report:
        """Pass all fragments through the segments of a wave.

        Args:
            wave: What runs.
            is_first: Whether it begins with the inputs, and not with what models on Ray committed.

        Raises:
            UserError: A step failed on more records than the budget allows, or a worker found a mistake in the
                configuration.
            InfrastructureError: The machine caused an error.
        """

        def wire(pipeline: beam.Pipeline, staging: Staging) -> None:
            lists, reports = [], []
            if is_first:
                listing = pipeline | "inputs" >> ListInputs(self.chains, staging, self.config.fraction)
                work = listing.work
                reports.append(listing.reports)
                lists.append(work | "inputs for Ray" >> inputs_for_ray(self.chains))
            else:
                starts = [(self.chains.work_list(number), number) for number in wave.levels[0]]
                work = pipeline | "work lists" >> ReadWorkLists(staging, starts)
            for level in range(len(wave.levels)):
                if level:
                    work = work | f"deal to level {level}" >> beam.Reshuffle()
                outputs = work | RunLevel(self.chains, wave, level, staging, self.config.failure_budget)
                work = outputs.work
                lists.append(outputs.lists)
                reports.append(outputs.reports)
            names = [wave.samples, wave.dead_letters, *map(self.chains.work_list, self._next_on_ray(wave, is_first))]
            _ = lists | "all lists" >> beam.Flatten() | WriteWorkLists(staging, names)
            _ = reports | "all reports" >> beam.Flatten() | WriteReport(staging, wave.report)

        run_pipeline("steps", self.config.beam_options, self.staging, wire)
        report = read_report(self.staging, wave.report)
        check_failures(report, self.config.failure_budget)
        return report

    def _next_on_ray(self, wave: Wave, is_first: bool) -> list[int]:
        """The models on Ray that read what the wave makes."""
        following = [self.chains.following(number) for number in wave.numbers]
        firsts = [numbers[0] for numbers in self.chains.entries()] if is_first else []
        return [number for number in (*following, *firsts) if number is not None and self.chains.is_on_ray(number)]

    def token_folders(self, tokenizer: StagedTokenizer) -> dict[str, str]:
        """Where the tokens of each entry are counted, relative to the root, by the name of its last segment."""
        counter = TokenCounter(tokenizer, self.config.tokens.image, self.staging, exclusions=self.exclusions)
        lasts = [segment for segment in self.chains.segments if segment.emits_samples]
        return {segment.name: counter.folder(segment.folder) for segment in lasts}

    def write_texts(self, waves: Sequence[Wave], fraction: float) -> None:
        """Write the texts of a fraction of the samples, where `read_texts` finds them."""

        def wire(pipeline: beam.Pipeline, staging: Staging) -> None:
            samples = pipeline | "samples" >> ReadWorkLists(staging, [(wave.samples, 0) for wave in waves])
            _ = samples | WriteTexts(staging, fraction, self.config.seed)

        run_pipeline("texts", self.config.beam_options, self.staging, wire)

    def write_shards(
        self, waves: Sequence[Wave], tokenizer: StagedTokenizer, files: int
    ) -> tuple[list[WrittenShard], Report]:
        """Count tokens, and write the shards and the table of dead letters.

        Args:
            waves: That made samples.
            tokenizer: What counts tokens.
            files: Of the table of dead letters.

        Raises:
            UserError: Too many samples cannot be counted.
            InfrastructureError: The machine caused an error.
        """
        config = self.config
        sharding = Sharding(self.out, config.name, config.shards, config.heldout, config.store)

        def wire(pipeline: beam.Pipeline, staging: Staging) -> None:
            samples = pipeline | "samples" >> ReadWorkLists(staging, [(wave.samples, 0) for wave in waves])
            retries = {segment.folder: segment.retries for segment in self.chains.segments}
            count = CountTokens(
                tokenizer, config.tokens.image, staging, config.failure_budget, retries, self.exclusions
            )
            counted = samples | count
            shards = counted.counted | WriteShards(sharding, staging)
            _ = shards.shards | WriteList(staging, _SHARDS)
            reports = (counted.reports, shards.reports) | "all reports" >> beam.Flatten()
            _ = reports | WriteReport(staging, _SHARDS_REPORT)
            dead = pipeline | "dead letters" >> ReadWorkLists(staging, [(wave.dead_letters, 0) for wave in waves])
            all_dead: Any = (dead, counted.dead_letters) | "all dead letters" >> beam.Flatten()
            _ = all_dead | WriteDeadLetters(staging, self.out, files, config.store)

        run_pipeline("shards", config.beam_options, self.staging, wire)
        report = read_report(self.staging, _SHARDS_REPORT)
        check_failures(report, config.failure_budget)
        shards = [WrittenShard.model_validate_json(text) for text in read_list(self.staging, _SHARDS)]
        return shards, report
