"""Advantages: from rewards and values of response tokens to the factor of the policy gradient.

Everything is `(B, R)`: one row a rollout, one column a response token, right-padded; `mask` is True on these tokens.
"""

import torch
from torch import Tensor

from step3vl.training.distributed import global_sums


def gae(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float = 1.0, lam: float = 1.0) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimates and value targets (STEP3-VL-10B report, section 3.2.1).

    delta_t = r_t + gamma V_{t+1} - V_t,  A_t = sum_l (gamma lam)^l delta_{t+l},  target_t = A_t + V_t; the state
    after the last response token is worth nothing. The report uses gamma = lam = 1, where A_t is the reward
    still to come less V_t.

    Args:
        rewards: `(B, R)` reward of each response token.
        values: `(B, R)` value of the state *before* each response token.
        mask: `(B, R)` bool. Tokens outside it (padding, or text between turns that the policy did not write) are
            stepped over: neither their reward nor their value, which may be anything, reaches a response token.
        gamma: Discount of later rewards.
        lam: Decay of later errors.

    Returns:
        Advantages and targets, both `(B, R)`, zero outside the mask, without gradient.
    """
    with torch.no_grad():
        advantages = torch.zeros_like(values)
        running = torch.zeros_like(values[:, 0])
        next_value = torch.zeros_like(running)
        for step in reversed(range(values.shape[1])):
            here = mask[:, step]
            delta = rewards[:, step] + gamma * next_value - values[:, step]
            running = torch.where(here, delta + gamma * lam * running, running)
            next_value = torch.where(here, values[:, step], next_value)
            advantages[:, step] = torch.where(here, running, 0.0)
        return advantages, torch.where(mask, advantages + values, 0.0)


def normalise(advantages: Tensor, mask: Tensor, floor: float = 0.1) -> Tensor:
    """Advantages of zero mean and unit deviation over all response tokens of all ranks, zero outside the mask.

    Args:
        advantages: `(B, R)`.
        mask: `(B, R)` bool.
        floor: The smallest deviation to divide by: rewards lie in 0..1, and where all are alike, what still differs is
            the critic's noise, which must not be amplified to the size of a signal (nor 0/0 to NaN).
    """
    mean, std, _ = moments(advantages, mask)
    return torch.where(mask, (advantages - mean) / max(std, floor), 0.0)


def moments(x: Tensor, mask: Tensor) -> tuple[float, float, int]:
    """Mean, population deviation and count of the masked elements over all ranks, in double precision."""
    values = x.detach()[mask].double()
    total, count = global_sums(values.sum().item(), values.numel())
    if count == 0:
        return 0.0, 0.0, 0
    mean = total / count
    (squares,) = global_sums((values - mean).square().sum().item())
    return mean, (squares / count) ** 0.5, int(count)


def explained_variance(values: Tensor, targets: Tensor, mask: Tensor) -> float:
    """Share of the targets' variance that the values explain: 1 perfect, 0 as good as a constant, negative worse.

    Zero where the targets do not vary beyond rounding: there is nothing to explain.
    """
    _, residual, _ = moments(targets - values, mask)
    _, spread, _ = moments(targets, mask)
    return 1.0 - (residual / spread) ** 2 if spread > 1e-6 else 0.0
