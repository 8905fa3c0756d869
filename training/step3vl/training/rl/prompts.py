"""Prompts: verifiable conversations of a dataset in an endless, seeded order whose only state is an integer."""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

import numpy as np
from tokenizers import Tokenizer

from step3vl.data.dataset import Dataset, Split
from step3vl.data.errors import UserError
from step3vl.data.sample import ImageSpec, Sample
from step3vl.data.tokens import encode_prompt
from step3vl.inference.client import Request
from step3vl.training.rl.rollout import RolloutPrompt

MAX_REPLACEMENTS = 16
"""Prompts that are tried in place of one that cannot be used."""


class PromptPool:
    """The conversations of one split whose task matches a pattern, addressed by their position in a shuffled order.

    Position p lies in epoch p // n of a pool of n; each epoch is another permutation, determined by seed and number.

    Args:
        dataset: A committed dataset.
        split: The split to take.
        tasks: Shell patterns of task names.
        seed: Seed of the order.

    Raises:
        UserError: No conversation matches.
    """

    def __init__(self, dataset: Dataset, split: Split, tasks: Sequence[str], seed: int) -> None:
        self._dataset = dataset
        self._seed = seed
        self.url = dataset.url
        index = dataset.index(["task", "offset", "size"], split=split, kind="conversation")
        names = index["task"].to_pylist()
        selected = [row for row, name in enumerate(names) if any(fnmatchcase(name, pattern) for pattern in tasks)]
        if not names:
            raise UserError(
                f"{dataset.url} has no {split} conversations; `step3vl corpus split` makes a dataset with both splits"
            )
        if not selected:
            raise UserError(
                f"{dataset.url} has no {split} conversations of {', '.join(tasks)}, but of "
                f"{', '.join(sorted(set(names)))}: change data.tasks"
            )
        self.tasks = tuple(names[row] for row in selected)
        self._locations = np.stack(
            [index[name].to_numpy()[selected].astype(np.int64) for name in ("shard", "offset", "size")], axis=1
        )

    def __len__(self) -> int:
        return len(self.tasks)

    def rows(self, start: int, count: int) -> list[int]:
        """The pool's rows at positions start .. start + count - 1."""
        rows: list[int] = []
        while len(rows) < count:
            epoch, offset = divmod(start + len(rows), len(self))
            order = np.random.default_rng((self._seed, epoch)).permutation(len(self))
            rows += order[offset : offset + count - len(rows)].tolist()
        return rows

    def candidates(self, position: int, row: int) -> Iterator[int]:
        """The row at a position, then rows to try in its place; they depend on the position alone."""
        yield row
        rng = np.random.default_rng((self._seed, position, len(self)))
        yield from rng.integers(len(self), size=MAX_REPLACEMENTS).tolist()

    def first_of_each_task(self, count: int) -> list[int]:
        """Up to `count` rows of every task, the first ones in the order of epoch 0."""
        remaining = dict.fromkeys(self.tasks, count)
        rows = []
        for row in self.rows(0, len(self)):
            if remaining[self.tasks[row]] > 0:
                remaining[self.tasks[row]] -= 1
                rows.append(row)
        return rows

    def where(self, row: int) -> str:
        """The URL of a row's shard and its offset there, for messages."""
        shard, offset, _ = self._locations[row].tolist()
        return f"{self._dataset.url}/{self._dataset.manifest.shards[shard].path} at byte {offset}"

    def read(self, row: int) -> Sample:
        """Read the sample of a row.

        Raises:
            DamagedSample: Its bytes are not those that were committed.
            ValueError: It has no truth.
        """
        shard, offset, size = self._locations[row].tolist()
        sample = self._dataset.read(shard, offset, size)
        if sample.truth is None:
            raise ValueError(f"sample {sample.id} has no truth to reward by: drop {sample.task} from data.tasks")
        return sample


def rollout_prompt(sample: Sample, tokenizer: Tokenizer, spec: ImageSpec) -> RolloutPrompt:
    """The prompt of a sample without its answer: the very tokens that fine-tuning has before the answer.

    Args:
        sample: A conversation.
        tokenizer: Tokenizer of the model.
        spec: Image sizes and limits of the model.

    Raises:
        ImageError: An image exceeds a limit of `spec`.
    """
    request = Request.from_sample(sample)
    images = sample.images[: len(request.images)]
    sizes = [(image.width, image.height) for image in images]
    token_ids = encode_prompt(request.messages, sizes, tokenizer, spec, request.tools)
    return RolloutPrompt(sample.id, tuple(token_ids.tolist()), images)
