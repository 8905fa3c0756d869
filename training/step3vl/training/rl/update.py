"""The arithmetic of an iteration: score the rollouts, compute advantages, update actor and critic."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from step3vl.training.distributed import global_sums
from step3vl.training.engine import DeepSpeedEngine, backward, set_learning_rate, step
from step3vl.training.rl.advantage import explained_variance, gae, moments, normalise
from step3vl.training.rl.config import RLConfig
from step3vl.training.rl.experience import Experience, NetworkInputs, collate
from step3vl.training.rl.loss import policy_loss, value_loss
from step3vl.training.rl.networks import entropies, response_logprobs, response_values
from step3vl.training.rl.rewards import token_rewards

Partition = list[list[Tensor]]
"""Mini-batches of micro-batches, as numbers of rows; see `partition`."""


@dataclass(frozen=True)
class Networks:
    """The two DeepSpeed engines and the ids that they need."""

    actor: DeepSpeedEngine
    """Engine of the policy."""
    critic: DeepSpeedEngine
    """Engine of the value model."""
    suppress: Tensor
    """Ids that are never sampled."""
    pad: int
    """Id of padding."""


@dataclass(frozen=True)
class Scores:
    """`(B, R)` constants of an iteration, all computed before its first update and zero outside the mask."""

    old_logprobs: Tensor
    """Log-probabilities by the trainer's policy."""
    old_values: Tensor
    """Values by the critic."""
    advantages: Tensor
    """Normalised advantages."""
    targets: Tensor
    """Value targets."""


def score(
    networks: Networks, experience: Experience, partition: Partition, rewards: Tensor, config: RLConfig
) -> tuple[Scores, dict[str, float]]:
    """Compute old log-probabilities and values by the current networks, and from them advantages and value targets.

    Runs over the micro-batches that the actor will be updated on, so that the first ratio is exactly 1.

    Args:
        networks: Actor and critic.
        experience: The rollouts of this rank.
        partition: Mini-batches of the actor.
        rewards: `(B,)` rewards of whole responses.
        config: The run.

    Returns:
        The scores and their metrics over all ranks.
    """
    width = experience.tokens.shape[1]
    logprobs, entropy, values = (torch.zeros(len(experience), width) for _ in range(3))
    with torch.no_grad():
        for rows in (micro for minibatch in partition for micro in minibatch):
            inputs, mask = _batch(networks, experience, rows)
            distribution = (mask, config.rollout.temperature, networks.suppress)
            new_logprobs, hidden = response_logprobs(networks.actor, inputs, *distribution)
            new_entropy = entropies(networks.actor.module, hidden, *distribution)
            new_values = response_values(networks.critic, inputs)
            for table, part in ((logprobs, new_logprobs), (entropy, new_entropy), (values, new_values)):
                table[rows] = F.pad(part.masked_fill(~mask, 0.0).cpu(), (0, width - part.shape[1]))
    per_token = token_rewards(rewards, experience.lengths, width)
    advantages, targets = gae(per_token, values, experience.mask, config.algorithm.gamma, config.algorithm.lam)
    scores = Scores(logprobs, values, normalise(advantages, experience.mask), targets)
    value_mean, _, trained_tokens = moments(values, experience.mask)
    return scores, {
        "trained_tokens": trained_tokens,
        "entropy": moments(entropy, experience.mask)[0],
        "value_mean": value_mean,
        "advantage_std": moments(advantages, experience.mask)[1],
        "explained_variance": explained_variance(values, targets, experience.mask),
    }


def update_actor(
    networks: Networks, experience: Experience, scores: Scores, partition: Partition, config: RLConfig
) -> dict[str, float]:
    """Take one optimizer step of the actor for each mini-batch.

    Returns:
        Means over response tokens of all ranks, and the largest gradient norm.
    """
    algorithm = config.algorithm
    sums: dict[str, float] = defaultdict(float)
    total, norm = 0.0, 0.0
    for minibatch, tokens in _minibatches(experience, partition):
        for rows in _micro_batches(networks.actor, minibatch):
            inputs, mask = _batch(networks, experience, rows)
            logprobs, _ = response_logprobs(
                networks.actor, inputs, mask, config.rollout.temperature, networks.suppress
            )
            result = policy_loss(
                logprobs,
                _rows(scores.old_logprobs, rows, mask),
                _rows(experience.logprobs, rows, mask),
                _rows(scores.advantages, rows, mask),
                mask,
                clip=algorithm.clip,
                tis_cap=algorithm.tis_cap,
                importance=algorithm.importance,
            )
            backward(networks.actor, result.loss_sum, tokens)
            for name, value in {**result.sums, "policy_loss": result.loss_sum.item()}.items():
                sums[name] += value
        total += tokens
        norm = max(norm, _step(networks.actor, config.actor.lr, config.optimizer.warmup_steps))
    names = sorted(sums)  # the same on every rank, for all take part in the same mini-batches
    means = [value / total for value in global_sums(*(sums[name] for name in names))]
    return {**dict(zip(names, means, strict=True)), "actor_grad_norm": norm}


def update_critic(
    networks: Networks, experience: Experience, scores: Scores, partition: Partition, config: RLConfig
) -> dict[str, float]:
    """Take one optimizer step of the critic for each mini-batch, towards targets that stay fixed.

    Returns:
        The mean loss over response tokens of all ranks, and the largest gradient norm.
    """
    loss, total, norm = 0.0, 0.0, 0.0
    for minibatch, tokens in _minibatches(experience, partition):
        for rows in _micro_batches(networks.critic, minibatch):
            inputs, mask = _batch(networks, experience, rows)
            loss_sum = value_loss(
                response_values(networks.critic, inputs),
                _rows(scores.old_values, rows, mask),
                _rows(scores.targets, rows, mask),
                mask,
                clip=config.algorithm.value_clip,
            )
            backward(networks.critic, loss_sum, tokens)
            loss += loss_sum.item()
        total += tokens
        norm = max(norm, _step(networks.critic, config.critic.lr, config.optimizer.warmup_steps))
    return {"value_loss": global_sums(loss)[0] / max(total, 1.0), "critic_grad_norm": norm}


def _minibatches(experience: Experience, partition: Partition) -> Iterator[tuple[list[Tensor], float]]:
    """The mini-batches with their trained tokens over all ranks, without those that have none on any rank."""
    for minibatch in partition:
        (tokens,) = global_sums(experience.mask[torch.cat(minibatch)].sum().item())
        if tokens > 0:
            yield minibatch, tokens


def _micro_batches(engine: DeepSpeedEngine, minibatch: list[Tensor]) -> Iterator[Tensor]:
    """The micro-batches; marks for the DeepSpeed engine which is the last before its optimizer step."""
    for number, rows in enumerate(minibatch, start=1):
        engine.set_gradient_accumulation_boundary(number == len(minibatch))
        yield rows


def _batch(networks: Networks, experience: Experience, rows: Tensor) -> tuple[NetworkInputs, Tensor]:
    """A micro-batch and its mask `(b, r)`."""
    inputs = collate(experience, rows, networks.pad, networks.suppress.device)
    return inputs, experience.mask[rows, : inputs.responses.shape[1]].to(networks.suppress.device)


def _rows(table: Tensor, rows: Tensor, mask: Tensor) -> Tensor:
    """The part of a `(B, R)` table that belongs to the mask `(b, r)` of a micro-batch."""
    return table[rows, : mask.shape[1]].to(mask.device)


def _step(engine: DeepSpeedEngine, rate: float, warmup: int) -> float:
    """Take an optimizer step at the warmed-up rate. Returns the norm of the gradient before clipping."""
    set_learning_rate(engine, rate * min(1.0, (engine.global_steps + 1) / (warmup + 1)))
    return step(engine)
