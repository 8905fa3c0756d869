"""Which samples of a component are kept."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from step3vl.pipelines.curation.config import CurationConfig, ImagesConfig, NearConfig
from step3vl.pipelines.curation.features import Features, record_dtype
from step3vl.pipelines.curation.image_hashes import IMAGE_DTYPE
from step3vl.pipelines.curation.inputs import Nodes, rows_of
from step3vl.pipelines.curation.matching import Chooser, match, rank

CONFIG = CurationConfig(near=NearConfig(bands=2, rows=4), images=ImagesConfig())


def features(signatures: Sequence[Sequence[int]], **fields: Sequence[object]) -> Features:
    """Long documents of these signatures, whose texts all differ."""
    samples = np.zeros(len(signatures), record_dtype(8, 0))
    samples["signature"] = signatures
    samples["words"] = 100
    samples["text"][:, 0] = samples["content"][:, 0] = np.arange(len(signatures))
    for name, values in fields.items():
        samples[name] = values
    return Features(samples, np.zeros(int(samples["images"].sum()), IMAGE_DTYPE))


class Memory:
    """The features of one shard, in memory."""

    def __init__(self, features: Features) -> None:
        self.features = features

    def gather(self, nodes: Nodes) -> Features:
        return self.features.take(rows_of(nodes))


def choose(features: Features, config: CurationConfig = CONFIG, earlier: bool = False) -> list[int]:
    """For each sample, the one that it duplicates; itself where it is kept."""
    chooser = Chooser(Memory(features), np.array([earlier]), config)  # type: ignore[arg-type]
    decided: list[int] = chooser.choose(np.arange(len(features.samples), dtype=np.uint64)).kept.tolist()
    return decided


def chain(length: int) -> list[list[int]]:
    """Signatures of which neighbours are equal in 7 of 8 slots, and others in fewer."""
    return [[1] * number + [0] * (8 - number) for number in range(length)]


def test_a_chain_is_no_cluster() -> None:
    """What is only linked to a kept sample by others is kept: both ends of a chain share nothing."""
    assert choose(features(chain(5))) == [0, 0, 2, 2, 4]


@settings(max_examples=30)
@given(st.lists(st.lists(st.integers(0, 1), min_size=8, max_size=8), min_size=1, max_size=12), st.integers(2, 5))
def test_every_dropped_sample_is_a_duplicate_of_a_kept_one(signatures: list[list[int]], chunk: int) -> None:
    samples = features(signatures)
    config = CONFIG.model_copy(update={"max_component": chunk})
    for kept in (choose(samples), choose(samples, config)):
        for index, leader in enumerate(kept):
            assert kept[leader] == leader
            if leader != index:
                pair = samples.take(np.array([index])), samples.take(np.array([leader]))
                assert match(*pair, CONFIG).is_match.all()
        leaders = sorted(set(kept))
        for place, first in enumerate(leaders):
            for second in leaders[place + 1 :]:
                pair = samples.take(np.array([first])), samples.take(np.array([second]))
                assert not match(*pair, CONFIG).is_match.any()


def test_the_best_is_kept() -> None:
    same = [[0] * 8] * 4
    assert choose(features(same, characters=[5, 9, 7, 9])) == [1, 1, 1, 1]
    assert choose(features(same, heldout=[0, 0, 1, 0])) == [2, 2, 2, 2]
    assert choose(features(same, area=[0, 5, 5, 1], characters=[9, 1, 2, 9])) == [2, 2, 2, 2]


def test_scores_decide_before_size() -> None:
    samples = np.zeros(3, record_dtype(0, 2))
    samples["scores"] = [[0.5, 1], [0.7, -np.inf], [0.7, 0.2]]
    samples["characters"] = [9, 8, 7]
    nodes = np.arange(3, dtype=np.uint64)
    assert rank(samples, nodes, np.zeros(3, bool)).tolist() == [2, 1, 0]


def test_earlier_samples_are_never_dropped() -> None:
    assert choose(features([[0] * 8] * 3), earlier=True) == [0, 1, 2]


def test_the_cost_is_bounded_and_what_is_not_compared_is_kept_and_told() -> None:
    apart = features([[number] * 8 for number in range(6)] + [[0] * 8])
    config = CONFIG.model_copy(update={"max_leaders": 3})
    chooser = Chooser(Memory(apart), np.array([False]), config)  # type: ignore[arg-type]
    decision = chooser.choose(np.arange(7, dtype=np.uint64))
    assert decision.kept.tolist() == [0, 1, 2, 3, 4, 5, 0]
    assert not decision.complete


@pytest.mark.parametrize(
    ("fields", "is_match"),
    [
        ({}, True),
        ({"words": [100, 20]}, False),  # a short text is compared as a whole
        ({"conversation": [0, 1]}, False),
        ({"conversation": [1, 1], "numbers": [3, 4]}, False),  # exercises of one template
        ({"images": [0, 1]}, False),
    ],
)
def test_when_near_texts_are_duplicates(fields: dict[str, list[int]], is_match: bool) -> None:
    samples = features([[0] * 8, [0] * 7 + [1]], **fields)
    first, second = samples.take(np.array([0])), samples.take(np.array([1]))
    assert match(first, second, CONFIG).is_match.tolist() == [is_match]


@pytest.mark.parametrize(
    ("bits", "quality", "is_match"),
    [((0, 0), 100, True), ((4, 31), 100, True), ((5, 0), 100, False), ((0, 32), 100, False), ((1, 1), 40, False)],
)
def test_when_images_are_duplicates(bits: tuple[int, int], quality: int, is_match: bool) -> None:
    samples = features([[0] * 8] * 2, images=[1, 1], image=[0, 1])
    samples.images["pixels"][1] = 7
    samples.images["quality"] = quality
    samples.images["phash"][1] = (1 << bits[0]) - 1
    samples.images["pdq"][1][0] = (1 << bits[1]) - 1
    first, second = samples.take(np.array([0])), samples.take(np.array([1]))
    result = match(first, second, CONFIG)
    assert result.is_match.tolist() == [is_match]
    if is_match:
        assert (result.phash[0], result.pdq[0]) == bits
