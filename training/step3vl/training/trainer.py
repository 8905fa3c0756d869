"""The trainer of pretraining and fine-tuning: loader, DeepSpeed engine, schedule, monitor and checkpoints."""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from step3vl.data.config import Config
from step3vl.data.errors import UserError
from step3vl.data.plan import Cursor, Mixture, PlanPhase
from step3vl.data.processes import available_cores
from step3vl.data.tokens import TokenIds, fingerprint, load_tokenizer
from step3vl.model import Step3VLForConditionalGeneration, Step3VLProcessor, load_model, tiny_config
from step3vl.training import checkpoint
from step3vl.training.batch import PackedBatch
from step3vl.training.config import TrainConfig, accumulation_steps
from step3vl.training.dead_letters import DeadLetterLog, check_unreadable
from step3vl.training.distributed import gather_objects, global_sums, node_count
from step3vl.training.engine import (
    NonFiniteError,
    backward,
    check_finite,
    join,
    parameter_groups,
    set_learning_rate,
    start_engine,
    step,
)
from step3vl.training.evaluate import Validation, heldout_mixture, validation_loss
from step3vl.training.loader import PackLoader, default_workers
from step3vl.training.monitor import MetricRow, TrainingMonitor
from step3vl.training.schedule import TrainingPhase, learning_rate, phase_progress, run_progress

if TYPE_CHECKING:
    from step3vl.training.answers import HeldOutAnswers

logger = logging.getLogger(__name__)

_NOT_IN_PROVENANCE: Mapping[str, bool | set[str]] = {
    "output": True,
    "engine": {"processes", "micro_batch", "gradient_checkpointing", "attention"},
    "data": {"workers", "cache_mb", "store", "max_unreadable"},
    "checkpoint": True,
    "log": True,
    "evaluation": True,
}
"""What may change between a run and its resumption, because it does not change what is learned."""
_NAMED_SAMPLES = 5  # in an error message


class Progress(Config):
    """Where a run stands."""

    step: int = 0
    """Optimizer steps taken."""
    tokens: int = 0
    """Tokens without padding."""
    trained_tokens: int = 0
    """Tokens that had a loss weight."""
    seconds: float = 0.0
    """Time of the steps."""
    unreadable_samples: int = 0
    """Samples that could not be read."""
    unreadable_tokens: int = 0
    """Tokens that the plan counted for them."""
    cursor: Cursor
    """Position in the plan of the whole run; its `packs` alone determines it."""


def train(config: TrainConfig, title: str) -> None:
    """Train in this rank to the end of the last phase, from the latest checkpoint where there is one; then export.

    The process group is joined where it was not, and not left.

    Args:
        config: The run.
        title: Its name in the log.

    Raises:
        UserError: Something is wrong in the configuration, the data or the checkpoint, or the loss diverges.
    """
    device = join()
    torch.manual_seed(config.seed)
    run = _Run(config, title, device)
    progress = run.resume()
    monitor = TrainingMonitor(run.output, title, progress.step, config.log.every) if run.rank == 0 else None
    with monitor or nullcontext():
        run.train(progress, monitor)
    checkpoint.export(run.engine, run.processor, run.output / "export")


def start_model(config: TrainConfig) -> tuple[Step3VLForConditionalGeneration, Step3VLProcessor]:
    """The model to train, float32 and unpartitioned, with its processor: a new one or that of `init`."""
    if config.init is not None:
        model, processor = load_model(config.init, dtype=torch.float32)
        check_finite(model, config.init)
        return model.train(), processor
    assert config.model is not None and config.tokenizer is not None  # the configuration checks it
    tokenizer = load_tokenizer(config.tokenizer)
    sizes = config.model.model_dump(exclude={"image"})
    image_token = TokenIds.of(tokenizer).image_patch
    model_config = tiny_config(tokenizer.get_vocab_size(), config.model.image, image_token_id=image_token, **sizes)
    processor = Step3VLProcessor.build(tokenizer, config.model.image)
    return Step3VLForConditionalGeneration(model_config).train(), processor


class _Run:
    """A run in this rank."""

    def __init__(self, config: TrainConfig, title: str, device: torch.device) -> None:
        self.config, self.title, self.device = config, title, device
        self.output = Path(config.output)
        self.rank, self.world, self.nodes = dist.get_rank(), dist.get_world_size(), node_count()
        micro_batch = config.engine.micro_batch
        try:
            self.accumulation = accumulation_steps(config.data.global_batch, micro_batch, self.world)
        except ValueError as error:
            raise UserError(str(error)) from None
        model, self.processor = start_model(config)
        self.tokenizer = self.processor.plain_tokenizer()
        # Every phase's data is opened now: a mistake in the last one should not come to light after days.
        self.loader = self._loader([_plan_phase(phase, config.data.global_batch) for phase in config.phases])
        self.heldout = self._heldout()
        self.answers = self._heldout_answers()
        self.provenance = self._provenance(model)
        if self.rank == 0:
            checkpoint.describe_model(model, self.processor, self.output / checkpoint.FOLDER)
        self.engine = start_engine(
            model.to(device),
            parameter_groups(model, config.optimizer),
            config.optimizer,
            config.engine,
            self.accumulation,
        )
        self.dtype = torch.bfloat16 if config.engine.precision == "bf16" else torch.float32

    def resume(self) -> Progress:
        """Restore the latest checkpoint, if there is one."""
        folder, engines = self.output / checkpoint.FOLDER, {checkpoint.MODEL: self.engine}
        restored = checkpoint.load(folder, engines, self.provenance, self.config.checkpoint.accept_changed_data)
        if restored is None:
            return Progress(cursor=self.loader.plan.start)
        logger.info("%s resumes from step %d", self.title, restored["step"])
        return Progress.model_validate(restored)

    def train(self, progress: Progress, monitor: TrainingMonitor | None) -> None:
        """Train to the end of the last phase."""
        config, saved = self.config, progress.step
        batches = self.loader.batches(progress.cursor)
        dead_letters = DeadLetterLog(self.output, progress.step)
        while len(micro_batches := list(islice(batches, self.accumulation))) == self.accumulation:
            before = progress.cursor
            progress, row = self._step(micro_batches, progress)
            dead_letters.collect(progress.step, micro_batches, progress.unreadable_samples)
            last = progress.cursor.phase == len(config.phases)
            if self.heldout and config.evaluation and (last or progress.step % config.evaluation.every == 0):
                row["evaluation"] = self._evaluate()
            if monitor is not None:  # before the checkpoint: a run that resumes from there has the row
                monitor.record(row, self._progress_share(progress.cursor))
            samples = sum(stream.samples for stream in progress.cursor.streams)
            check_unreadable(progress.unreadable_samples, samples, config.data.max_unreadable, dead_letters.last)
            if last or progress.step % config.checkpoint.every == 0:
                self._save(progress)
                saved = progress.step
            self._log_sources(before, progress.cursor)
        if progress.step > saved:  # the sources were exhausted before the budgets
            logger.warning("%s ends after step %d: every source is exhausted", self.title, progress.step)
            self._save(progress)

    def _evaluate(self) -> Validation:
        """The validation loss and, where configured, the grades of answers. All ranks call it."""
        validation = validation_loss(self.engine, self.heldout, self.device, self.dtype)
        if self.answers is not None:
            validation["answers"] = self.answers.score(self.engine, self.processor, self.device)
        return validation

    def _progress_share(self, cursor: Cursor) -> float:
        """Share of the run that is done."""
        phases, share = self.config.phases, 0.0
        if cursor.phase < len(phases):
            share = phase_progress(phases[cursor.phase], *self._steps_and_tokens(cursor))
        return run_progress(phases, cursor.phase, share)

    def _steps_and_tokens(self, cursor: Cursor) -> tuple[int, int]:
        """Steps and tokens of the current phase."""
        return cursor.phase_packs // self.config.data.global_batch, cursor.phase_tokens

    def _log_sources(self, before: Cursor, after: Cursor) -> None:
        """Log which sources a step has exhausted and, at the end of a phase, what every source has given."""
        for number, source in enumerate(self.loader.plan.sources):
            stream = after.streams[number]
            if before.streams[number].epoch < stream.epoch == source.epochs:
                logger.info("%s: %s is exhausted; its share passes to the other sources", self.title, source)
            if before.phase < after.phase:
                gave = f"{stream.samples} samples, {stream.tokens} tokens in {stream.packs} packs"
                left_out = f"; {stream.oversized} samples were longer than a pack" if stream.oversized else ""
                logger.info("%s, phase %d: %s gave %s%s", self.title, after.phase, source, gave, left_out)

    def _step(self, micro_batches: Sequence[PackedBatch], progress: Progress) -> tuple[Progress, MetricRow]:
        """One optimizer step over all ranks. Returns the progress after it and the row of its metrics."""
        start = time.perf_counter()
        weight, tokens, trained_tokens, unreadable_samples, unreadable_tokens = global_sums(
            sum(batch.weight for batch in micro_batches),
            sum(batch.tokens for batch in micro_batches),
            sum(batch.trained_tokens for batch in micro_batches),
            sum(len(batch.unreadable) for batch in micro_batches),
            sum(batch.unreadable_tokens for batch in micro_batches),
        )
        number = progress.step + 1
        if tokens and not trained_tokens:
            raise UserError(
                f"{self.title}: no token of step {number} is trained, for every loss weight is 0, in "
                f"{self._describe_samples(micro_batches)}; leave such samples out of the dataset (step3vl corpus "
                "doctor counts them by task)"
            )
        phase = progress.cursor.phase
        rate = learning_rate(self.config.phases[phase], *self._steps_and_tokens(progress.cursor))
        set_learning_rate(self.engine, rate)
        losses, mean_loss, norm = [], 0.0, 0.0
        try:
            for batch in micro_batches:
                output = self.engine(**batch.on(self.device, self.dtype))
                loss = output.loss * output.loss_weight
                losses.append(loss.detach())
                backward(self.engine, loss, weight)
                if len(losses) == self.accumulation:  # before the weights change
                    mean_loss = global_sums(float(sum(losses)))[0] / max(weight, 1e-8)
                    if not math.isfinite(mean_loss):
                        raise NonFiniteError(f"the loss is {mean_loss}")
                norm = step(self.engine)
        except NonFiniteError as error:
            suspects = [b for b, loss in zip(micro_batches, losses, strict=False) if not loss.isfinite()]
            samples = self._describe_samples(micro_batches, suspects)
            raise UserError(
                f"{self.title}: {error} at step {number}, at a learning rate of {rate:.2e}, in {samples}; nothing of "
                "this step is saved. Lower lr_start of the phase or optimizer.grad_clip, with another output"
            ) from None
        progress = Progress(
            step=number,
            tokens=progress.tokens + int(tokens),
            trained_tokens=progress.trained_tokens + int(trained_tokens),
            seconds=progress.seconds + time.perf_counter() - start,
            unreadable_samples=progress.unreadable_samples + int(unreadable_samples),
            unreadable_tokens=progress.unreadable_tokens + int(unreadable_tokens),
            cursor=micro_batches[-1].cursor,
        )
        return progress, {
            "step": progress.step,
            "phase": phase,
            "loss": mean_loss,
            "lr": rate,
            "grad_norm": norm,
            "tokens": progress.tokens,
            "trained_tokens": progress.trained_tokens,
            "seconds": round(progress.seconds, 3),
            "packs": progress.cursor.packs,
            "unreadable_samples": progress.unreadable_samples,
        }

    def _describe_samples(self, batches: Sequence[PackedBatch], suspects: Sequence[PackedBatch] = ()) -> str:
        """Name the samples of some micro-batches of all ranks: of the suspects, or of all where no rank has one."""
        local = [
            [self.loader.plan.where(item) for batch in part for row in batch.items for item in row]
            for part in (suspects, batches)
        ]
        by_rank = gather_objects(local)  # all ranks are here, for what they saw is the same sum
        suspected, everything = ([name for parts in by_rank for name in parts[which]] for which in (0, 1))
        names = suspected or everything
        more = f" and {len(names) - _NAMED_SAMPLES} more" if len(names) > _NAMED_SAMPLES else ""
        return f"{len(names)} samples: {', '.join(names[:_NAMED_SAMPLES])}{more}"

    def _save(self, progress: Progress) -> None:
        checkpoint.save(
            self.output / checkpoint.FOLDER,
            progress.step,
            {checkpoint.MODEL: self.engine},
            progress.model_dump(mode="json"),
            self.provenance,
            self.config.checkpoint.keep,
        )

    def _loader(self, phases: Sequence[PlanPhase], *, prefetch: bool = True) -> PackLoader:
        data = self.config.data
        return PackLoader(
            [phase._replace(mixture=self._of_kind(phase.mixture)) for phase in phases],
            sequence_length=data.sequence_length,
            seed=self.config.seed,
            tokenizer=self.tokenizer,
            image_processor=self.processor.image_processor,
            micro_batch=self.config.engine.micro_batch,
            rank=self.rank,
            world=self.world,
            nodes=self.nodes,
            group=data.global_batch,
            partitions=data.partitions,
            workers=self._workers() if prefetch else 0,
            cache_mb=data.cache_mb if prefetch else 0,
            store=data.store,
        )

    def _workers(self) -> int:
        """Processes that decode for this rank."""
        workers = self.config.data.workers
        if workers is None:
            workers = default_workers(available_cores(), self.world // self.nodes, self.device.type == "cuda")
        return workers

    def _of_kind(self, mixture: Mixture) -> Mixture:
        kind = self.config.sample_kind
        if kind is None:
            return mixture
        return Mixture(sources=tuple(source.model_copy(update={"kind": kind}) for source in mixture.sources))

    def _heldout(self) -> list[PackedBatch]:
        """The same micro-batches for every evaluation; fewer packs where they do not divide."""
        evaluation = self.config.evaluation
        if evaluation is None:
            return []
        mixture = evaluation.mixture or heldout_mixture(self.config.phases)
        count = max(1, evaluation.packs // (self.config.engine.micro_batch * self.world))
        return list(islice(self._loader([PlanPhase(mixture)], prefetch=False).batches(), count))

    def _heldout_answers(self) -> "HeldOutAnswers | None":
        if self.config.evaluation is None or self.config.evaluation.answers is None:
            return None
        from step3vl.training.answers import HeldOutAnswers  # most runs need no inference

        return HeldOutAnswers(self.config.evaluation.answers, self.rank, self.world)

    def _provenance(self, model: Step3VLForConditionalGeneration) -> checkpoint.Provenance:
        return checkpoint.Provenance(
            zero_stage=self.config.engine.zero_stage,
            model=model.config.to_json_string(),
            tokenizer=fingerprint(self.tokenizer),
            dataset={dataset.url: dataset.fingerprint for dataset in self.loader.plan.datasets},
            configuration=self.config.model_dump(mode="json", exclude=_NOT_IN_PROVENANCE),
        )


def _plan_phase(phase: TrainingPhase, global_batch: int) -> PlanPhase:
    return PlanPhase(phase.mixture, phase.tokens, None if phase.steps is None else phase.steps * global_batch)
