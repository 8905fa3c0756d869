"""Prompts that cannot be used: skipped, replaced, listed, and alike on any number of ranks."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from step3vl.data.dataset import Dataset
from step3vl.data.errors import InfrastructureError, UserError
from step3vl.data.tokens import load_tokenizer
from step3vl.training.rl.prompt_source import NoUsablePromptError, PromptSource
from step3vl.training.rl.prompts import PromptPool
from step3vl.training.rl.rollout import RolloutPrompt


class Checker:
    """Refuses prompts of some samples, as an engine that they do not fit into."""

    def __init__(self, refused: Sequence[str] = (), error: Exception | None = None) -> None:
        self._refused, self._error = set(refused), error or UserError("a prompt of 90 tokens does not fit")

    def check(self, prompts: Sequence[RolloutPrompt], max_new_tokens: int) -> list[Exception | None]:
        return [self._error if prompt.sample in self._refused else None for prompt in prompts]


@pytest.fixture
def copy(corpus: Path, tmp_path: Path) -> Path:
    return shutil.copytree(corpus, tmp_path / "corpus")


@pytest.fixture
def damage_every(copy: Path, damage: Any) -> Callable[[int], None]:
    """damage_every(n) flips a byte in every nth conversation of the training shard of `copy`."""
    return lambda step: damage(copy, slice(None, None, step), kind="conversation", task="vqa.*")


def open_source(root: Path, checker: Checker | None = None) -> tuple[PromptSource, PromptPool]:
    dataset = Dataset.open(root)
    tokenizer = load_tokenizer(dataset.tokenizer)
    source = PromptSource(checker or Checker(), tokenizer, dataset.manifest.counting.image, max_new_tokens=8)
    return source, PromptPool(dataset, "train", ["vqa.*"], seed=0)


def test_without_damage_the_prompts_are_those_of_the_pool(corpus: Path) -> None:
    source, pool = open_source(corpus)
    selected = source.select(pool, 40, 20)
    assert [sample.id for sample in selected.samples] == [pool.read(row).id for row in pool.rows(40, 20)]
    assert [prompt.sample for prompt in selected.prompts] == [sample.id for sample in selected.samples]
    assert not selected.dead_letters


def test_a_damaged_prompt_is_replaced_and_listed(copy: Path, damage_every: Callable[[int], None]) -> None:
    before, _ = open_source(copy)
    intact = before.select(open_source(copy)[1], 0, 50).samples
    damage_every(5)
    source, pool = open_source(copy)
    selected = source.select(pool, 0, 50)
    assert len(selected.samples) == 50
    same = [sample.id for sample, other in zip(selected.samples, intact, strict=True) if sample.id == other.id]
    assert len(same) == 40  # the others keep their positions
    assert len({dead_letter.source for dead_letter in selected.dead_letters}) == 10
    assert all("train-00000-of-00001.tar at byte" in dead_letter.source for dead_letter in selected.dead_letters)
    assert {dead_letter.error for dead_letter in selected.dead_letters} == {"DamagedSample"}


def test_a_prompt_that_does_not_fit_is_replaced_and_listed(corpus: Path) -> None:
    _, pool = open_source(corpus)
    refused = [pool.read(row).id for row in pool.rows(0, 3)]
    source, pool = open_source(corpus, Checker(refused))
    selected = source.select(pool, 0, 8)
    assert len(selected.samples) == 8
    assert not {sample.id for sample in selected.samples} & set(refused)
    assert {dead_letter.reason for dead_letter in selected.dead_letters} == {"a prompt of 90 tokens does not fit"}


def test_the_prompts_are_the_same_on_any_number_of_ranks(copy: Path, damage_every: Callable[[int], None]) -> None:
    damage_every(3)
    source, pool = open_source(copy)
    expected = [sample.id for sample in source.select(pool, 20, 24).samples]
    for world in (2, 3):
        shares = [source.select(pool, 20, 24, rank, world).samples for rank in range(world)]
        assert [shares[slot % world][slot // world].id for slot in range(24)] == expected


def test_the_search_ends_where_every_prompt_is_damaged(copy: Path, damage_every: Callable[[int], None]) -> None:
    damage_every(1)
    source, pool = open_source(copy)
    with pytest.raises(UserError, match=r"no usable prompt was found .* at byte \d+: the bytes are not those"):
        source.select(pool, 0, 4)


def test_the_dead_letters_of_a_search_that_ends_are_kept(copy: Path, damage_every: Callable[[int], None]) -> None:
    damage_every(1)
    source, pool = open_source(copy)
    with pytest.raises(NoUsablePromptError) as raised:
        source.select(pool, 0, 4)
    assert len({letter.source for letter in raised.value.dead_letters}) > 4


def test_held_out_prompts_are_not_replaced(copy: Path, damage_every: Callable[[int], None]) -> None:
    damage_every(2)
    source, pool = open_source(copy)
    prepared = source.prepare(pool, range(10))
    assert 0 < len(prepared.samples) == 10 - len(prepared.dead_letters) < 10


def test_a_failure_of_the_machine_is_no_dead_letter(corpus: Path) -> None:
    _, pool = open_source(corpus)
    checker = Checker([pool.read(pool.rows(0, 1)[0]).id], FileNotFoundError(2, "No such file", "image.png"))
    source, pool = open_source(corpus, checker)
    with pytest.raises(InfrastructureError, match="No such file"):
        source.select(pool, 0, 1)
