"""Plans: a pure function of manifests, mixture, seed and capacity."""

from itertools import islice

import pytest

from step3vl.data.dataset import Dataset
from step3vl.data.errors import UserError
from step3vl.data.plan import Mixture, MixtureSource, Plan


def mixture(dataset: Dataset, **weights: float) -> Mixture:
    return Mixture(
        sources=tuple(
            MixtureSource(dataset=dataset.url, weight=weight, modality=modality)  # type: ignore[arg-type]
            for modality, weight in weights.items()
        )
    )


def test_one_epoch_holds_every_sample_once(dataset: Dataset) -> None:
    plan = Plan(mixture(dataset, image=1), 256, seed=0)
    drawn = list(islice(plan.items(), len(plan)))
    assert len(set(drawn)) == len(plan)


def test_packs_keep_to_the_capacity_and_their_length_is_true(dataset: Dataset) -> None:
    plan = Plan(mixture(dataset, image=1, text=1), 256, seed=0)
    for pack in islice(plan.packs(), 20):
        lengths = [plan.read(item).tokens for item in pack.items]
        assert sum(count.total for count in lengths if count) == pack.length <= 256


def test_packs_from_any_start_are_the_tail_of_the_sequence(dataset: Dataset) -> None:
    plan = Plan(mixture(dataset, image=1, text=2), 256, seed=3)
    whole = list(islice(plan.packs(), 40))
    assert list(islice(plan.packs(start=17), 23)) == whole[17:]
    assert [pack.number for pack in whole] == list(range(40))


def test_seed_changes_the_order_and_nothing_else(dataset: Dataset) -> None:
    one, two = (Plan(mixture(dataset, image=1), 256, seed=seed) for seed in (0, 1))
    first, second = list(islice(one.items(), len(one))), list(islice(two.items(), len(two)))
    assert first != second
    assert set(first) == set(second)


def test_shares_of_tokens_follow_the_weights_at_every_moment(dataset: Dataset) -> None:
    plan = Plan(mixture(dataset, image=3, text=1), 256, seed=0)
    tokens = [0, 0]
    for drawn, item in enumerate(islice(plan.items(), 2000), start=1):
        count = plan.read(item).tokens
        tokens[item.source] += count.total if count else 0
        if drawn > 50:
            assert abs(tokens[0] - 0.75 * sum(tokens)) < 100, "never off by more than about one sample"


def test_samples_longer_than_the_capacity_are_counted(dataset: Dataset) -> None:
    counts = Plan(mixture(dataset, text=1), 30, seed=0).oversized
    assert counts == {dataset.url: sum(c > 30 for c in _lengths(dataset))}


def _lengths(dataset: Dataset) -> list[int]:
    table = dataset.index(["text_tokens", "image_tokens"], split="train", task="education.*")
    return [a + b for a, b in zip(table["text_tokens"].to_pylist(), table["image_tokens"].to_pylist(), strict=True)]


def test_source_without_samples_is_a_clear_error(dataset: Dataset) -> None:
    nothing = Mixture(sources=(MixtureSource(dataset=dataset.url, task="gui.*"),))
    with pytest.raises(UserError, match=r"no sample of .* matches .*gui"):
        Plan(nothing, 256, seed=0)
