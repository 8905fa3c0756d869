"""Summaries of a dataset."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from step3vl.data.dataset.dataset import Dataset
from step3vl.data.dataset.row_filter import RowFilter
from step3vl.data.inspect.summary import OTHER_SOURCES, collections_of, summarise
from step3vl.data.sample.sample import Sample

Build = Callable[[Path, list[Sample]], Dataset]


def test_totals_and_distributions_over_powers_of_two(dataset: Dataset) -> None:
    summary = summarise(dataset)
    samples = list(dataset.samples())
    total = summary.domains["counting"]
    assert (total.samples, total.images) == (120, 80)
    assert total.text_tokens + total.image_tokens == sum(sample.tokens.total for sample in samples if sample.tokens)
    assert (
        summary.tasks["counting", "counting.icons"].samples == summary.tasks["counting", "counting.icons"].images == 80
    )
    assert summary.tasks["counting", "education.sum"][:2] == (40, 0)
    assert summary.sources == {("test:rendered", "CC0-1.0"): total} and summary.licences == {"CC0-1.0": total}
    distributions = {histogram.name: dict(histogram.bins) for histogram in summary.distributions}
    assert distributions["images in a sample"] == {0: 40, 1: 80}
    assert distributions["longer side of an image"] == {32: 80}
    lengths = [sample.tokens.total for sample in samples if sample.tokens]
    for bound, count in distributions["tokens in a sample"].items():
        assert count == sum(bound <= length < 2 * bound for length in lengths)


def test_expression_divides_the_totals_in_two(dataset: Dataset) -> None:
    whole, selected = summarise(dataset), summarise(dataset, RowFilter("images > 0"))
    assert list(selected.tasks) == [("counting", "counting.icons")]
    assert list(selected.left_out) == [("counting", "education.sum")]
    assert {**selected.tasks, **selected.left_out} == whole.tasks
    assert selected.distributions[1].bins == ((1, 80),)
    nothing = summarise(dataset, RowFilter("tokens < 0"))
    assert (nothing.tasks, nothing.left_out) == ({}, whole.tasks)
    assert summarise(dataset, RowFilter("tokens >= 0")) == whole


@pytest.mark.parametrize(
    ("source", "collection"),
    [
        ("scans/a.pdf#3/7", "scans"),
        ("/data/laws/2024/law.pdf", "/data/laws"),
        ("page.png", "page.png"),
        ("pairs.jsonl#12", "pairs.jsonl"),
        ("icons/712", "icons"),
        ("sums/12/chain_sum", "sums"),
        ("https://a.org/b/c.html?x=1", "https://a.org"),
        ("s3://bucket/laws/de/1.pdf", "s3://bucket/laws"),
        ("gs://bucket/1.pdf", "gs://bucket"),
        ("", ""),
    ],
)
def test_sources_are_listed_by_their_host_folder_or_generator(source: str, collection: str) -> None:
    assert collections_of(pa.array([source])).to_pylist() == [collection]


def test_of_very_many_sources_the_smallest_are_added_up(
    tmp_path: Path, build_dataset: Build, make_sample: Callable[..., Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("step3vl.data.inspect.summary._MAX_SOURCES", 6)
    samples = []
    for number in range(40):
        folder = "large" if number < 20 else f"small{number}"
        source = make_sample(0).source.model_copy(update={"uri": f"{folder}/{number}.png"})
        samples.append(make_sample(number).model_copy(update={"source": source}))
    summary = summarise(build_dataset(tmp_path, samples))
    assert len(summary.sources) <= 6
    assert summary.sources["large", "CC0-1.0"].samples == 20
    assert sum(total.samples for total in summary.sources.values()) == 40
    assert summary.sources[OTHER_SOURCES, "CC0-1.0"].samples >= 15
