"""The RL stage: `python -m step3vl.training.rl.trainer CONFIG`, in each rank (see `step3vl.training.launch`).

An iteration: each rank takes its stride of the prompts, its Ray actor samples responses, their truths reward them, the
trainer scores them, and critic and actor are updated; then the actor's new weights are sent to the Ray actor. All
random numbers depend on (seed, iteration, rank), so an iteration is a function of the weights, the optimizers and its
number, and a killed run resumes to the same result.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from step3vl.data.config import Config
from step3vl.data.dataset import DeadLetter
from step3vl.data.errors import UserError
from step3vl.data.storage import write_durably
from step3vl.data.tokens import TokenIds, fingerprint
from step3vl.model.checkpoint import load_model, suppressed_token_ids
from step3vl.model.modeling import Step3VLForConditionalGeneration
from step3vl.training import checkpoint
from step3vl.training.config import read_config
from step3vl.training.dead_letters import DeadLetterLog, check_unreadable
from step3vl.training.distributed import gather_interleaved, global_sums
from step3vl.training.engine import (
    DeepSpeedEngine,
    check_finite,
    gathered,
    join,
    leave,
    parameter_groups,
    start_engine,
)
from step3vl.training.launch import run_rank
from step3vl.training.rl.collection import Collection, DatasetSource, RolloutSource
from step3vl.training.rl.config import RLConfig
from step3vl.training.rl.episodes import EpisodeSource
from step3vl.training.rl.experience import Experience, gather, partition
from step3vl.training.rl.image_inputs import encode_images, preprocess_images
from step3vl.training.rl.metrics import prompt_rewards, rollout_metrics, summarize, summarize_by_task
from step3vl.training.rl.monitor import RLMonitor, Stopwatch
from step3vl.training.rl.networks import critic_of, trainable_weights
from step3vl.training.rl.rollout import PolicyRollout, RolloutPrompt
from step3vl.training.rl.rollout_actor import RolloutActor, ray_cluster_of_ranks, start_worker
from step3vl.training.rl.update import Networks, score, update_actor, update_critic

logger = logging.getLogger(__name__)

_ROLLOUTS, _ORDER, _HELDOUT = range(3)  # purposes of a seed; their numbers are part of it
_NOT_IN_PROVENANCE: Mapping[str, bool | set[str]] = {
    **dict.fromkeys(("output", "init", "iterations", "checkpoint", "evaluation"), True),
    "rollout": {"device", "timeout"},
    "data": {"max_unreadable"},
    "environments": {"max_unreadable"},
    "engine": {"gradient_checkpointing", "attention"},
}
"""What may change between a run and its resumption, because it does not change what an iteration learns."""


class Progress(Config):
    """Where a run stands: prompts, order and seeds follow from the iteration."""

    iteration: int
    """Iterations that are done."""
    unreadable: int = 0
    """Prompts that could not be used, over all ranks."""


def main(config_path: str) -> None:
    """Run the stage in this rank, from its last checkpoint if it has one.

    Raises:
        UserError: Something is wrong in the configuration, the data or the checkpoint.
    """
    config, device = read_config(config_path, RLConfig), join()
    config = config.with_processes(dist.get_world_size())
    with ray_cluster_of_ranks(cpus=config.engine.processes):
        RLTrainer(config, start_actor(config, device), device).run()
    leave()


def start_actor(config: RLConfig, device: torch.device) -> RolloutActor:
    """Start the rollout worker of this rank, inside `ray_cluster_of_ranks`.

    Args:
        config: The run.
        device: Where this rank trains.
    """
    name = config.rollout.device
    if name == "auto" or (name == "cuda" and device.type == "cuda"):
        name = str(device)
    # A rank waits while its worker samples, so the worker may use the rank's share of the cores.
    start = partial(start_worker, config.init, config.engine.precision, torch.get_num_threads(), name)
    traceback = Path(config.output) / f"rollout_error_{dist.get_rank()}.txt"
    return RolloutActor(start, config.rollout.timeout, traceback)


class RLTrainer:
    """One rank of a run: its prompts, its rollout worker, and its share of the two DeepSpeed engines.

    Args:
        config: The run.
        worker: This rank's rollout worker; see `start_actor`.
        device: Where this rank computes.

    Raises:
        UserError: Something is wrong in the configuration or the data.
    """

    def __init__(self, config: RLConfig, worker: RolloutActor, device: torch.device) -> None:
        self.config, self.worker = config, worker
        self.rank, self.world = dist.get_rank(), dist.get_world_size()
        self.output = Path(config.output)
        self.folder = self.output / checkpoint.FOLDER
        model, self.processor = load_model(config.init, dtype=torch.float32)
        check_finite(model, config.init)
        self.tokenizer = self.processor.plain_tokenizer()
        ids = TokenIds.of(self.tokenizer)
        self.source = self._open_source()
        self.provenance = checkpoint.Provenance(
            zero_stage=config.engine.zero_stage,
            model=model.config.to_json_string(),
            tokenizer=fingerprint(self.tokenizer),
            dataset=dict(self.source.origin),
            configuration=config.model_dump(mode="json", exclude=_NOT_IN_PROVENANCE),
        )
        if self.rank == 0:
            checkpoint.describe_model(model, self.processor, self.folder)
        critic = critic_of(model, keep_vision=not config.shares_features)
        suppress = torch.tensor(suppressed_token_ids(ids), device=device)
        self.networks = Networks(self._engine(model.to(device)), self._engine(critic.to(device)), suppress, ids.pad)
        self.iteration = 0  # how many are done; also the version of the policy
        self.unreadable = 0  # prompts that could not be used, over all ranks

    def _open_source(self) -> RolloutSource:
        config = self.config
        rest = self.worker, self.tokenizer, self.processor.spec, self.rank, self.world
        if config.environments is not None:
            return EpisodeSource(config, config.environments, *rest)
        assert config.data is not None
        return DatasetSource(config, config.data, *rest)

    def _engine(self, model: Step3VLForConditionalGeneration) -> DeepSpeedEngine:
        settings, optimizer = self.config.engine, self.config.optimizer
        engine = start_engine(model, parameter_groups(model, optimizer), optimizer, settings)
        engine.train()
        return engine

    @property
    def _engines(self) -> dict[str, DeepSpeedEngine]:
        return {checkpoint.MODEL: self.networks.actor, "critic": self.networks.critic}

    def run(self) -> None:
        """All remaining iterations, with an evaluation before the first and after the last, and the export."""
        config = self.config
        restored = checkpoint.load(self.folder, self._engines, self.provenance)
        if restored:
            progress = Progress.model_validate(restored)
            self.iteration, self.unreadable = progress.iteration, progress.unreadable
            logger.info("rl resumes from iteration %d", self.iteration)
        self.dead_letters = DeadLetterLog(self.output, self.iteration)
        self._sync(self.iteration)
        monitor = None
        if self.rank == 0:
            monitor = RLMonitor(self.output, self.iteration if restored else None, config.iterations)
        with monitor or nullcontext():
            if not restored:
                self._evaluate(monitor, "eval_start.json")
            while self.iteration < config.iterations:
                metrics = self._iterate()
                self.iteration += 1
                if monitor:
                    monitor.iteration(self.iteration, metrics)
                last = self.iteration == config.iterations
                if not last and config.evaluation.every and self.iteration % config.evaluation.every == 0:
                    self._evaluate(monitor)
                if last or self.iteration % config.checkpoint.every == 0:
                    self._save()
            self._evaluate(monitor, "eval_end.json")
        checkpoint.export(self.networks.actor, self.processor, self.output / "export")

    def _iterate(self) -> dict[str, float]:
        """Sample, reward, score, update, and send the new weights. Returns the metrics."""
        config, networks, stopwatch = self.config, self.networks, Stopwatch()
        seed = self._seed(_ROLLOUTS, self.iteration)
        collection = self.source.collect(self.iteration, self._sample, seed, stopwatch)
        self._count_unreadable(collection.dead_letters)
        failures = [failure for failure in gather_interleaved([collection.failure]) if failure]
        if failures:
            raise UserError(f"{failures[0]}; dead_letters.jsonl lists all of them")
        rollouts = collection.rollouts
        metrics = rollout_metrics(collection.graded, rollouts[: len(rollouts) - collection.filling])
        metrics["unreadable_samples"] = self.unreadable
        metrics["staleness"] = self.iteration - min(rollout.version for group in rollouts for rollout in group)
        with stopwatch("score"):
            experience = self._experience(collection)
            order = torch.Generator().manual_seed(self._seed(_ORDER, self.iteration))
            micro_batch = config.engine.micro_batch
            actor_parts = partition(experience, config.actor.minibatches, micro_batch, order)
            critic_parts = partition(experience, config.critic.minibatches, micro_batch, order)
            rewards = torch.tensor(collection.rewards)
            scores, score_metrics = score(networks, experience, actor_parts, rewards, config)
        metrics |= score_metrics
        if not metrics["trained_tokens"] and self.rank == 0:
            logger.warning("rl: no response of iteration %d is trained, all were truncated", self.iteration + 1)
        with stopwatch("update_critic"):
            metrics |= update_critic(networks, experience, scores, critic_parts, config)
        if self.iteration >= config.critic.warmup_iterations:
            with stopwatch("update_actor"):
                metrics |= update_actor(networks, experience, scores, actor_parts, config)
        with stopwatch("sync"):
            self._sync(self.iteration + 1)
        return metrics | stopwatch.seconds()

    def _count_unreadable(self, dead_letters: Sequence[DeadLetter]) -> None:
        """Count what could not be used over all ranks. All ranks call it.

        Raises:
            UserError: It is too much.
        """
        (unreadable,) = global_sums(len(dead_letters))
        if unreadable:
            self.unreadable += int(unreadable)
            self.dead_letters.append(self.iteration + 1, dead_letters)
            source, tried = self.source, self.source.tried(self.iteration + 1, self.unreadable)
            check_unreadable(self.unreadable, tried, source.max_unreadable, self.dead_letters.last, source.section)

    def _experience(self, collection: Collection) -> Experience:
        """Prompts, images and responses of this rank as tensors."""
        images, processor = [prompt.images for prompt in collection.prompts], self.processor.image_processor
        if self.config.shares_features:
            image_inputs = encode_images(self.networks.actor.module, processor, images)
        else:
            image_inputs = preprocess_images(processor, images)
        prompt_ids = [torch.tensor(prompt.token_ids) for prompt in collection.prompts]
        masks_truncated = self.config.algorithm.truncated == "mask"
        last = len(collection.prompts) - collection.filling
        trained = [
            place < last and not (masks_truncated and rollout.finish_reason == "length")
            for place, group in enumerate(collection.rollouts)
            for rollout in group
        ]
        return gather(prompt_ids, image_inputs, collection.rollouts, trained)

    def _sample(self, prompts: Sequence[RolloutPrompt], n: int, seed: int) -> list[list[PolicyRollout]]:
        """Sample n responses to each prompt with this rank's worker. All ranks call it.

        Where a worker was replaced, the weights are sent again by all ranks together.
        """
        rollouts, settings = None, self.config.rollout
        while True:
            if rollouts is None and not self.worker.needs_weights:
                rollouts = self.worker.generate(prompts, n, settings.max_new_tokens, settings.temperature, seed)
            (lost,) = global_sums(self.worker.needs_weights)
            if not lost and rollouts is not None:
                return rollouts
            self._sync(self.iteration)

    def _sync(self, version: int) -> None:
        """Send the policy's current weights to the rollout worker."""
        with gathered(self.networks.actor):
            weights = {name: tensor.cpu() for name, tensor in trainable_weights(self.networks.actor.module).items()}
        self.worker.load_weights(weights, version)

    def _evaluate(self, monitor: RLMonitor | None, name: str | None = None) -> None:
        """Measure the reward on held-out prompts, always the same ones with the same seeds; write it to `name`."""
        collection = self.source.evaluate(self._sample, self._seed(_HELDOUT, 0))
        (unreadable,) = global_sums(len(collection.dead_letters))
        if unreadable and not self.iteration:  # listed once, for every evaluation meets them again
            self.dead_letters.append(0, collection.dead_letters)
        graded = gather_interleaved(collection.graded)
        if not graded:
            url = ", ".join(self.source.origin)
            raise UserError(f"none of the held-out prompts of {url} can be used; see dead_letters.jsonl")
        if monitor:
            total, tasks = summarize(graded), summarize_by_task(graded)
            monitor.heldout(self.iteration, total, tasks)
            if name:
                counts = {"iteration": self.iteration, "unreadable_samples": int(unreadable)}
                result = {**counts, **total, "tasks": tasks, "results": prompt_rewards(graded)}
                write_durably(self.output / name, json.dumps(result, indent=1).encode())
        dist.barrier()

    def _save(self) -> None:
        """Iteration and engines are all of the state: prompts, order and seeds follow from the iteration."""
        checkpoint.save(
            self.folder,
            self.iteration,
            self._engines,
            Progress(iteration=self.iteration, unreadable=self.unreadable).model_dump(mode="json"),
            self.provenance,
            self.config.checkpoint.keep,
        )

    def _seed(self, purpose: int, number: int) -> int:
        """A seed for one purpose in one iteration of this rank."""
        sequence = np.random.SeedSequence([self.config.seed, purpose, number, self.rank])
        return int(sequence.generate_state(1)[0])


if __name__ == "__main__":
    run_rank(main)
