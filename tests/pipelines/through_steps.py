"""Records through the steps of an entry one after the other, without an engine, and samples with wrong labels."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from step3vl.data.sample import Sample, Truth, text
from step3vl.data.storage import DEFAULT_STORE
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import BeamStep, Domain, DomainEntry, Numbers, Step
from step3vl.pipelines.core.inputs import list_pattern
from step3vl.pipelines.core.steps import Dropped, Record, rng_for


def through_steps(domain: Domain[Any], entry: DomainEntry, context: StepContext) -> tuple[list[Any], Counter[str]]:
    """What the last step of a domain emits, and why records are not kept.

    Args:
        domain: Of the entry.
        entry: Whose inputs are read.
        context: Of the steps.
    """
    entry.check(context)
    records: Sequence[Any] = inputs_of(entry, context)
    lost: Counter[str] = Counter()
    for step in domain.steps_of(entry):
        run = _function(step, entry, context)
        outputs: list[Any] = []
        for record in records:
            try:
                outputs += run(record)
            except Dropped as drop:
                lost[drop.reason] += 1
            except ValueError as error:
                lost[str(error)] += 1
        records = outputs
    return list(records), lost


def _function(step: Step, entry: DomainEntry, context: StepContext) -> Callable[[Record[Any]], Iterable[Any]]:
    if not isinstance(step, BeamStep):
        annotator = step.annotator(entry)
        return lambda record: [Record(record.key, value) for value in annotator([record.value])]
    worker = step.worker(entry, context)
    worker.setup()
    return lambda record: worker.process(record, rng_for(context.seed, f"{entry.name}.{step.name}", record.key))


def inputs_of(entry: DomainEntry, context: StepContext) -> list[Record[Any]]:
    """The records that the first step of an entry reads."""
    inputs = entry.inputs()
    if isinstance(inputs, Numbers):
        return [Record(f"{entry.name}/{number}", number) for number in range(inputs.count)]
    files = [
        file
        for source in inputs.sources
        for pattern in source.files
        for file in list_pattern(pattern, source.licence, entry=entry.name, base=context.base, store=DEFAULT_STORE)
    ]
    return sorted((Record(file.key, file) for file in files), key=lambda record: record.key)


def relabelled(sample: Sample, truth: Truth, answer: str) -> Sample:
    """A conversation whose label says something else."""
    assert sample.messages is not None
    *before, last = sample.messages
    messages = (*before, last.model_copy(update={"content": (text(answer),)}))
    return sample.model_copy(update={"messages": messages, "truth": truth})
