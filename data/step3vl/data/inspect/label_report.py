"""What an independent check of labels found: the error rate of each task, kept beside the dataset."""

import math
from collections.abc import Mapping
from typing import Self

from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.dataset.dataset import Dataset
from step3vl.data.storage.store import Store

LABEL_REPORT = "label_checks.json"
_NORMAL = 1.959964  # of a normal distribution, 95 % lie within as many standard deviations


class WrongLabel(Config):
    """A sample whose label the check found wrong."""

    id: str
    reason: str
    """What is wrong, in a word."""
    answer: str
    """The start of it."""


class TaskChecks(Config):
    """The check of a sample of a task."""

    right: int = 0
    wrong: dict[str, int] = Field(default_factory=dict)
    """Labels found wrong, by reason."""
    unchecked: dict[str, int] = Field(default_factory=dict)
    """Samples of which the check could tell nothing, by reason."""
    examples: tuple[WrongLabel, ...] = ()

    @property
    def errors(self) -> int:
        """Labels found wrong."""
        return sum(self.wrong.values())

    @property
    def checked(self) -> int:
        """Labels found right or wrong."""
        return self.right + self.errors


class LabelReport(Config):
    """The check of a dataset's labels."""

    dataset: str
    """Its fingerprint; a report of other samples is none of this dataset."""
    samples: int
    """Of each task, at most."""
    seed: int
    """Of the sample."""
    tasks: dict[str, TaskChecks]

    @classmethod
    def load(cls, dataset: Dataset) -> Self | None:
        """The report that lies beside a dataset, or None. Raises StoreError."""
        try:
            report = cls.model_validate_json(dataset.files.read_all(LABEL_REPORT))
        except (FileNotFoundError, ValueError):
            return None
        return report if report.dataset == dataset.fingerprint else None

    def save(self, store: Store) -> None:
        """Leave it beside a dataset. Raises StoreError."""
        store.put(LABEL_REPORT, self.model_dump_json(indent=1).encode())


def interval(errors: int, checked: int) -> tuple[float, float]:
    """The 95 % confidence interval of an error rate, after Wilson (1927).

    Args:
        errors: Labels found wrong.
        checked: Labels found right or wrong, at least 1.
    """
    rate, z2 = errors / checked, _NORMAL**2
    centre = (rate + z2 / (2 * checked)) / (1 + z2 / checked)
    radius = _NORMAL / (1 + z2 / checked) * math.sqrt(rate * (1 - rate) / checked + z2 / (4 * checked**2))
    return max(0.0, centre - radius), min(1.0, centre + radius)


def listed(counts: Mapping[str, int]) -> str:
    """Counts by reason as text."""
    return ", ".join(f"{reason} {number:,}" for reason, number in sorted(counts.items())) or "-"
