import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.pipelines.render.exercises.exercise_steps import check_steps


@pytest.mark.parametrize(
    ("step", "equations"),
    [
        ("180° − 50° − 60° = 70°", 1),
        ("∠JKM = 74° ÷ 2 = 37°", 1),
        ("The angles add up to (5 − 2) × 180° = 540°.", 1),
        ("AB = √(3² + 4²) = √25 = 5", 2),
        ("12 × cos 60° = 6 cm", 1),
        ("AC = 14 × sin 62° ÷ sin 57° ≈ 14.7 m", 1),
        ("(45 ÷ 360) × 2 × π × 13 = 3.25π", 1),
        ("10 × sin 60° = 5√3 m/s²", 1),
        ("并联：1 ÷ (1/4 + 1/12) = 3 Ω", 1),
        ("|(−3) × (−4) − 6| ÷ 2 = 3", 1),
        ("Look at the graph.", 0),
        ("a = g · sin 30°", 0),
    ],
)
def test_equations_of_numbers_are_computed(step: str, equations: int) -> None:
    assert check_steps([step]) == equations


@pytest.mark.parametrize(
    "step",
    [
        "180° − 50° − 60° = 80°",
        "√25 = 6",
        "2 × 3 = 6 = 7",
        "12 × cos 60° = 6.1 cm",
        "1 ÷ 3 ≈ 0.34",
        "串联：4 + 5 = 8 Ω",
    ],
)
def test_a_wrong_step_is_found(step: str) -> None:
    with pytest.raises(ValueError, match="is wrong"):
        check_steps([step])


@given(st.integers(1, 10**4), st.integers(1, 10**4), st.integers(1, 500))
def test_any_sum_and_product_is_checked(a: int, b: int, error: int) -> None:
    assert check_steps([f"{a} + {b} = {a + b}", f"{a} × {b} = {a * b} cm²"]) == 2
    with pytest.raises(ValueError, match="is wrong"):
        check_steps([f"{a} + {b} = {a + b + error}"])
