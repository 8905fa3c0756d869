"""Prompts: verifiable conversations of a dataset in an endless, seeded order whose only state is one integer."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

import numpy as np

from step3vl.data.dataset import Dataset, Split
from step3vl.data.errors import UserError
from step3vl.data.sample import Sample
from step3vl.training.rl.rollout import Prompt


class PromptPool:
    """The conversations of one split whose task matches a pattern, addressed by their position in a shuffled order.

    Position p lies in epoch p // n of a pool of n; each epoch is a permutation of its own, fixed by seed and number.
    """

    def __init__(self, dataset: Dataset, split: Split, tasks: Sequence[str], seed: int) -> None:
        """Raises UserError when no conversation matches."""
        self._dataset = dataset
        self._seed = seed
        index = dataset.index(["task", "offset", "size"], split=split, kind="conversation")
        names = index["task"].to_pylist()
        chosen = [row for row, name in enumerate(names) if any(fnmatchcase(name, pattern) for pattern in tasks)]
        if not chosen:
            known = ", ".join(sorted(set(names))) or "none"
            wanted = ", ".join(tasks)
            raise UserError(f"{dataset.url} has no {split} conversations of {wanted}, but of {known}: change tasks")
        self.tasks = tuple(names[row] for row in chosen)
        self._places = np.stack(
            [index[name].to_numpy()[chosen].astype(np.int64) for name in ("shard", "offset", "size")], axis=1
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

    def first_of_each_task(self, count: int) -> list[int]:
        """Up to `count` rows of every task, the first ones in the order of epoch 0."""
        left = dict.fromkeys(self.tasks, count)
        rows = []
        for row in self.rows(0, len(self)):
            if left[self.tasks[row]] > 0:
                left[self.tasks[row]] -= 1
                rows.append(row)
        return rows

    def read(self, row: int) -> Sample:
        """The sample of a row. Raises UserError when nothing makes its answer verifiable."""
        shard, offset, size = self._places[row].tolist()
        sample = self._dataset.read(shard, offset, size)
        if sample.truth is None:
            raise UserError(
                f"sample {sample.id} of {self._dataset.url} has no truth to reward by: drop {sample.task} from tasks"
            )
        return sample


def prompt_of(sample: Sample) -> Prompt:
    """The question of a sample, without its answer."""
    return Prompt(messages=tuple(sample.prompt()), images=sample.images)
