"""The two losses of PPO and the metrics beside them; pure functions of `(B, R)` tensors.

Three policies appear: `rollout`, whose engine sampled the tokens; `old`, the trainer's own probabilities of these
tokens before the first update of the iteration; and the current one. In exact arithmetic the first two are equal.

A loss here is a sum over response tokens. The trainer divides it by the number of response tokens of the whole
mini-batch over all ranks and micro-batches; so neither the micro-batch size nor the padding changes a gradient.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from step3vl.training.rl.config import Importance

MAX_LOG_RATIO = 20.0
"""Log ratios are clamped to it: e^20 is far beyond every clip and cap, and still far from overflow."""


@dataclass(frozen=True)
class PolicyLoss:
    """Sums over the response tokens of a micro-batch."""

    loss_sum: Tensor
    """The scalar to differentiate."""
    sums: dict[str, float]
    """Metrics."""


def policy_loss(
    logprobs: Tensor,
    old_logprobs: Tensor,
    rollout_logprobs: Tensor,
    advantages: Tensor,
    mask: Tensor,
    *,
    clip: float = 0.2,
    tis_cap: float = 8.0,
    importance: Importance = "clip",
) -> PolicyLoss:
    """Policy loss of PPO with a truncated weight against the mismatch of trainer and rollout engine.

    `importance="clip"`: -w min(rho A, clip(rho, 1 - clip, 1 + clip) A) with rho = pi / pi_old.
    `importance="none"`: -w A pi / stop_gradient(pi), the off-policy regime of the STEP3-VL-10B report (section 3.2.1)
    that omits the standard importance ratio.
    In both, w = min(pi_old / pi_rollout, tis_cap) (C = 8 in the report) is a constant: no gradient passes through it,
    and it is no part of the clipped ratio.

    Args:
        logprobs: `(B, R)` log-probabilities by the current policy, with gradient.
        old_logprobs: `(B, R)` log-probabilities by the trainer before the first update.
        rollout_logprobs: `(B, R)` log-probabilities by the rollout engine.
        advantages: `(B, R)`.
        mask: `(B, R)` bool; everything outside it may hold anything.
        clip: Range of the ratio.
        tis_cap: Cap of the weight.
        importance: Which of the two objectives.
    """
    logprobs, old_logprobs, rollout_logprobs, advantages = (
        x.masked_fill(~mask, 0.0) for x in (logprobs, old_logprobs, rollout_logprobs, advantages)
    )
    mismatch = (old_logprobs - rollout_logprobs).detach().clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    weight = mismatch.exp().clamp(max=tis_cap)
    change = (logprobs - old_logprobs.detach()).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    if importance == "clip":
        ratio = change.exp()
        objective = torch.minimum(ratio * advantages, ratio.clamp(1.0 - clip, 1.0 + clip) * advantages)
    else:
        objective = (logprobs - logprobs.detach()).exp() * advantages
    loss_sum = -(weight * objective).masked_fill(~mask, 0.0).sum()

    with torch.no_grad():
        outside = ((change.exp() - 1.0).abs() > clip) & mask
        sums = {
            "kl": k1(-change, mask),
            "kl_k3": k3(-change, mask),
            "mismatch_kl": k1(-mismatch, mask),
            "mismatch_kl_k3": k3(-mismatch, mask),
            "clip_fraction": outside.sum().item(),
            "tis_fraction": ((mismatch.exp() > tis_cap) & mask).sum().item(),
        }
    return PolicyLoss(loss_sum, sums)


def value_loss(
    values: Tensor,
    old_values: Tensor,
    targets: Tensor,
    mask: Tensor,
    *,
    clip: float | None = None,
) -> Tensor:
    """Half the squared error of the values (report, section 3.2.1), summed over response tokens.

    Args:
        values: `(B, R)` values, with gradient.
        old_values: `(B, R)` values before the first update.
        targets: `(B, R)`.
        mask: `(B, R)` bool.
        clip: Take the larger of this error and that of the values kept within `clip` of the old ones.

    Returns:
        A scalar.
    """
    values, old_values, targets = (x.masked_fill(~mask, 0.0) for x in (values, old_values.detach(), targets.detach()))
    error = (values - targets).square()
    if clip is not None:
        near = old_values + (values - old_values).clamp(-clip, clip)
        error = torch.maximum(error, (near - targets).square())
    return 0.5 * error.sum()


def k1(log_ratio: Tensor, mask: Tensor) -> float:
    """Sum over the mask of log p - log q of tokens sampled from p: unbiased for KL(p, q), of either sign.

    A metric only: as a loss its expected gradient is zero.
    """
    return log_ratio.masked_fill(~mask, 0.0).sum().item()


def k3(log_ratio: Tensor, mask: Tensor) -> float:
    """Sum over the mask of q/p - 1 - log(q/p) of tokens sampled from p: unbiased for KL(p, q), never negative."""
    other = -log_ratio.masked_fill(~mask, 0.0)
    return (torch.expm1(other) - other).sum().item()
