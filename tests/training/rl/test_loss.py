"""Policy and value loss: golden values, where gradient flows, and invariances."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from step3vl.training.rl.loss import k1, k3, policy_loss, value_loss

seeds = st.integers(0, 10_000)


def batch(seed: int, rows: int = 6, width: int = 5) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def noise(scale: float) -> torch.Tensor:
        return scale * torch.randn(rows, width, generator=generator, dtype=torch.float64)

    old = -noise(1.0).abs()
    lengths = torch.randint(1, width + 1, (rows, 1), generator=generator)
    return {
        "logprobs": old + noise(0.3),
        "old_logprobs": old,
        "rollout_logprobs": old + noise(0.5),
        "advantages": noise(1.0),
        "mask": torch.arange(width) < lengths,
    }


def single_token(logprob: float, old: float, rollout: float, advantage: float) -> dict[str, torch.Tensor]:
    numbers = {"logprobs": logprob, "old_logprobs": old, "rollout_logprobs": rollout, "advantages": advantage}
    return {name: torch.tensor([[number]]) for name, number in numbers.items()} | {"mask": torch.ones(1, 1).bool()}


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"),
    [(1.0, 2.0, -2.0), (1.5, 2.0, -2.4), (0.5, 2.0, -1.0), (1.5, -2.0, 3.0), (0.5, -2.0, 1.6), (1.1, 2.0, -2.2)],
)
def test_clipped_surrogate_golden_values(ratio: float, advantage: float, expected: float) -> None:
    loss = policy_loss(**single_token(math.log(ratio) - 1.0, -1.0, -1.0, advantage), clip=0.2).loss_sum
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("offset", "weight"), [(0.0, 1.0), (1.0, math.e), (-1.0, math.exp(-1)), (3.0, 8.0), (99.0, 8.0)]
)
def test_truncated_importance_weight_is_the_capped_ratio_of_trainer_to_engine(offset: float, weight: float) -> None:
    result = policy_loss(**single_token(-1.0, -1.0, -1.0 - offset, 1.0), tis_cap=8.0)
    assert result.loss_sum.item() == pytest.approx(-weight, rel=1e-5)
    assert result.sums["tis_fraction"] == (1.0 if math.exp(min(offset, 20.0)) > 8.0 else 0.0)


def test_without_cap_the_weight_is_plain_importance_sampling() -> None:
    loss = policy_loss(**single_token(-1.0, -1.0, -6.0, 1.0), tis_cap=math.inf).loss_sum
    assert loss.item() == pytest.approx(-math.exp(5.0), rel=1e-5)


@given(seeds, st.sampled_from(["clip", "none"]))
@settings(max_examples=30)
def test_gradient_flows_through_the_current_policy_only(seed: int, importance: str) -> None:
    tensors = batch(seed)
    for name in ("logprobs", "old_logprobs", "rollout_logprobs"):
        tensors[name].requires_grad_()
    policy_loss(**tensors, importance=importance).loss_sum.backward()
    assert tensors["old_logprobs"].grad is None
    assert tensors["rollout_logprobs"].grad is None
    gradient = tensors["logprobs"].grad
    assert gradient is not None
    assert (gradient[~tensors["mask"]] == 0).all()


@given(seeds)
@settings(max_examples=30)
def test_without_importance_sampling_the_gradient_is_weight_times_advantage(seed: int) -> None:
    tensors = batch(seed)
    tensors["logprobs"].requires_grad_()
    policy_loss(**tensors, importance="none", tis_cap=1.5).loss_sum.backward()
    weight = (tensors["old_logprobs"] - tensors["rollout_logprobs"]).exp().clamp(max=1.5)
    expected = torch.where(tensors["mask"], -weight * tensors["advantages"], 0.0)
    torch.testing.assert_close(tensors["logprobs"].grad, expected)


@given(seeds)
@settings(max_examples=30)
def test_before_the_first_update_the_ratio_is_exactly_one(seed: int) -> None:
    tensors = batch(seed)
    tensors["logprobs"] = tensors["old_logprobs"].clone().requires_grad_()
    tensors["rollout_logprobs"] = tensors["old_logprobs"]
    result = policy_loss(**tensors)
    assert result.loss_sum.item() == pytest.approx(-tensors["advantages"][tensors["mask"]].sum().item())
    assert all(value == 0.0 for value in result.sums.values())
    result.loss_sum.backward()
    torch.testing.assert_close(tensors["logprobs"].grad, torch.where(tensors["mask"], -tensors["advantages"], 0.0))


@given(seeds, st.sampled_from([1, 2, 3, 6]), st.integers(0, 3))
@settings(max_examples=30)
def test_losses_do_not_depend_on_micro_batches_or_padding(seed: int, size: int, padding: int) -> None:
    tensors = batch(seed)
    parts = [{name: x[start : start + size] for name, x in tensors.items()} for start in range(0, 6, size)]
    wide = [
        {
            name: torch.nn.functional.pad(x, (0, padding), value=0 if name == "mask" else math.nan)
            for name, x in part.items()
        }
        for part in parts
    ]
    expected = policy_loss(**tensors).loss_sum
    pieces = sum(policy_loss(**part).loss_sum for part in wide)
    assert float(pieces) == pytest.approx(expected.item(), abs=1e-12)

    def critic(part: dict[str, torch.Tensor]) -> float:
        return value_loss(part["logprobs"], part["old_logprobs"], part["advantages"], part["mask"], clip=0.2).item()

    assert sum(critic(part) for part in wide) == pytest.approx(critic(tensors), abs=1e-12)


def test_extreme_log_ratios_stay_finite() -> None:
    tensors = single_token(0.0, -1000.0, -2000.0, -1.0)
    tensors["logprobs"].requires_grad_()
    result = policy_loss(**tensors)
    result.loss_sum.backward()
    assert math.isfinite(result.loss_sum.item())
    assert torch.isfinite(tensors["logprobs"].grad).all()


def test_value_loss_is_half_the_square_and_zero_at_the_target() -> None:
    values, targets = torch.tensor([[1.0, 3.0, 9.0]]), torch.tensor([[0.0, 1.0, 0.0]])
    mask = torch.tensor([[True, True, False]])
    loss = value_loss(values, values, targets, mask)
    assert loss.item() == pytest.approx(0.5 * (1.0 + 4.0))
    assert value_loss(targets, values, targets, mask).item() == 0.0


def test_value_clip_takes_the_larger_error() -> None:
    old, targets, mask = torch.tensor([[0.0]]), torch.tensor([[1.0]]), torch.ones(1, 1).bool()
    moved = value_loss(torch.tensor([[0.9]]), old, targets, mask, clip=0.2)
    assert moved.item() == pytest.approx(0.5 * 0.8**2)
    near = value_loss(torch.tensor([[0.1]]), old, targets, mask, clip=0.2)
    assert near.item() == pytest.approx(0.5 * 0.9**2)


def test_divergence_metrics_agree_with_the_exact_divergence() -> None:
    p = torch.tensor([0.1, 0.2, 0.3, 0.15, 0.25], dtype=torch.float64)
    q = torch.tensor([0.3, 0.1, 0.2, 0.2, 0.2], dtype=torch.float64)
    exact = (p * (p / q).log()).sum().item()
    every = torch.ones(1, dtype=torch.bool)
    for estimator in (k1, k3):
        expected = sum(p[i].item() * estimator((p[i] / q[i]).log().reshape(1), every) for i in range(5))
        assert expected == pytest.approx(exact)
    assert all(k3((p[i] / q[i]).log().reshape(1), every) >= 0 for i in range(5))
