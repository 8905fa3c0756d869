"""The block of a sample: one read gives its row and its images."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from step3vl.data.errors import InfrastructureError
from step3vl.data.sample import Pointer, Sample
from step3vl.data.sample.canonical import row_json
from step3vl.pipelines.core.blocks import pack_sample, unpack_sample

Make = Callable[..., Sample]


def test_a_packed_sample_comes_back(make_sample: Make) -> None:
    sample = make_sample(1)
    block = pack_sample(sample, "/root")
    assert unpack_sample(block.data, "/root") == sample
    assert block.data.startswith(f"{block.row}\n".encode())
    assert "\n" not in block.row


def test_its_json_in_a_shard_is_that_of_the_sample(make_sample: Make) -> None:
    sample = make_sample(1)
    staged = Sample.from_row(json.loads(pack_sample(sample, "/root").row))
    assert row_json(staged, sample.tokens) == row_json(sample, sample.tokens)


def test_an_image_that_is_staged_elsewhere_stays_there(make_sample: Make, tmp_path: Path) -> None:
    sample = make_sample(1)
    (image,) = sample.images
    assert image.data is not None
    (tmp_path / "e").mkdir()
    (tmp_path / "e/part.bin").write_bytes(image.data)
    staged = image.stored_at(Pointer(path=f"{tmp_path}/e/part.bin", offset=0, size=len(image.data)))
    block = pack_sample(sample.model_copy(update={"images": (staged,)}), str(tmp_path))
    assert image.data not in block.data
    assert json.loads(block.row)["images"][0]["at"]["path"] == "e/part.bin"
    moved = tmp_path / "moved"
    (tmp_path / "e").rename(moved)
    (moved / "e").mkdir()
    (moved / "part.bin").rename(moved / "e/part.bin")
    assert unpack_sample(block.data, str(moved)).images[0].read() == image.data


def test_an_input_file_that_is_pointed_to_keeps_its_path(make_sample: Make) -> None:
    sample = make_sample(1)
    for path in ("/elsewhere/scan.png", "s3://bucket/scan.png"):
        image = sample.images[0].stored_at(Pointer(path=path, offset=0, size=1))
        block = pack_sample(sample.model_copy(update={"images": (image,)}), "/root")
        pointer = unpack_sample(block.data, "/root").images[0].at
        assert pointer is not None
        assert pointer.path == path


def test_an_image_with_neither_bytes_nor_a_pointer_is_refused(make_sample: Make) -> None:
    sample = make_sample(1)
    image = sample.images[0].model_copy(update={"data": None})
    with pytest.raises(ValueError, match="neither bytes nor a pointer"):
        pack_sample(sample.model_copy(update={"images": (image,)}), "/root")


def test_a_damaged_block_is_the_machines_error(make_sample: Make) -> None:
    block = pack_sample(make_sample(1), "/root").data
    with pytest.raises(InfrastructureError, match="damaged"):
        unpack_sample(block[100:], "/root")
