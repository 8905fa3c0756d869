"""Datasets merged, parted anew, compared and summed up."""

from collections.abc import Callable
from pathlib import Path

import pytest

from step3vl.data.card import write_card
from step3vl.data.combine import merge, split
from step3vl.data.dataset import Dataset, split_of
from step3vl.data.difference import compare
from step3vl.data.errors import UserError
from step3vl.data.sample import Sample
from step3vl.data.summary import summarise
from step3vl.data.verify import verify

Build = Callable[..., Dataset]
Make = Callable[..., Sample]


def held_out(dataset: Dataset) -> set[str]:
    return set(dataset.index(["id"], split="heldout")["id"].to_pylist())


def test_a_merge_has_every_sample_once_and_adds_the_ledgers_up(
    build_dataset: Build, make_sample: Make, tmp_path: Path
) -> None:
    one = build_dataset(tmp_path / "one", [make_sample(number) for number in range(40)])
    two = build_dataset(tmp_path / "two", [make_sample(number, pictured=number % 2 == 0) for number in range(30, 60)])
    both = merge([one, two], tmp_path / "both", "both", shards=3)
    ids = [set(dataset.index(["id"])["id"].to_pylist()) for dataset in (one, two, both)]
    assert ids[2] == ids[0] | ids[1]
    assert held_out(both) == held_out(one) | held_out(two)
    assert not verify(tmp_path / "both").problems
    for sample in both.samples():
        origin = one if sample.id in ids[0] else two
        assert sample == next(other for other in origin.samples() if other.id == sample.id)
    accounts = {step.name: step for step in both.manifest.ledger}
    assert (accounts["build"].read, accounts["merge"].read, accounts["merge"].kept) == (70, 70, len(ids[2]))
    assert accounts["merge"].dropped == {"duplicate": len(ids[0] & ids[1])}
    assert both.tokenizer.startswith(str(tmp_path / "both")), "it brings its own tokenizer"


def test_what_one_of_them_held_out_is_never_trained(build_dataset: Build, make_sample: Make, tmp_path: Path) -> None:
    one = build_dataset(tmp_path / "one", [make_sample(number) for number in range(40)])
    all_held = split(one, tmp_path / "held", "held", heldout=1.0)
    for order in ([one, all_held], [all_held, one]):
        both = merge(order, tmp_path / f"both-{order[0].manifest.name}", "both")
        assert len(held_out(both)) == 40 and not len(both.index(["id"], split="train"))


def test_a_new_split_follows_the_hash_of_the_id(dataset: Dataset, tmp_path: Path) -> None:
    parted = split(dataset, tmp_path / "out", "out", heldout=0.5)
    ids = parted.index(["id"])["id"].to_pylist()
    assert sorted(ids) == sorted(dataset.index(["id"])["id"].to_pylist())
    assert held_out(parted) == {id_ for id_ in ids if split_of(id_, 0.5) == "heldout"}
    assert held_out(dataset) < held_out(parted), "a larger share holds the smaller one"
    again = split(parted, tmp_path / "again", "out", heldout=0.2, shards=1)
    assert held_out(again) == held_out(dataset)
    with pytest.raises(UserError, match="already holds a dataset"):
        split(dataset, tmp_path / "out", "out", heldout=0.1)


def test_datasets_that_were_counted_differently_are_not_merged(
    build_dataset: Build, make_sample: Make, dataset: Dataset, tmp_path: Path
) -> None:
    counting = dataset.manifest.counting.model_copy(update={"tokenizer_sha256": "0" * 64})
    other = Dataset(dataset.url, dataset.manifest.model_copy(update={"counting": counting}))
    with pytest.raises(UserError, match="counted with another tokenizer"):
        merge([dataset, other], tmp_path / "out", "out")


def test_a_difference_names_what_came_what_went_and_what_changed(
    build_dataset: Build, make_sample: Make, tmp_path: Path
) -> None:
    one = build_dataset(tmp_path / "one", [make_sample(number) for number in range(20)])
    assert compare(one, one).same
    moved = [make_sample(number) for number in range(5, 25)]
    source = moved[0].source.model_copy(update={"uri": "test:other"})
    moved.append(make_sample(99).model_copy(update={"source": source}))
    two = build_dataset(tmp_path / "two", [*moved, make_sample(7, pictured=False)])
    difference = compare(one, two)
    assert [tuple(change) for change in difference.tasks] == [
        ("counting.icons", 15, 1, 0, 5),  # from one source 5 came for 5, from the other 1
        ("education.sum", 0, 1, 0, 0),
    ]
    assert not difference.same and difference.made == ()
    assert len(difference.examples) == 10
    renamed = Dataset(one.url, one.manifest.model_copy(update={"config": {"seed": 1}, "code_version": "new"}))
    assert compare(one, renamed).made == ('code_version: "test" -> "new"', "config.seed: 0 -> 1")


def test_a_summary_adds_up_and_spreads_by_powers_of_two(dataset: Dataset) -> None:
    summary = summarise(dataset)
    samples = list(dataset.samples())
    total = summary.domains["counting"]
    assert (total.samples, total.images) == (120, 80)
    assert total.text_tokens + total.image_tokens == sum(sample.tokens.total for sample in samples if sample.tokens)
    assert summary.licences == {"CC0-1.0": 120}
    spreads = {spread.name: dict(spread.bins) for spread in summary.spreads}
    assert spreads["pictures in a sample"] == {0: 40, 1: 80}
    assert spreads["longer side of a picture"] == {32: 80}
    lengths = [sample.tokens.total for sample in samples if sample.tokens]
    for bound, count in spreads["tokens in a sample"].items():
        assert count == sum(bound <= length < 2 * bound for length in lengths)


def test_a_card_is_written_for_any_dataset(dataset: Dataset, tmp_path: Path) -> None:
    write_card(dataset, tmp_path / "card")
    markdown = (tmp_path / "card" / "card.md").read_text()
    assert "| 32 to 63 | 80 |" in markdown and "CC0-1.0" in markdown
    assert "contact_sheet.png" in (tmp_path / "card" / "card.html").read_text()
