"""The prompts of an iteration: read, encoded and checked; one that cannot be used is a dead letter, and replaced."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tokenizers import Tokenizer

from step3vl.data.dataset import DeadLetter
from step3vl.data.errors import UserError
from step3vl.data.sample import ImageSpec, Sample
from step3vl.training.loader import SAMPLE_ERRORS, dead_letter_of
from step3vl.training.rl.prompts import PromptPool, rollout_prompt
from step3vl.training.rl.rollout import RolloutPrompt


class PromptChecker(Protocol):
    """What answers prompts and knows which it cannot answer: a `RolloutActor`."""

    def check(self, prompts: Sequence[RolloutPrompt], max_new_tokens: int) -> list[Exception | None]:
        """For each prompt the error with which it cannot be answered."""
        ...


@dataclass(frozen=True)
class PreparedPrompts:
    """Prompts that can be answered, and the dead letters of those that cannot."""

    samples: list[Sample]
    """The samples, each with a truth."""
    prompts: list[RolloutPrompt]
    """Their prompts."""
    dead_letters: list[DeadLetter]
    """One for each prompt that cannot be used, in the order in which they were tried."""


class NoUsablePromptError(UserError):
    """No usable prompt was found for a position.

    Args:
        message: What a person reads.
        dead_letters: Of all prompts that were tried.
    """

    def __init__(self, message: str, dead_letters: list[DeadLetter]) -> None:
        super().__init__(message)
        self.dead_letters = dead_letters


class PromptSource:
    """Prepares prompts for a rollout worker.

    Args:
        checker: The rollout worker.
        tokenizer: Tokenizer of the model.
        spec: Image sizes and limits of the model.
        max_new_tokens: Longest response.
    """

    def __init__(self, checker: PromptChecker, tokenizer: Tokenizer, spec: ImageSpec, max_new_tokens: int) -> None:
        self._checker, self._tokenizer, self._spec = checker, tokenizer, spec
        self._max_new_tokens = max_new_tokens

    def select(self, pool: PromptPool, start: int, count: int, rank: int = 0, world: int = 1) -> PreparedPrompts:
        """The prompts at this rank's stride of the positions start .. start + count - 1, each of them usable.

        What takes the place of an unusable prompt depends on its position alone, and so neither on the number of ranks
        nor on what happened before.

        Args:
            pool: The prompts.
            start: The first position of all ranks.
            count: Number of prompts of all ranks.
            rank: Number of the rank.
            world: Number of ranks.

        Raises:
            NoUsablePromptError: No usable prompt was found for a position.
        """
        rows = pool.rows(start, count)
        candidates = {slot: pool.candidates(start + slot, rows[slot]) for slot in range(rank, count, world)}
        usable: dict[int, tuple[Sample, RolloutPrompt]] = {}
        dead_letters: list[DeadLetter] = []
        while pending := [slot for slot in candidates if slot not in usable]:
            tried = {slot: row for slot in pending if (row := next(candidates[slot], None)) is not None}
            if len(tried) < len(pending):
                last = dead_letters[-1]
                raise NoUsablePromptError(
                    f"no usable prompt was found for one of {pool.url}, nor among those tried in its place; the last "
                    f"of them, {last.source}: {last.reason}",
                    dead_letters,
                )
            for slot, prepared in zip(tried, self._prepare(pool, list(tried.values())), strict=True):
                if isinstance(prepared, DeadLetter):
                    dead_letters.append(prepared)
                else:
                    usable[slot] = prepared
        chosen = [usable[slot] for slot in candidates]
        return PreparedPrompts([sample for sample, _ in chosen], [prompt for _, prompt in chosen], dead_letters)

    def prepare(self, pool: PromptPool, rows: Sequence[int]) -> PreparedPrompts:
        """The usable prompts among some rows of a pool; nothing takes the place of the others."""
        prepared = self._prepare(pool, rows)
        usable = [item for item in prepared if not isinstance(item, DeadLetter)]
        return PreparedPrompts(
            [sample for sample, _ in usable],
            [prompt for _, prompt in usable],
            [item for item in prepared if isinstance(item, DeadLetter)],
        )

    def _prepare(self, pool: PromptPool, rows: Sequence[int]) -> list[tuple[Sample, RolloutPrompt] | DeadLetter]:
        read = [self._read(pool, row) for row in rows]
        prompts = [item[1] for item in read if not isinstance(item, DeadLetter)]
        errors = iter(self._checker.check(prompts, self._max_new_tokens))
        prepared: list[tuple[Sample, RolloutPrompt] | DeadLetter] = []
        for row, item in zip(rows, read, strict=True):
            error = None if isinstance(item, DeadLetter) else next(errors)
            prepared.append(item if error is None else _dead_letter(pool, row, error))
        return prepared

    def _read(self, pool: PromptPool, row: int) -> tuple[Sample, RolloutPrompt] | DeadLetter:
        try:
            sample = pool.read(row)
            return sample, rollout_prompt(sample, self._tokenizer, self._spec)
        except SAMPLE_ERRORS as error:
            return _dead_letter(pool, row, error)


def _dead_letter(pool: PromptPool, row: int, error: Exception) -> DeadLetter:
    return dead_letter_of(error, step="prompt", position=pool.where(row))
