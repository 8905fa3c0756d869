"""How many labels of a finished dataset are wrong, by the independent checks that domains offer."""

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path

from pydantic import ValidationError

from step3vl.data.dataset import Dataset
from step3vl.data.errors import is_infrastructure_error
from step3vl.data.inspect import LabelReport, TaskChecks, WrongLabel, read_samples, sample_tasks
from step3vl.data.sample import Sample
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import LabelCheck, Unchecked
from step3vl.pipelines.domains import DOMAINS

_log = logging.getLogger(__name__)

_EXAMPLES = 5  # of wrong labels, of each task
_SHOWN = 200  # characters of an answer
_OPEN = 8  # entries whose checks are kept: each may hold a process, a browser and the list of its input files


def check_labels(dataset: Dataset, number: int = 200, seed: int = 0, task: str | None = None) -> LabelReport:
    """Check a random sample of each task.

    A sample names the entry that it was built by (`step3vl/{entry}/...` in `collected_by`), the dataset the entry's
    domain and configuration, and the domain its check.

    Args:
        dataset: The dataset. Relative paths of its configuration start from the working directory.
        number: Samples of each task, at most.
        seed: Of the sample.
        task: Only tasks that match this shell pattern.

    Raises:
        DamagedSample: A sample's bytes are not those committed.
        InfrastructureError: The machine or a store fails.
    """
    checks = Checks(dataset)
    tasks = {}
    for name, located in sample_tasks(dataset, number, seed, task).items():
        tasks[name] = check_task(read_samples(dataset, located), checks.of)
        _log.info("%s: %d checked, %d wrong", name, tasks[name].checked, tasks[name].errors)
    return LabelReport(dataset=dataset.fingerprint, samples=number, seed=seed, tasks=tasks)


class Checks:
    """The label checks of a dataset's entries, each made when it is needed; those used last are kept.

    Args:
        dataset: The dataset.
    """

    def __init__(self, dataset: Dataset) -> None:
        config = dataset.manifest.config
        self._entries = {entry["name"]: entry for entry in config.get("domains", ())}
        self._context = StepContext(config.get("seed", 0), str(Path.cwd()), dataset.files.config)
        self._checks: OrderedDict[str, LabelCheck] = OrderedDict()

    def of(self, sample: Sample) -> LabelCheck:
        """The check of the domain that made a sample.

        Raises:
            Unchecked: There is none.
        """
        _, _, rest = sample.source.collected_by.partition("/")
        name = rest.partition("/")[0]
        if name not in self._checks:
            self._checks[name] = self._make(name)
            if len(self._checks) > _OPEN:
                self._checks.popitem(last=False)
        self._checks.move_to_end(name)
        return self._checks[name]

    def _make(self, name: str) -> LabelCheck:
        fields = self._entries.get(name)
        if fields is None:
            raise Unchecked("no_entry")
        domain = DOMAINS.get(fields["domain"])
        if domain is None or domain.label_check is None:
            raise Unchecked("no_check")
        try:
            entry = domain.entry.model_validate(fields)
        except ValidationError:
            raise Unchecked("entry_of_another_release") from None
        return domain.label_check(entry, self._context)


def check_task(samples: Iterable[Sample], check_of: Callable[[Sample], LabelCheck]) -> TaskChecks:
    """Check samples of a task.

    Args:
        samples: The samples.
        check_of: The check of a sample; it raises Unchecked where there is none.
    """
    right = 0
    wrong = Counter[str]()
    unchecked = Counter[str]()
    examples: list[WrongLabel] = []
    for sample in samples:
        try:
            reason = check_of(sample)(sample)
        except Unchecked as error:
            unchecked[error.reason] += 1
            continue
        except Exception as error:  # whatever reading a label in another way may raise
            if is_infrastructure_error(error):
                raise
            unchecked[type(error).__name__] += 1
            _log.warning("the check of %s failed", sample.id, exc_info=True)
            continue
        if reason is None:
            right += 1
            continue
        wrong[reason] += 1
        if len(examples) < _EXAMPLES:
            examples.append(WrongLabel(id=sample.id, reason=reason, answer=sample.last_text()[:_SHOWN]))
    return TaskChecks(right=right, wrong=wrong, unchecked=unchecked, examples=tuple(examples))
