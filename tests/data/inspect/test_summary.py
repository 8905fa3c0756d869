"""Summaries of a dataset."""

from step3vl.data.dataset.dataset import Dataset
from step3vl.data.inspect.summary import summarise


def test_totals_and_distributions_over_powers_of_two(dataset: Dataset) -> None:
    summary = summarise(dataset)
    samples = list(dataset.samples())
    total = summary.domains["counting"]
    assert (total.samples, total.images) == (120, 80)
    assert total.text_tokens + total.image_tokens == sum(sample.tokens.total for sample in samples if sample.tokens)
    assert summary.licences == {"CC0-1.0": 120}
    distributions = {histogram.name: dict(histogram.bins) for histogram in summary.distributions}
    assert distributions["images in a sample"] == {0: 40, 1: 80}
    assert distributions["longer side of an image"] == {32: 80}
    lengths = [sample.tokens.total for sample in samples if sample.tokens]
    for bound, count in distributions["tokens in a sample"].items():
        assert count == sum(bound <= length < 2 * bound for length in lengths)
