"""Images appended to a part file."""

from collections.abc import Callable
from pathlib import Path

from step3vl.data.dataset.image_parts import ImagePartWriter
from step3vl.data.sample.sample import Sample


def test_staged_images_are_read_through_their_pointers(tmp_path: Path, make_sample: Callable[..., Sample]) -> None:
    images = [make_sample(number).images[0] for number in range(3)]
    with ImagePartWriter(tmp_path / "images") as writer:
        staged = [writer.stage(image) for image in images]
        assert writer.stage(staged[0]) == staged[0], "an image with a pointer is returned unchanged"
    assert [image.read() for image in staged] == [image.read() for image in images]
    assert all(image.data is None for image in staged)


def test_no_file_without_images(tmp_path: Path) -> None:
    with ImagePartWriter(tmp_path / "images"):
        pass
    assert not (tmp_path / "images").exists()
