"""The one trainer: loader, DeepSpeed engine, schedule, monitor and checkpoints. Pretraining and SFT configure it."""

import logging
import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from step3vl.data.config import Config
from step3vl.data.errors import UserError
from step3vl.data.mixture import Mixture, Stretch
from step3vl.data.plan import Cursor
from step3vl.data.tokens import TokenIds, fingerprint, load_tokenizer
from step3vl.model import Step3VLForConditionalGeneration, Step3VLProcessor, load_model, tiny_config
from step3vl.training import checkpoint
from step3vl.training.batch import Batch
from step3vl.training.config import TrainConfig, accumulation
from step3vl.training.engine import backward, join, parameter_groups, set_learning_rate, start_engine, step
from step3vl.training.evaluate import heldout, validation_loss
from step3vl.training.loader import PackLoader
from step3vl.training.lost import DeadLetters, check_losses
from step3vl.training.monitor import Monitor
from step3vl.training.schedule import Phase, behind, learning_rate, spent

logger = logging.getLogger(__name__)

# What may change between a run and its resumption, because it does not change what is learned.
_FREE = {
    "output",
    "processes",
    "micro_batch",
    "workers",
    "cache_mb",
    "store",
    "max_lost",
    "accept_changed_data",
    "checkpoint_every",
    "keep",
    "log_every",
    "evaluation",
}


class Progress(Config):
    """Where a run stands. `tokens` were trained on; those of samples that could not be read are `lost_tokens`.

    The cursor is the place in the plan of the whole run; its `packs` alone says as much.
    """

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    lost_samples: int = 0
    lost_tokens: int = 0
    cursor: Cursor


def train(config: TrainConfig, title: str) -> None:
    """Train in this rank until the last phase is spent, from the latest checkpoint where there is one; then export.

    Raises UserError for anything wrong in the configuration, the data or the checkpoint, and for a loss that diverges.
    The process group is joined if it was not, and not left.
    """
    device = join()
    torch.manual_seed(config.seed)
    run = _Run(config, title, device)
    progress = run.resume()
    with Monitor(run.output, title, progress.step, config.log_every) if run.rank == 0 else nullcontext() as monitor:
        run.train(progress, monitor)
    checkpoint.export(run.engine, run.processor, run.output / "export")


def start_model(config: TrainConfig) -> tuple[Step3VLForConditionalGeneration, Step3VLProcessor]:
    """The model to train, float32 and whole, with its processor: a new one or that of `init`."""
    if config.init is not None:
        model, processor = load_model(config.init, dtype=torch.float32)
        return model.train(), processor
    assert config.model is not None and config.tokenizer is not None  # the configuration saw to it
    tokenizer = load_tokenizer(config.tokenizer)
    sizes = config.model.model_dump(exclude={"image"})
    image_token = TokenIds.of(tokenizer).image_patch
    shape = tiny_config(tokenizer.get_vocab_size(), config.model.image, image_token_id=image_token, **sizes)
    return Step3VLForConditionalGeneration(shape).train(), Step3VLProcessor.build(tokenizer, config.model.image)


class _Run:
    """The parts of a run of this rank."""

    def __init__(self, config: TrainConfig, title: str, device: torch.device) -> None:
        self.config, self.title, self.device = config, title, device
        self.output = Path(config.output)
        self.rank, self.world = dist.get_rank(), dist.get_world_size()
        try:
            self.accumulation = accumulation(config.global_batch, config.micro_batch, self.world)
        except ValueError as error:
            raise UserError(str(error)) from None
        model, self.processor = start_model(config)
        self.tokenizer = self.processor.plain_tokenizer()
        # Every phase's data is opened now: a mistake in the last one should not come to light after days.
        self.loader = self._loader([_stretch(phase, config.global_batch) for phase in config.phases])
        self.heldout = self._heldout()
        self.made_with = self._made_with(model)
        if self.rank == 0:
            checkpoint.describe_model(model, self.processor, self.output / checkpoint.FOLDER)
        self.engine = start_engine(
            model.to(device),
            parameter_groups(model, config.optimizer),
            config.optimizer,
            zero_stage=config.zero_stage,
            precision=config.precision,
            micro_batch=config.micro_batch,
            accumulation=self.accumulation,
        )
        self.dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32

    def resume(self) -> Progress:
        """Restore the latest checkpoint, if there is one."""
        folder, engines = self.output / checkpoint.FOLDER, {checkpoint.MODEL: self.engine}
        restored = checkpoint.load(folder, engines, self.made_with, self.config.accept_changed_data)
        if restored is None:
            return Progress(cursor=self.loader.plan.start)
        logger.info("%s goes on from step %d", self.title, restored["step"])
        return Progress.model_validate(restored)

    def train(self, progress: Progress, monitor: Monitor | None) -> None:
        """Train to the end of the last phase."""
        config, saved = self.config, progress.step
        batches = self.loader.batches(progress.cursor)
        letters = DeadLetters(self.output, progress.step)
        while len(micro_batches := list(islice(batches, self.accumulation))) == self.accumulation:
            before = progress.cursor
            progress, row = self._step(micro_batches, progress)
            letters.collect(progress.step, micro_batches, row["lost_samples"])
            done, last = self._behind(progress.cursor), progress.cursor.stretch == len(config.phases)
            if self.heldout and config.evaluation and (last or progress.step % config.evaluation.every == 0):
                row["evaluation"] = validation_loss(self.engine, self.heldout, self.device, self.dtype)
            if monitor is not None:  # before the checkpoint: a run that goes on from there has the row
                monitor.record(row, done)
            check_losses(progress.lost_samples, progress.cursor, config.max_lost, letters.last)
            if last or progress.step % config.checkpoint_every == 0:
                self._save(progress)
                saved = progress.step
            self._account(before, progress.cursor)
        if progress.step > saved:  # the data were spent before the phases were
            logger.warning("%s ends after step %d: every source is spent", self.title, progress.step)
            self._save(progress)

    def _behind(self, cursor: Cursor) -> float:
        """The share of the run that lies behind."""
        phases, share = self.config.phases, 0.0
        if cursor.stretch < len(phases):
            share = spent(phases[cursor.stretch], *self._within(cursor))
        return behind(phases, cursor.stretch, share)

    def _within(self, cursor: Cursor) -> tuple[int, int]:
        """Steps and tokens of the present phase."""
        return cursor.stretch_packs // self.config.global_batch, cursor.stretch_tokens

    def _account(self, before: Cursor, now: Cursor) -> None:
        """Say which sources a step has spent and, at the end of a phase, what every one has given."""
        for number, source in enumerate(self.loader.plan.sources):
            stream = now.streams[number]
            if before.streams[number].epoch < stream.epoch == source.epochs:
                logger.info("%s: %s is spent; the others take over its share", self.title, source)
            if before.stretch < now.stretch:
                gave = f"{stream.samples} samples, {stream.tokens} tokens in {stream.packs} packs"
                left_out = f"; {stream.oversized} samples were longer than a pack" if stream.oversized else ""
                logger.info("%s, phase %d: %s gave %s%s", self.title, now.stretch, source, gave, left_out)

    def _step(self, micro_batches: Sequence[Batch], progress: Progress) -> tuple[Progress, dict[str, Any]]:
        """One optimiser step over all ranks; returns where the run then stands and the row of its metrics."""
        start = time.perf_counter()
        weight, tokens, lost_samples, lost_tokens = self._sum(
            sum(batch.weight for batch in micro_batches),
            sum(batch.tokens for batch in micro_batches),
            sum(len(batch.dead) for batch in micro_batches),
            sum(batch.lost_tokens for batch in micro_batches),
        )
        number = progress.cursor.stretch
        rate = learning_rate(self.config.phases[number], *self._within(progress.cursor))
        set_learning_rate(self.engine, rate)
        own, norm = torch.zeros((), device=self.device), 0.0
        for batch in micro_batches:
            output = self.engine(**batch.on(self.device, self.dtype))
            loss = output.loss * output.loss_weight
            own += loss.detach()
            backward(self.engine, loss, weight)
            norm = step(self.engine)
        loss_mean = self._sum(float(own))[0] / max(weight, 1e-8)
        if not math.isfinite(loss_mean):
            raise UserError(
                f"{self.title}: the loss became {loss_mean} at step {progress.step + 1}, at a learning rate of "
                f"{rate:.2e}; lower lr_start or optimizer.grad_clip, with another output"
            )
        progress = Progress(
            step=progress.step + 1,
            tokens=progress.tokens + int(tokens),
            seconds=progress.seconds + time.perf_counter() - start,
            lost_samples=progress.lost_samples + int(lost_samples),
            lost_tokens=progress.lost_tokens + int(lost_tokens),
            cursor=micro_batches[-1].cursor,
        )
        row = {"step": progress.step, "phase": number, "loss": loss_mean, "lr": rate, "grad_norm": norm}
        row |= {"tokens": progress.tokens, "seconds": round(progress.seconds, 3), "packs": progress.cursor.packs}
        return progress, {**row, "lost_samples": progress.lost_samples}

    def _sum(self, *values: float) -> list[float]:
        """Each over all ranks."""
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return total.tolist()

    def _save(self, progress: Progress) -> None:
        checkpoint.save(
            self.output / checkpoint.FOLDER,
            progress.step,
            {checkpoint.MODEL: self.engine},
            progress.model_dump(mode="json"),
            self.made_with,
            self.config.keep,
        )

    def _loader(self, stretches: Sequence[Stretch], *, ahead: bool = True) -> PackLoader:
        config = self.config
        return PackLoader(
            [stretch._replace(mixture=self._of_kind(stretch.mixture)) for stretch in stretches],
            capacity=config.capacity,
            seed=config.seed,
            tokenizer=self.tokenizer,
            image_processor=self.processor.image_processor,
            micro_batch=config.micro_batch,
            rank=self.rank,
            world=self.world,
            group=config.global_batch,
            workers=config.workers if ahead else 0,
            cache_mb=config.cache_mb if ahead else 0,
            store=config.store,
        )

    def _of_kind(self, mixture: Mixture) -> Mixture:
        kind = self.config.sample_kind
        if kind is None:
            return mixture
        return Mixture(sources=tuple(source.model_copy(update={"kind": kind}) for source in mixture.sources))

    def _heldout(self) -> list[Batch]:
        """The same micro-batches for every evaluation; fewer packs where they do not divide."""
        evaluation = self.config.evaluation
        if evaluation is None:
            return []
        loader = self._loader([Stretch(evaluation.mixture or heldout(self.config.phases))], ahead=False)
        number = max(1, evaluation.packs // (self.config.micro_batch * self.world))
        return list(islice(loader.batches(), number))

    def _made_with(self, model: Step3VLForConditionalGeneration) -> dict[str, Any]:
        """What a checkpoint must have been made with to be resumed by this run."""
        return {
            "zero_stage": self.config.zero_stage,
            "model": model.config.to_json_string(),
            "tokenizer": fingerprint(self.tokenizer),
            "dataset": {dataset.url: dataset.fingerprint for dataset in self.loader.plan.datasets},
            "configuration": self.config.model_dump(mode="json", exclude=_FREE),
        }


def _stretch(phase: Phase, global_batch: int) -> Stretch:
    return Stretch(phase.mixture, phase.tokens, None if phase.steps is None else phase.steps * global_batch)
