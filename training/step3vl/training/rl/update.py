"""One iteration's arithmetic: score the rollouts, make advantages, take the optimizer steps of actor and critic."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from step3vl.training.engine import backward, set_learning_rate, step
from step3vl.training.rl.advantage import explained_variance, gae, global_sums, moments, normalise
from step3vl.training.rl.config import RLConfig
from step3vl.training.rl.experience import Experience, Inputs, collate
from step3vl.training.rl.loss import policy_loss, value_loss
from step3vl.training.rl.networks import entropies, response_logprobs, response_values
from step3vl.training.rl.rewards import token_rewards

Partition = list[list[Tensor]]  # mini-batches of micro-batches of rows


@dataclass(frozen=True)
class Networks:
    """The two DeepSpeed engines, the ids that the policy never says, and the id that pads."""

    actor: Any
    critic: Any
    suppress: Tensor
    pad: int


@dataclass(frozen=True)
class Scored:
    """`(B, R)` constants of an iteration, all fixed before its first update and zero outside the mask."""

    old_logprobs: Tensor
    old_values: Tensor
    advantages: Tensor
    targets: Tensor


def score(
    networks: Networks, experience: Experience, partition: Partition, rewards: Tensor, config: RLConfig
) -> tuple[Scored, dict[str, float]]:
    """Old log-probabilities and values by the networks as they stand, and from them advantages and value targets.

    Runs over the micro-batches that the actor will be updated on, so that the first ratio is one to the last bit.
    `rewards` `(B,)` are those of whole responses.
    """
    width = experience.tokens.shape[1]
    logprobs, entropy, values = (torch.zeros(len(experience), width) for _ in range(3))
    with torch.no_grad():
        for rows in (micro for minibatch in partition for micro in minibatch):
            inputs, mask = _batch(networks, experience, rows)
            distribution = (mask, config.temperature, networks.suppress)
            new_logprobs, hidden = response_logprobs(networks.actor, inputs, *distribution)
            new_entropy = entropies(networks.actor.module, hidden, *distribution)
            new_values = response_values(networks.critic, inputs)
            for table, part in ((logprobs, new_logprobs), (entropy, new_entropy), (values, new_values)):
                table[rows] = F.pad(part.masked_fill(~mask, 0.0).cpu(), (0, width - part.shape[1]))
    per_token = token_rewards(rewards, experience.lengths, width)
    advantages, targets = gae(per_token, values, experience.mask, config.gamma, config.lam)
    scored = Scored(logprobs, values, normalise(advantages, experience.mask), targets)
    return scored, {
        "entropy": moments(entropy, experience.mask)[0],
        "value_mean": moments(values, experience.mask)[0],
        "advantage_std": moments(advantages, experience.mask)[1],
        "explained_variance": explained_variance(values, targets, experience.mask),
    }


def update_actor(
    networks: Networks, experience: Experience, scored: Scored, partition: Partition, config: RLConfig
) -> dict[str, float]:
    """One optimizer step for each mini-batch. Returns means over response tokens, and the largest gradient norm."""
    sums: dict[str, float] = defaultdict(float)
    total, norm = 0.0, 0.0
    for minibatch, tokens in _minibatches(experience, partition):
        for rows in _micro_batches(networks.actor, minibatch):
            inputs, mask = _batch(networks, experience, rows)
            logprobs, _ = response_logprobs(networks.actor, inputs, mask, config.temperature, networks.suppress)
            result = policy_loss(
                logprobs,
                _rows(scored.old_logprobs, rows, mask),
                _rows(experience.logprobs, rows, mask),
                _rows(scored.advantages, rows, mask),
                mask,
                clip=config.clip,
                tis_cap=config.tis_cap,
                importance=config.importance,
            )
            backward(networks.actor, result.loss_sum, tokens)
            for name, value in {**result.sums, "policy_loss": result.loss_sum.item()}.items():
                sums[name] += value
        total += tokens
        norm = max(norm, _step(networks.actor, config.actor_lr, config.lr_warmup))
    names = sorted(sums)  # the same on every rank, for all take part in the same mini-batches
    means = [value / total for value in global_sums(*(sums[name] for name in names))]
    return {**dict(zip(names, means, strict=True)), "actor_grad_norm": norm}


def update_critic(
    networks: Networks, experience: Experience, scored: Scored, partition: Partition, config: RLConfig
) -> dict[str, float]:
    """One optimizer step for each mini-batch, towards targets that stay what they were before the first one."""
    loss, total, norm = 0.0, 0.0, 0.0
    for minibatch, tokens in _minibatches(experience, partition):
        for rows in _micro_batches(networks.critic, minibatch):
            inputs, mask = _batch(networks, experience, rows)
            loss_sum = value_loss(
                response_values(networks.critic, inputs),
                _rows(scored.old_values, rows, mask),
                _rows(scored.targets, rows, mask),
                mask,
                clip=config.value_clip,
            )
            backward(networks.critic, loss_sum, tokens)
            loss += loss_sum.item()
        total += tokens
        norm = max(norm, _step(networks.critic, config.critic_lr, config.lr_warmup))
    return {"value_loss": global_sums(loss)[0] / max(total, 1.0), "critic_grad_norm": norm}


def _minibatches(experience: Experience, partition: Partition) -> Iterator[tuple[list[Tensor], float]]:
    """The mini-batches with their trained tokens over all ranks; those that have none anywhere are left out."""
    for minibatch in partition:
        (tokens,) = global_sums(experience.mask[torch.cat(minibatch)].sum().item())
        if tokens > 0:
            yield minibatch, tokens


def _micro_batches(engine: Any, minibatch: list[Tensor]) -> Iterator[Tensor]:
    """The micro-batches, telling the DeepSpeed engine which is the last before its optimizer step."""
    for number, rows in enumerate(minibatch, start=1):
        engine.set_gradient_accumulation_boundary(number == len(minibatch))
        yield rows


def _batch(networks: Networks, experience: Experience, rows: Tensor) -> tuple[Inputs, Tensor]:
    """A micro-batch and its mask `(b, r)`."""
    inputs = collate(experience, rows, networks.pad, networks.suppress.device)
    return inputs, experience.mask[rows, : inputs.responses.shape[1]].to(networks.suppress.device)


def _rows(table: Tensor, rows: Tensor, mask: Tensor) -> Tensor:
    """Of a `(B, R)` table, what lies under the mask `(b, r)` of a micro-batch."""
    return table[rows, : mask.shape[1]].to(mask.device)


def _step(engine: Any, rate: float, warmup: int) -> float:
    """An optimizer step at the warmed-up rate. Returns the gradient's norm before clipping."""
    set_learning_rate(engine, rate * min(1.0, (engine.global_steps + 1) / (warmup + 1)))
    return step(engine)
