"""The shares of domains in a run: their bounds, and what is left over."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.dataset import Dataset
from step3vl.data.errors import UserError
from step3vl.data.sample import Sample
from step3vl.pipelines.curation.balance import BalanceConfig, balance, tokens_by_domain

SIZES = {"gui": 10_000_000_000, "ocr": 90_000_000_000, "text": 400_000_000_000}


def test_shares_follow_the_sizes_at_temperature_1_and_are_equal_at_0() -> None:
    proportional = balance(SIZES, BalanceConfig(tokens=300e9))
    assert {part.name: part.share for part in proportional.domains} == pytest.approx(
        {"gui": 0.02, "ocr": 0.18, "text": 0.8}
    )
    uniform = balance(SIZES, BalanceConfig(tokens=30e9, temperature=0))
    assert [part.share for part in uniform.domains] == pytest.approx([1 / 3] * 3)


def test_what_a_cap_or_the_epochs_take_away_goes_to_the_others() -> None:
    capped = balance(SIZES, BalanceConfig(tokens=300e9, caps={"text": 0.5}, epochs=1))
    parts = {part.name: part for part in capped.domains}
    assert parts["text"].share == 0.5
    assert (parts["gui"].epochs, parts["ocr"].epochs) == (1, 1)
    assert capped.missing == pytest.approx(50e9)


def test_a_run_that_no_domain_can_fill_says_what_is_missing() -> None:
    short = balance({"gui": 10, "ocr": 0}, BalanceConfig(tokens=100, epochs=4))
    assert short.missing == 60
    assert [part.tokens for part in short.domains] == [40, 0]


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 10**6), min_size=1),
    st.floats(1, 1e7),
    st.floats(0, 1),
    st.floats(0.5, 8),
    st.floats(0, 1),
)
def test_no_bound_is_broken_and_no_token_is_lost(
    sizes: dict[str, int], tokens: float, temperature: float, epochs: float, cap: float
) -> None:
    capped = min(sizes)
    config = BalanceConfig(tokens=tokens, temperature=temperature, epochs=epochs, caps={capped: cap})
    result = balance(sizes, config)
    total = sum(part.tokens for part in result.domains)
    assert total + result.missing == pytest.approx(tokens)
    for part in result.domains:
        assert part.tokens <= epochs * part.available + 1e-6
        assert part.share <= (cap if part.name == capped else 1) + 1e-9
    bounds = [min(tokens * (cap if part.name == capped else 1), epochs * part.available) for part in result.domains]
    assert result.missing == pytest.approx(max(0.0, tokens - sum(bounds)), abs=1e-6 * tokens)


def test_unknown_caps_and_shares_beyond_1_are_refused() -> None:
    with pytest.raises(UserError, match="a cap names maps"):
        balance(SIZES, BalanceConfig(tokens=1, caps={"maps": 0.1}))
    with pytest.raises(ValueError, match="share from 0 to 1"):
        BalanceConfig(tokens=1, caps={"ocr": 10})


def test_tokens_are_added_up_from_the_indexes(
    tmp_path: Path, document: Callable[..., Sample], dialogue: Callable[..., Sample], build: Callable[..., Dataset]
) -> None:
    samples = [document(f"text {number}") for number in range(3)] + [dialogue("How many?", "Four.")]
    assert tokens_by_domain((build(tmp_path, samples),)) == {"text": 27, "vqa": 9}
