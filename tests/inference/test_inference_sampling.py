"""Drawing a token: each row's own distribution, shaped as transformers does it, and noise that knows no neighbours."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from step3vl.inference.sampling import Drawn, Noise, Sampling, Seen, Settings, draw

NOTHING = torch.tensor([], dtype=torch.long)
CPU = torch.device("cpu")


def drawn(logits: Tensor, *samplings: Sampling, seed: int = 0, suppress: Tensor = NOTHING, seen=None) -> Drawn:
    """One setting for all rows, or one each."""
    rows = len(logits)
    settings = Settings.of(samplings * rows if len(samplings) == 1 else samplings, CPU)
    noise = torch.rand(rows, generator=torch.Generator().manual_seed(seed)).double()
    return draw(logits, settings, noise, suppress, seen)


def distribution(logits: Tensor, sampling: Sampling, seen: Seen | None = None) -> Tensor:
    """The whole log-distribution [V] that one row of logits [V] is drawn from."""
    everything = sampling.model_copy(update={"logprobs": logits.shape[-1]})
    result = drawn(logits[None], everything, seen=seen)
    return torch.empty_like(logits).scatter(0, result.top_ids[0], result.top_logprobs[0])


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequencies_follow_the_distribution_at_the_temperature(temperature) -> None:
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0, 3.0])
    sampling = Sampling(temperature=temperature, logprobs=0)
    result = drawn(logits.expand(40_000, 5), sampling, suppress=torch.tensor([4]))
    expected = torch.cat([(logits[:4] / temperature).softmax(-1), torch.zeros(1)])
    frequencies = result.tokens.bincount(minlength=5) / 40_000
    assert torch.allclose(frequencies, expected, atol=4 * 0.5 / 200)
    assert frequencies[4] == 0
    assert torch.allclose(result.logprobs.exp(), expected[result.tokens], atol=1e-6)


def test_temperature_zero_takes_the_likeliest_token_that_may_be_said() -> None:
    logits = torch.tensor([[0.0, 5.0, 9.0], [1.0, 0.0, 9.0]])
    result = drawn(logits, Sampling(temperature=0, logprobs=0), suppress=torch.tensor([2]))
    assert result.tokens.tolist() == [1, 0]
    assert torch.allclose(result.logprobs, logits[:, :2].log_softmax(-1).max(-1).values)


@given(st.integers(0, 2**31 - 1), st.integers(2, 50))
def test_a_token_without_probability_is_never_drawn(seed, vocabulary) -> None:
    """Not even the last one, where a rounded cumulative sum would end."""
    logits = torch.full((64, vocabulary), float("-inf"))
    logits[:, vocabulary // 2] = 0.0
    assert set(drawn(logits, Sampling(), seed=seed).tokens.tolist()) == {vocabulary // 2}


def test_the_greatest_noise_draws_the_last_possible_token() -> None:
    logits = torch.full((1, 1000), float("-inf"))
    logits[0, :700] = torch.randn(700, generator=torch.Generator().manual_seed(0))
    settings = Settings.of([Sampling()], CPU)
    assert draw(logits, settings, torch.tensor([1 - 2.0**-32], dtype=torch.float64), NOTHING).tokens.item() == 699
    assert draw(logits, settings, torch.tensor([0.0], dtype=torch.float64), NOTHING).tokens.item() == 0


@given(
    st.integers(0, 10_000),
    st.sampled_from([0.3, 1.0, 1.7]),
    st.sampled_from([0, 1, 3, 100]),
    st.sampled_from([1.0, 0.9, 0.4, 0.05]),
    st.sampled_from([0.0, 0.02, 0.3, 1.0]),
    st.sampled_from([1.0, 1.3, 0.7]),
)
def test_a_distribution_is_that_of_the_librarys_processors(seed, temperature, top_k, top_p, min_p, repetition) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(40, generator=generator)
    read_and_said = torch.randint(0, 40, (1, 9), generator=generator)
    processors = LogitsProcessorList()
    if repetition != 1.0:
        processors.append(RepetitionPenaltyLogitsProcessor(repetition))
    processors.append(TemperatureLogitsWarper(temperature))
    if top_k:
        processors.append(TopKLogitsWarper(top_k))
    processors.append(TopPLogitsWarper(top_p))
    processors.append(MinPLogitsWarper(min_p))
    expected = processors(read_and_said, logits[None])[0].log_softmax(-1)
    present = torch.zeros(1, 40, dtype=torch.bool).index_fill(1, read_and_said[0], True)
    sampling = Sampling(
        temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, repetition_penalty=repetition
    )  # fmt: skip
    found = distribution(logits, sampling, Seen(torch.zeros(1, 40), present))
    assert torch.equal(found.isfinite(), expected.isfinite())
    assert torch.allclose(found.exp(), expected.exp(), atol=1e-6)


@given(st.lists(st.integers(0, 9), max_size=12), st.floats(-2, 2), st.floats(-2, 2))
def test_presence_counts_once_and_frequency_each_time(said, presence, frequency) -> None:
    logits = torch.linspace(-1, 1, 10)
    counts = torch.tensor(np.bincount(said, minlength=10)[None], dtype=torch.float32)
    sampling = Sampling(presence_penalty=presence, frequency_penalty=frequency)
    found = distribution(logits, sampling, Seen(counts, counts > 0))
    expected = [x - presence * (token in said) - frequency * said.count(token) for token, x in enumerate(logits)]
    assert torch.allclose(found, torch.tensor(expected).log_softmax(-1), atol=1e-5)


MANY = [
    Sampling(temperature=0, logprobs=0, top_p=0.2),
    Sampling(logprobs=3),
    Sampling(temperature=0.6, top_k=4, logprobs=1),
    Sampling(top_p=0.5, logprobs=0),
    Sampling(min_p=0.2, temperature=1.4, logprobs=2),
    Sampling(repetition_penalty=1.5, frequency_penalty=0.4, logprobs=0),
    Sampling(presence_penalty=1.0, temperature=0, logprobs=0),
]


def test_rows_of_all_settings_draw_as_each_would_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(len(MANY), 30, generator=generator)
    noise = torch.rand(len(MANY), generator=generator).double()
    counts = torch.randint(0, 3, (len(MANY), 30), generator=generator).float()
    penalised = [row for row, sampling in enumerate(MANY) if sampling.penalised]
    seen = Seen(counts[penalised], counts[penalised] > 0)
    suppress = torch.tensor([0, 7])
    together = draw(logits, Settings.of(MANY, CPU), noise, suppress, seen)
    for row, sampling in enumerate(MANY):
        own = Seen(counts[row : row + 1], counts[row : row + 1] > 0) if sampling.penalised else None
        settings = Settings.of([sampling], CPU)
        alone = draw(logits[row : row + 1], settings, noise[row : row + 1], suppress, own)
        assert alone.tokens.item() == together.tokens[row]
        assert torch.equal(alone.logprobs[0], together.logprobs[row])
        if sampling.logprobs:
            assert torch.equal(alone.top_ids[0], together.top_ids[row, : sampling.logprobs])


def test_noise_depends_on_seed_rollout_and_place_alone() -> None:
    first = Noise(3, 1)
    numbers = [first() for _ in range(600)]
    again = Noise(3, 1)
    other = Noise(3, 2)
    mixed = [(again(), other()) for _ in range(600)]
    assert [own for own, _ in mixed] == numbers
    everything = numbers + [number for _, number in mixed] + [Noise(4, 1)() for _ in range(1)]
    assert len(set(everything)) == 1201
    assert all(0 <= number < 1 for number in everything)
    assert abs(np.mean(everything) - 0.5) < 0.04
    assert Noise(-1, 0)() == Noise(2**64 - 1, 0)()


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -1}, {"top_p": 0}, {"top_k": -1}, {"min_p": 1.5}, {"max_new_tokens": 0}, {"n": 2},
        {"repetition_penalty": 0}, {"presence_penalty": 3}, {"stop": ("",)}, {"logprobs": -1},
    ],
)  # fmt: skip
def test_settings_out_of_range_are_refused(wrong) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Sampling(**wrong)
