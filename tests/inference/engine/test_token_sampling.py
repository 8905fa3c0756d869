"""Sampling a token: each row's distribution is that of transformers, and its randomness independent of other rows."""

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
    SequenceBiasLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from step3vl.inference.client import Sampling
from step3vl.inference.engine.sampling import BatchSampling, SampledTokens, TokenHistory, UniformStream, sample_tokens

NOTHING = torch.tensor([], dtype=torch.long)
CPU = torch.device("cpu")


def sample(
    logits: Tensor, *samplings: Sampling, seed: int = 0, suppressed: Tensor = NOTHING, history=None
) -> SampledTokens:
    """Sample with settings for all rows, or for each."""
    rows = len(logits)
    settings = BatchSampling.of(samplings * rows if len(samplings) == 1 else samplings, CPU)
    uniforms = torch.rand(rows, generator=torch.Generator().manual_seed(seed)).double()
    return sample_tokens(logits, settings, uniforms, suppressed, history)


def distribution(logits: Tensor, sampling: Sampling, history: TokenHistory | None = None) -> Tensor:
    """Return the complete log-distribution [V] that a row of logits [V] is sampled from."""
    everything = sampling.model_copy(update={"logprobs": logits.shape[-1]})
    result = sample(logits[None], everything, history=history)
    return torch.empty_like(logits).scatter(0, result.top_ids[0], result.top_logprobs[0])


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequencies_follow_the_distribution_at_the_temperature(temperature) -> None:
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0, 3.0])
    sampling = Sampling(temperature=temperature, logprobs=0)
    result = sample(logits.expand(40_000, 5), sampling, suppressed=torch.tensor([4]))
    expected = torch.cat([(logits[:4] / temperature).softmax(-1), torch.zeros(1)])
    frequencies = result.tokens.bincount(minlength=5) / 40_000
    assert torch.allclose(frequencies, expected, atol=4 * 0.5 / 200)
    assert frequencies[4] == 0
    assert torch.allclose(result.logprobs.exp(), expected[result.tokens], atol=1e-6)


def test_temperature_zero_takes_the_likeliest_allowed_token() -> None:
    logits = torch.tensor([[0.0, 5.0, 9.0], [1.0, 0.0, 9.0]])
    result = sample(logits, Sampling(temperature=0, logprobs=0), suppressed=torch.tensor([2]))
    assert result.tokens.tolist() == [1, 0]
    assert torch.allclose(result.logprobs, logits[:, :2].log_softmax(-1).max(-1).values)


def test_a_withheld_token_is_withheld_from_its_row_alone() -> None:
    logits = torch.tensor([[0.0, 9.0, 1.0], [0.0, 9.0, 1.0]])
    settings = BatchSampling.of([Sampling(temperature=0, logit_bias={1: 100}), Sampling(temperature=0)], CPU)
    uniforms = torch.zeros(2, dtype=torch.float64)
    sampled = sample_tokens(logits, settings, uniforms, NOTHING, withheld=torch.tensor([[0, 1]]))
    assert sampled.tokens.tolist() == [2, 1]


@given(st.integers(0, 2**31 - 1), st.integers(2, 50))
def test_a_token_without_probability_is_never_sampled(seed, vocabulary) -> None:
    """Not even the last one, where a rounded cumulative sum would end."""
    logits = torch.full((64, vocabulary), float("-inf"))
    logits[:, vocabulary // 2] = 0.0
    assert set(sample(logits, Sampling(), seed=seed).tokens.tolist()) == {vocabulary // 2}


def test_the_greatest_uniform_number_samples_the_last_possible_token() -> None:
    logits = torch.full((1, 1000), float("-inf"))
    logits[0, :700] = torch.randn(700, generator=torch.Generator().manual_seed(0))
    settings = BatchSampling.of([Sampling()], CPU)
    assert (
        sample_tokens(logits, settings, torch.tensor([1 - 2.0**-32], dtype=torch.float64), NOTHING).tokens.item()
        == 699
    )
    assert sample_tokens(logits, settings, torch.tensor([0.0], dtype=torch.float64), NOTHING).tokens.item() == 0


@given(
    st.integers(0, 10_000),
    st.sampled_from([0.3, 1.0, 1.7]),
    st.sampled_from([0, 1, 3, 100]),
    st.sampled_from([1.0, 0.9, 0.4, 0.05]),
    st.sampled_from([0.0, 0.02, 0.3, 1.0]),
    st.sampled_from([1.0, 1.3, 0.7]),
    st.dictionaries(st.integers(0, 39), st.sampled_from([-100.0, -1.5, 0.5, 3.0]), max_size=4),
)
def test_the_distribution_is_that_of_transformers(seed, temperature, top_k, top_p, min_p, repetition, bias) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(40, generator=generator)
    history_ids = torch.randint(0, 40, (1, 9), generator=generator)
    processors = LogitsProcessorList()
    if bias:
        processors.append(SequenceBiasLogitsProcessor([[[token], value] for token, value in bias.items()]))
    if repetition != 1.0:
        processors.append(RepetitionPenaltyLogitsProcessor(repetition))
    processors.append(TemperatureLogitsWarper(temperature))
    if top_k:
        processors.append(TopKLogitsWarper(top_k))
    if top_p < 1:  # as `generate` does; at 1 the warper drops tokens whose probability rounds to 0
        processors.append(TopPLogitsWarper(top_p))
    processors.append(MinPLogitsWarper(min_p))
    expected = processors(history_ids, logits[None])[0].log_softmax(-1)
    present = torch.zeros(1, 40, dtype=torch.bool).index_fill(1, history_ids[0], True)
    sampling = Sampling(
        temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, repetition_penalty=repetition,
        logit_bias=bias,
    )  # fmt: skip
    actual = distribution(logits, sampling, TokenHistory(torch.zeros(1, 40), present))
    assert torch.equal(actual.isfinite(), expected.isfinite())
    assert torch.allclose(actual.exp(), expected.exp(), atol=1e-6)


@given(st.lists(st.integers(0, 9), max_size=12), st.floats(-2, 2), st.floats(-2, 2))
def test_presence_counts_once_and_frequency_each_time(reply, presence, frequency) -> None:
    logits = torch.linspace(-1, 1, 10)
    counts = torch.tensor(np.bincount(reply, minlength=10)[None], dtype=torch.float32)
    sampling = Sampling(presence_penalty=presence, frequency_penalty=frequency)
    actual = distribution(logits, sampling, TokenHistory(counts, counts > 0))
    expected = [x - presence * (token in reply) - frequency * reply.count(token) for token, x in enumerate(logits)]
    assert torch.allclose(actual, torch.tensor(expected).log_softmax(-1), atol=1e-5)


MANY = [
    Sampling(temperature=0, logprobs=0, top_p=0.2),
    Sampling(logprobs=3),
    Sampling(temperature=0.6, top_k=4, logprobs=1),
    Sampling(top_p=0.5, logprobs=0),
    Sampling(min_p=0.2, temperature=1.4, logprobs=2),
    Sampling(repetition_penalty=1.5, frequency_penalty=0.4, logprobs=0),
    Sampling(presence_penalty=1.0, temperature=0, logprobs=0),
    Sampling(logit_bias={0: 100, 4: 2.5, 9: -100}, logprobs=1),
    Sampling(logit_bias={12: 50}, temperature=0, logprobs=0),
]


def test_a_batch_of_all_settings_samples_as_each_row_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(len(MANY), 30, generator=generator)
    uniforms = torch.rand(len(MANY), generator=generator).double()
    counts = torch.randint(0, 3, (len(MANY), 30), generator=generator).float()
    penalised = [row for row, sampling in enumerate(MANY) if sampling.penalised]
    history = TokenHistory(counts[penalised], counts[penalised] > 0)
    suppressed = torch.tensor([0, 7])
    batched = sample_tokens(logits, BatchSampling.of(MANY, CPU), uniforms, suppressed, history)
    for row, sampling in enumerate(MANY):
        row_history = TokenHistory(counts[row : row + 1], counts[row : row + 1] > 0) if sampling.penalised else None
        settings = BatchSampling.of([sampling], CPU)
        alone = sample_tokens(logits[row : row + 1], settings, uniforms[row : row + 1], suppressed, row_history)
        assert alone.tokens.item() == batched.tokens[row]
        assert torch.equal(alone.logprobs[0], batched.logprobs[row])
        if sampling.logprobs:
            assert torch.equal(alone.top_ids[0], batched.top_ids[row, : sampling.logprobs])


def test_uniform_numbers_depend_on_seed_rollout_and_position_alone() -> None:
    first = UniformStream(3, 1)
    numbers = [first() for _ in range(600)]
    again = UniformStream(3, 1)
    other = UniformStream(3, 2)
    mixed = [(again(), other()) for _ in range(600)]
    assert [number for number, _ in mixed] == numbers
    everything = numbers + [number for _, number in mixed] + [UniformStream(4, 1)() for _ in range(1)]
    assert len(set(everything)) == 1201
    assert all(0 <= number < 1 for number in everything)
    assert abs(np.mean(everything) - 0.5) < 0.04
    assert UniformStream(-1, 0)() == UniformStream(2**64 - 1, 0)()


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -1}, {"top_p": 0}, {"top_k": -1}, {"min_p": 1.5}, {"max_new_tokens": 0}, {"n": 2},
        {"repetition_penalty": 0}, {"presence_penalty": 3}, {"stop": ("",)}, {"logprobs": -1},
        {"logit_bias": {-1: 1}}, {"logit_bias": {1: 101}}, {"stop_token_ids": (-1,)}, {"min_new_tokens": 2000},
    ],
)  # fmt: skip
def test_settings_out_of_range_are_refused(wrong) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Sampling(**wrong)
