"""Preferences (a chosen and a rejected answer) travel in datasets, and no training text is made of them."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path

from step3vl.data.dataset import Dataset
from step3vl.data.plan import Mixture, MixtureSource, PlanPhase
from step3vl.data.plan.plan import Plan
from step3vl.data.sample import Message, Sample, text


def test_preferences_are_committed_as_version_2_and_never_packed(
    tmp_path: Path, build_dataset: Callable[..., Dataset], make_sample: Callable[..., Sample]
) -> None:
    samples = [make_sample(number, with_images=False) for number in range(40)]
    chosen = samples[0]
    rejected = Sample.make(
        domain=chosen.domain,
        task=chosen.task,
        messages=chosen.messages,
        rejected=Message(role="assistant", content=(text("another number"),)),
        truth=chosen.truth,
        source=chosen.source,
    )
    plain = build_dataset(tmp_path / "plain", samples)
    mixed = build_dataset(tmp_path / "mixed", [*samples, rejected])
    assert (plain.manifest.sample_version, mixed.manifest.sample_version) == (1, 2)
    assert {total.kind for total in mixed.manifest.tasks} == {"conversation", "preference"}

    def packed(dataset: Dataset) -> int:
        source = MixtureSource(dataset=str(tmp_path / Path(dataset.url).name), epochs=1)
        plan = Plan([PlanPhase(Mixture(sources=(source,)))], 64, 0)
        return sum(len(pack.items) for pack in islice(plan.packs(), 200))

    assert packed(mixed) == packed(plain) > 20
