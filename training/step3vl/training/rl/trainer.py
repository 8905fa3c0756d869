"""The RL stage: `python -m step3vl.training.rl.trainer CONFIG`, in each rank (see `step3vl.training.launch`).

An iteration: each rank takes its stride of the prompts, its Ray actor samples responses, their truths reward them, the
trainer scores them, and critic and actor are updated; then the actor's new weights go back to the Ray actor. All that
is random is drawn from (seed, iteration, rank), so an iteration is a function of the weights, the optimizers and its
number, and a run that was killed goes on as if nothing had happened.
"""

import json
import logging
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from step3vl.data.dataset import Dataset
from step3vl.data.errors import UserError
from step3vl.data.files import write_durably
from step3vl.data.sample import Sample
from step3vl.data.tokens import TokenIds, fingerprint
from step3vl.model.checkpoint import load_model, unspoken
from step3vl.model.modeling import Step3VLForConditionalGeneration
from step3vl.training import checkpoint
from step3vl.training.config import OptimizerConfig, read_config
from step3vl.training.engine import gathered, join, leave, parameter_groups, start_engine
from step3vl.training.launch import run_rank
from step3vl.training.rl.collect import all_ranks, experience_of, reward, rollout_metrics
from step3vl.training.rl.config import RLConfig
from step3vl.training.rl.evaluate import summary
from step3vl.training.rl.experience import partition
from step3vl.training.rl.networks import critic_of, trainable_weights
from step3vl.training.rl.prompts import PromptPool, prompt_of
from step3vl.training.rl.record import Clock, Record
from step3vl.training.rl.rollout import Rollout, ray_session, start_worker
from step3vl.training.rl.update import Networks, score, update_actor, update_critic

logger = logging.getLogger(__name__)

_ROLLOUTS, _ORDER, _HELDOUT = range(3)  # what a seed is for
# What may differ between a run and its resumption without changing what an iteration learns.
_FREE = {"output", "init", "iterations", "checkpoint_every", "eval_every", "heldout_prompts", "heldout_samples"}


def main(config_path: str) -> None:
    """Run the stage in this rank, from its last checkpoint if it has one. Raises UserError."""
    config = read_config(config_path, RLConfig)
    device = join()
    if dist.get_world_size() != config.processes:
        raise UserError(f"{config_path}: processes is {config.processes}, but {dist.get_world_size()} were started")
    with ray_session(cpus=config.processes):
        # A rank waits while its worker samples, so the worker may use the rank's share of the cores.
        worker = start_worker(config.init, config.precision, torch.get_num_threads())
        Trainer(config, worker, device).run()
    leave()


class Trainer:
    """One rank of a run: its prompts, its rollout worker, and its share of the two DeepSpeed engines."""

    def __init__(self, config: RLConfig, worker: Any, device: torch.device) -> None:
        self.config, self.worker = config, worker
        self.rank, self.world = dist.get_rank(), dist.get_world_size()
        self.output = Path(config.output)
        self.folder = self.output / checkpoint.FOLDER
        dataset = Dataset.open(config.dataset)
        self.prompts = PromptPool(dataset, "train", config.tasks, config.seed)
        self.heldout = PromptPool(dataset, "heldout", config.tasks, config.seed)
        model, self.processor = load_model(config.init, dtype=torch.float32)
        self.tokenizer = self.processor.plain_tokenizer()
        ids = TokenIds.of(self.tokenizer)
        self.made_with = {
            "configuration": config.model_dump(mode="json", exclude=_FREE),
            "dataset": dataset.fingerprint,
            "tokenizer": fingerprint(self.tokenizer),
            "model": model.config.to_json_string(),
            "zero_stage": config.zero_stage,
        }
        if self.rank == 0:
            checkpoint.describe_model(model, self.processor, self.folder)
        critic = critic_of(model, keep_vision=not config.shares_features)
        suppress = torch.tensor(unspoken(ids), device=device)
        self.networks = Networks(self._engine(model.to(device)), self._engine(critic.to(device)), suppress, ids.pad)
        self.iteration = 0  # how many are done; also the version of the policy

    def _engine(self, model: Step3VLForConditionalGeneration) -> Any:
        config = self.config
        optimizer = OptimizerConfig(weight_decay=0.0, grad_clip=config.grad_clip, lr_scale=config.lr_scale)
        engine = start_engine(
            model,
            parameter_groups(model, optimizer),
            optimizer,
            zero_stage=config.zero_stage,
            precision=config.precision,
            micro_batch=config.micro_batch,
        )
        engine.train()
        return engine

    @property
    def _engines(self) -> dict[str, Any]:
        return {checkpoint.MODEL: self.networks.actor, "critic": self.networks.critic}

    def run(self) -> None:
        """All iterations that are left, with an evaluation before the first and after the last, and the export."""
        config = self.config
        restored = checkpoint.load(self.folder, self._engines, self.made_with)
        if restored:
            self.iteration = restored["iteration"]
            logger.info("rl goes on from iteration %d", self.iteration)
        self._sync()
        record = None
        if self.rank == 0:
            record = Record(self.output, self.iteration if restored else None, config.iterations)
        with record or nullcontext():
            if not restored:
                self._evaluate(record, "eval_start.json")
            while self.iteration < config.iterations:
                metrics = self._iterate()
                self.iteration += 1
                if record:
                    record.iteration(self.iteration, metrics)
                last = self.iteration == config.iterations
                if not last and config.eval_every and self.iteration % config.eval_every == 0:
                    self._evaluate(record)
                if last or self.iteration % config.checkpoint_every == 0:
                    self._save()
            self._evaluate(record, "eval_end.json")
        checkpoint.export(self.networks.actor, self.processor, self.output / "export")

    def _iterate(self) -> dict[str, Any]:
        """Sample, reward, score, update, and hand over the new weights. Returns the metrics."""
        config, networks, clock = self.config, self.networks, Clock()
        rows = self.prompts.rows(self.iteration * config.prompts_per_iteration, config.prompts_per_iteration)
        samples = [self.prompts.read(row) for row in rows[self.rank :: self.world]]
        with clock("generate"):
            rollouts = self._ask(samples, config.rollouts_per_prompt, self._seed(_ROLLOUTS, self.iteration))
        results = reward(samples, rollouts)
        metrics = rollout_metrics(results, rollouts)
        metrics["staleness"] = self.iteration - min(one.version for group in rollouts for one in group)
        with clock("score"):
            experience = experience_of(
                networks.actor.module,
                self.processor,
                self.tokenizer,
                samples,
                rollouts,
                results,
                share_features=config.shares_features,
                leave_out_truncated=config.truncated == "mask",
            )
            order = torch.Generator().manual_seed(self._seed(_ORDER, self.iteration))
            parts = partition(experience, config.actor_minibatches, config.micro_batch, order)
            critic_parts = partition(experience, config.critic_minibatches, config.micro_batch, order)
            rewards = torch.tensor([one.value for result in results for one in result.graded])
            scored, measured = score(networks, experience, parts, rewards, config)
        metrics |= measured
        with clock("update_critic"):
            metrics |= update_critic(networks, experience, scored, critic_parts, config)
        if self.iteration >= config.critic_warmup:
            with clock("update_actor"):
                metrics |= update_actor(networks, experience, scored, parts, config)
        with clock("sync"):
            self._sync(self.iteration + 1)
        return metrics | clock.seconds()

    # Ray is imported late, for `ray_session` must set its environment first.
    def _ask(self, samples: Sequence[Sample], n: int, seed: int) -> list[list[Rollout]]:
        """Responses by this rank's worker, n to each sample's prompt."""
        import ray

        prompts = [prompt_of(sample) for sample in samples]
        config = self.config
        return ray.get(self.worker.generate.remote(prompts, n, config.max_new_tokens, config.temperature, seed))

    def _sync(self, version: int | None = None) -> None:
        """Give the policy's present weights to the rollout worker."""
        import ray

        with gathered(self.networks.actor):
            weights = {name: tensor.cpu() for name, tensor in trainable_weights(self.networks.actor.module).items()}
        ray.get(self.worker.load_weights.remote(weights, self.iteration if version is None else version))

    def _evaluate(self, record: Record | None, name: str | None = None) -> None:
        """Mean reward on held-out prompts, always the same ones with the same seeds; kept as `output/name`."""
        rows = self.heldout.first_of_each_task(self.config.heldout_prompts)[self.rank :: self.world]
        samples = [self.heldout.read(row) for row in rows]
        rollouts = self._ask(samples, self.config.heldout_samples, self._seed(_HELDOUT, 0)) if samples else []
        result = summary(all_ranks(reward(samples, rollouts)))
        if record:
            record.heldout(self.iteration, result)
            if name:
                found = json.dumps({"iteration": self.iteration, **result}, indent=1)
                write_durably(self.output / name, found.encode())
        dist.barrier()

    def _save(self) -> None:
        """Iteration and engines are all of the state: prompts, order and seeds follow from the iteration."""
        progress = {"iteration": self.iteration}
        checkpoint.save(self.folder, self.iteration, self._engines, progress, self.made_with, keep=2)

    def _seed(self, purpose: int, number: int) -> int:
        """A seed of its own for each purpose, iteration and rank."""
        sequence = np.random.SeedSequence([self.config.seed, purpose, number, self.rank])
        return int(sequence.generate_state(1)[0])


if __name__ == "__main__":
    run_rank(main)
