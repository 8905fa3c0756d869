import json
from collections.abc import Callable
from pathlib import Path

import apache_beam as beam

from step3vl.data.dataset import ImagePartWriter
from step3vl.data.sample import Image, Sample
from step3vl.pipelines.core.beam import CollectJson, run_pipeline
from step3vl.pipelines.core.samples import encode_jpeg
from step3vl.pipelines.core.staging import StagedStep, StageRows, StepResult, dump_sample, load_sample, read_rows
from step3vl.pipelines.render.style import plain


def test_images_are_read_back_from_their_part(tmp_path: Path) -> None:
    images = [encode_jpeg(plain((8 + n, 9), (n, n, n))) for n in range(4)]
    with ImagePartWriter(tmp_path / "images.bin") as parts:
        staged = [parts.stage(image) for image in images]
    assert len(list(tmp_path.iterdir())) == 1
    for image, pointer in zip(images, staged, strict=True):
        assert pointer.data is None
        assert pointer.read() == image.data
        assert Image.from_bytes(pointer.read()).sha256 == pointer.sha256
        assert ImagePartWriter(tmp_path / "more.bin").stage(pointer) is pointer


def test_staged_samples_are_read_back_with_their_images(tmp_path: Path, make_sample: Callable[..., Sample]) -> None:
    samples = [make_sample(number) for number in range(30)]

    def wire(pipeline: beam.Pipeline) -> None:
        parts = pipeline | beam.Create(samples) | StageRows(tmp_path, "samples", dump_sample)
        _ = parts | CollectJson(tmp_path / "parts.json")

    run_pipeline("stage", (), wire)
    staged = list(read_rows(json.loads((tmp_path / "parts.json").read_text()), load_sample))
    assert sorted(sample.id for sample in staged) == sorted(sample.id for sample in samples)
    data = {sample.id: sample.images[0].data for sample in samples}
    assert all(sample.images[0].read() == data[sample.id] for sample in staged)


def test_a_step_is_committed_once_and_runs_again_with_another_fingerprint(tmp_path: Path) -> None:
    step = StagedStep(tmp_path, "make", "a" * 64)
    assert step.result is None
    step.start()
    (step.folder / "half-written").write_text("x")
    step.start()
    assert not (step.folder / "half-written").exists()
    result = StepResult(parts={"icons": ("a", "b")}, producers=("icons.build",))
    step.commit(result)
    assert StagedStep(tmp_path, "make", "a" * 64).result == result
    other = StagedStep(tmp_path, "make", "b" * 64)
    assert other.result is None
    other.start()
    assert step.result == result, "a configuration that comes back finds its step"
