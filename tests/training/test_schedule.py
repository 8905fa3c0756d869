"""The learning rate over phases."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from step3vl.training.schedule import TrainingPhase, learning_rate, phase_progress, run_progress

MIXTURE = {"sources": [{"dataset": "corpus"}]}


def phase(**fields: object) -> TrainingPhase:
    return TrainingPhase.model_validate({"mixture": MIXTURE, **fields})


def test_pretraining_of_the_report_decays_linearly_in_two_phases() -> None:
    first = phase(tokens=900_000_000_000, lr_start=5e-5, lr_end=1e-5)
    second = phase(tokens=300_000_000_000, lr_start=1e-5, lr_end=6e-6)
    assert learning_rate(first, 0, 0) == 5e-5
    assert learning_rate(first, 10, 450_000_000_000) == pytest.approx(3e-5)
    assert learning_rate(first, 20, 900_000_000_000) == pytest.approx(learning_rate(second, 0, 0))
    assert learning_rate(second, 10, 300_000_000_000) == pytest.approx(6e-6)


def test_fine_tuning_of_the_report_warms_up_and_follows_a_cosine() -> None:
    stage = phase(steps=10_000, lr_start=1e-4, lr_end=1e-5, decay="cosine", warmup_steps=200)
    assert learning_rate(stage, 0, 0) == pytest.approx(1e-4 / 201)
    assert learning_rate(stage, 100, 0) == pytest.approx(1e-4 * 101 / 201, rel=1e-3)
    assert learning_rate(stage, 200, 0) == pytest.approx(1e-4, rel=1e-3)
    assert learning_rate(stage, 5_000, 0) == pytest.approx(5.5e-5)
    assert learning_rate(stage, 10_000, 0) == pytest.approx(1e-5)


@given(st.integers(0, 2000), st.sampled_from(["linear", "cosine"]))
def test_the_rate_stays_within_bounds_and_never_rises_after_warm_up(steps: int, decay: str) -> None:
    stage = phase(steps=1000, lr_start=1e-3, lr_end=1e-4, decay=decay, warmup_steps=10)
    rate = learning_rate(stage, steps, 0)
    assert 0 < rate <= 1e-3
    if steps >= 10:
        assert learning_rate(stage, steps + 1, 0) <= rate
        assert rate >= 1e-4 - 1e-12


def test_progress_of_a_phase_is_counted_in_the_unit_of_its_budget() -> None:
    assert phase_progress(phase(steps=10, lr_start=1, lr_end=1), 5, 10**9) == 0.5
    assert phase_progress(phase(tokens=100, lr_start=1, lr_end=1), 5, 25) == 0.25
    assert phase_progress(phase(tokens=100, lr_start=1, lr_end=1), 5, 130) == 1.0


@pytest.mark.parametrize("budget", [{}, {"steps": 1, "tokens": 1}])
def test_a_phase_has_a_single_budget(budget: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match="either steps or tokens"):
        phase(lr_start=1, lr_end=1, **budget)


def test_progress_of_a_run_weights_phases_by_their_budgets() -> None:
    rates = {"lr_start": 1e-3, "lr_end": 1e-4}
    long, short = phase(steps=300, **rates), phase(steps=100, **rates)
    assert run_progress([long, short], 0, 0.5) == 0.375
    assert run_progress([long, short], 1, 0.0) == 0.75
    assert run_progress([long, short], 2, 0.0) == 1.0
    assert run_progress([long, phase(tokens=10, **rates)], 1, 0.5) == 0.75, "budgets in two units cannot be compared"
