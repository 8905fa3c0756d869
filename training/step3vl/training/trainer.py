"""The one trainer: loader, DeepSpeed engine, schedule, monitor and checkpoints. Pretraining and SFT configure it."""

import logging
import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from step3vl.data.errors import UserError
from step3vl.data.plan import Mixture
from step3vl.data.tokens import TokenIds, fingerprint, load_tokenizer
from step3vl.model import Step3VLForConditionalGeneration, Step3VLProcessor, load_model, tiny_config
from step3vl.training import checkpoint
from step3vl.training.batch import Batch
from step3vl.training.config import TrainConfig, accumulation
from step3vl.training.engine import backward, join, parameter_groups, set_learning_rate, start_engine, step
from step3vl.training.evaluate import heldout, validation_loss
from step3vl.training.loader import PackLoader
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
    "checkpoint_every",
    "keep",
    "log_every",
    "evaluation",
}


@dataclass(frozen=True)
class Progress:
    """Where a run stands. `packs` and `phase_tokens` were taken by all ranks in the current phase."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    phase: int = 0
    packs: int = 0
    phase_tokens: int = 0


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
        while progress.phase < len(config.phases):
            progress = run.train_phase(progress, monitor)
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
        self.loaders = [self._loader(phase.mixture, config.seed + n) for n, phase in enumerate(config.phases)]
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
        folder = self.output / checkpoint.FOLDER
        restored = checkpoint.load(folder, {checkpoint.MODEL: self.engine}, self.made_with)
        if restored is None:
            return Progress()
        logger.info("%s goes on from step %d", self.title, restored["step"])
        return Progress(**restored)

    def train_phase(self, progress: Progress, monitor: Monitor | None) -> Progress:
        """Train to the end of the current phase; returns the start of the next one."""
        config, phase = self.config, self.config.phases[progress.phase]
        batches = self.loaders[progress.phase].batches(progress.packs)
        while (share := self._spent(phase, progress)) < 1:
            progress, row = self._step(phase, batches, progress)
            share = self._spent(phase, progress)
            last = share == 1 and progress.phase == len(config.phases) - 1
            if self.heldout and config.evaluation and (last or progress.step % config.evaluation.every == 0):
                row["evaluation"] = validation_loss(self.engine, self.heldout, self.device, self.dtype)
            if share == 1:
                progress = replace(progress, phase=progress.phase + 1, packs=0, phase_tokens=0)
            if monitor is not None:  # before the checkpoint: a run that goes on from there has the row
                monitor.record(row, behind(config.phases, progress.phase, share % 1))
            if last or progress.step % config.checkpoint_every == 0:
                self._save(progress)
            if share == 1:
                break
        return progress

    def _spent(self, phase: Phase, progress: Progress) -> float:
        return spent(phase, progress.packs // self.config.global_batch, progress.phase_tokens)

    def _step(self, phase: Phase, batches: Iterator[Batch], progress: Progress) -> tuple[Progress, dict[str, Any]]:
        """One optimiser step over all ranks; returns where the run then stands and the row of its metrics."""
        start = time.perf_counter()
        micro_batches = list(islice(batches, self.accumulation))
        weight = self._sum(sum(batch.weight for batch in micro_batches))
        rate = learning_rate(phase, progress.packs // self.config.global_batch, progress.phase_tokens)
        set_learning_rate(self.engine, rate)
        own, norm = torch.zeros((), device=self.device), 0.0
        for batch in micro_batches:
            output = self.engine(**batch.on(self.device, self.dtype))
            loss = output.loss * output.loss_weight
            own += loss.detach()
            backward(self.engine, loss, weight)
            norm = step(self.engine)
        loss_mean = self._sum(float(own)) / max(weight, 1e-8)
        if not math.isfinite(loss_mean):
            raise UserError(
                f"{self.title}: the loss became {loss_mean} at step {progress.step + 1}, at a learning rate of "
                f"{rate:.2e}; lower lr_start or optimizer.grad_clip, with another output"
            )
        tokens = sum(batch.tokens for batch in micro_batches)
        number = progress.phase
        progress = replace(
            progress,
            step=progress.step + 1,
            tokens=progress.tokens + tokens,
            seconds=progress.seconds + time.perf_counter() - start,
            packs=progress.packs + self.config.global_batch,
            phase_tokens=progress.phase_tokens + tokens,
        )
        row = {"step": progress.step, "phase": number, "loss": loss_mean, "lr": rate, "grad_norm": norm}
        return progress, {**row, "tokens": progress.tokens, "seconds": round(progress.seconds, 3)}

    def _sum(self, value: float) -> float:
        """Over all ranks."""
        total = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return float(total)

    def _save(self, progress: Progress) -> None:
        checkpoint.save(
            self.output / checkpoint.FOLDER,
            progress.step,
            {checkpoint.MODEL: self.engine},
            asdict(progress),
            self.made_with,
            self.config.keep,
        )

    def _loader(self, mixture: Mixture, seed: int, *, ahead: bool = True) -> PackLoader:
        config, kind = self.config, self.config.sample_kind
        if kind is not None:
            mixture = Mixture(sources=tuple(s.model_copy(update={"kind": kind}) for s in mixture.sources))
        return PackLoader(
            mixture,
            capacity=config.capacity,
            seed=seed,
            tokenizer=self.tokenizer,
            image_processor=self.processor.image_processor,
            micro_batch=config.micro_batch,
            rank=self.rank,
            world=self.world,
            workers=config.workers if ahead else 0,
            cache_mb=config.cache_mb if ahead else 0,
        )

    def _heldout(self) -> list[Batch]:
        """The same micro-batches for every evaluation; fewer packs where they do not divide."""
        evaluation = self.config.evaluation
        if evaluation is None:
            return []
        loader = self._loader(evaluation.mixture or heldout(self.config.phases), self.config.seed, ahead=False)
        number = max(1, evaluation.packs // (self.config.micro_batch * self.world))
        return list(islice(loader.batches(), number))

    def _made_with(self, model: Step3VLForConditionalGeneration) -> dict[str, Any]:
        """What a checkpoint must have been made with to be resumed by this run."""
        return {
            "zero_stage": self.config.zero_stage,
            "model": model.config.to_json_string(),
            "tokenizer": fingerprint(self.tokenizer),
            "dataset": [dataset.sha256 for loader in self.loaders for dataset in loader.plan.datasets],
            "configuration": self.config.model_dump(mode="json", exclude=_FREE),
        }
