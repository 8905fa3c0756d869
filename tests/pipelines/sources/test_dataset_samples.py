"""A committed dataset as the input of a domain."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from step3vl.data.dataset import Dataset
from step3vl.data.errors import InfrastructureError, UserError
from step3vl.data.storage import DEFAULT_STORE
from step3vl.pipelines.core.inputs import InputFile, list_pattern
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.sources.dataset_samples import SampleRef, ShardReader, read_sample, shard_files

LABELLED = "data/samples/labelled"


def listed(datasets: list[str]) -> Iterator[InputFile]:
    for source in shard_files(datasets).sources:
        for pattern in source.files:
            yield from list_pattern(pattern, source.licence, entry="e", base=str(Path.cwd()), store=DEFAULT_STORE)


def refs(datasets: list[str], tasks: tuple[str, ...] = ("*",), split: str | None = None) -> list[SampleRef]:
    reader = ShardReader(tasks, split, DEFAULT_STORE)  # type: ignore[arg-type]
    return [ref for file in listed(datasets) for ref in reader.samples(file)]


def test_every_sample_is_read_as_it_was_committed() -> None:
    expected = {sample.id: sample for sample in Dataset.open(LABELLED).samples()}
    read = {sample.id: sample for sample in map(read_sample, refs([LABELLED]))}
    assert read.keys() == expected.keys() and len(read) == 36
    for sample in read.values():
        original = expected[sample.id]
        assert sample.messages == original.messages and sample.truth == original.truth
        assert [image.read() for image in sample.images] == [image.data for image in original.images]
        assert all(image.data is None and image.at and image.at.xxh3 for image in sample.images)
        assert sample.content_id() == sample.id


def test_only_the_tasks_that_are_asked_for_are_inputs() -> None:
    tasks = {read_sample(ref).task for ref in refs([LABELLED], ("ocr.image_to_code.*", "gui.*"))}
    assert tasks == {"ocr.image_to_code.chart_data", "ocr.image_to_code.table_data", "ocr.image_to_code.diagram_data"}


def test_a_shard_of_the_other_split_is_dropped() -> None:
    (file,) = listed([LABELLED])
    with pytest.raises(Dropped, match="other_split"):
        list(ShardReader(("*",), "heldout", DEFAULT_STORE).samples(file))
    assert refs([LABELLED], split="train")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(LABELLED, tmp_path / "copy"))


def test_a_shard_that_the_manifest_does_not_name_is_refused(copy: Path) -> None:
    (shard,) = (copy / "shards").glob("*.tar")
    shutil.copyfile(shard, copy / "shards" / "stray.tar")
    with pytest.raises(UserError, match=r"stray.tar is not named in the dataset.json"):
        refs([str(copy)])


def test_a_folder_that_is_no_dataset_is_refused(copy: Path) -> None:
    (copy / "dataset.json").unlink()
    with pytest.raises(UserError, match="nothing was committed there"):
        refs([str(copy)])


def test_damaged_bytes_are_no_sample(copy: Path) -> None:
    ref = refs([str(copy)])[0]
    path = Path(ref.at.path)
    data = bytearray(path.read_bytes())
    data[ref.images[0].offset + 20] ^= 1
    path.write_bytes(data)
    with pytest.raises(InfrastructureError, match="damaged"):
        read_sample(ref)


def test_an_image_that_changes_later_is_noticed(copy: Path) -> None:
    sample = read_sample(refs([str(copy)])[0])
    at = sample.images[0].at
    assert at is not None
    path = Path(at.path)
    data = bytearray(path.read_bytes())
    data[at.offset + 20] ^= 1
    path.write_bytes(data)
    with pytest.raises(InfrastructureError):
        sample.images[0].read()
