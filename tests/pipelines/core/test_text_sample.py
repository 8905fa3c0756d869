from collections.abc import Callable, Sequence

import apache_beam as beam
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_pipeline import TestPipeline as BeamTestPipeline

from step3vl.data.sample import Sample
from step3vl.pipelines.core.fragments import Fragment
from step3vl.pipelines.core.staging import Staging
from step3vl.pipelines.core.text_sample import WriteTexts, read_texts
from step3vl.pipelines.core.work_list import Work

StageSamples = Callable[[Sequence[Sample], int], list[Fragment]]


def texts(staging: Staging, fragments: Sequence[Fragment], fraction: float, seed: int = 0) -> list[str]:
    with BeamTestPipeline(runner=FnApiRunner()) as pipeline:
        work = pipeline | beam.Create([Work(0, fragment).dump() for fragment in fragments])
        _ = work | WriteTexts(staging, fraction, seed)
    return list(read_texts(staging))


def test_all_texts_of_a_small_corpus_are_used(
    staging: Staging, stage_samples: StageSamples, make_sample: Callable[..., Sample]
) -> None:
    samples = [make_sample(number) for number in range(30)]
    written = texts(staging, stage_samples(samples, 4), 1.0)
    assert sorted(written) == sorted(["Read it."] * 30 + [str(number) for number in range(30)])


def test_a_sample_depends_on_ids_and_seed_and_a_larger_one_contains_it(
    staging: Staging, stage_samples: StageSamples, make_sample: Callable[..., Sample]
) -> None:
    samples = [make_sample(number) for number in range(200)]
    small = texts(staging, stage_samples(samples, 3), 0.2)
    assert texts(staging, stage_samples(samples[::-1], 5), 0.2) == small
    assert 20 < len(small) / 2 < 70
    assert set(small) < set(texts(staging, stage_samples(samples, 3), 0.5))
    assert set(small) != set(texts(staging, stage_samples(samples, 3), 0.2, seed=1))
