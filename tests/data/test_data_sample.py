"""Samples: validation that names the field, ids that follow the content, pictures that are whole."""

import io
from pathlib import Path

import pytest
from PIL import Image as PILImage
from pydantic import ValidationError

from step3vl.data.sample import Image, Message, Pointer, Sample, Source, conversation, image, text
from step3vl.data.truth import CountTruth

SOURCE = Source(uri="test:1", licence="CC0-1.0", collected_by="tests")


def encoded(size: tuple[int, int] = (20, 10), format: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    PILImage.new("RGB", size, (200, 30, 30)).save(buffer, format, **options)
    return buffer.getvalue()


def sample(answer: str = "3", **changes: object) -> Sample:
    fields: dict = {
        "domain": "counting",
        "task": "counting.icons",
        "messages": conversation((image(0), text("How many?")), answer),
        "images": (Image.from_bytes(encoded()),),
        "truth": CountTruth(count=3),
        "source": SOURCE,
    }
    return Sample.make(**{**fields, **changes})


def test_id_follows_the_content_and_not_the_source() -> None:
    other = Source(uri="test:2", licence="MIT", collected_by="tests")
    assert sample().id == sample(source=other, scores={"a": 1.0}).id
    assert sample().id != sample(answer="4").id
    assert sample().id != sample(images=(Image.from_bytes(encoded((21, 10))),)).id


def test_row_round_trips_without_bytes() -> None:
    staged = sample().images[0].pointed(Pointer(path="x", offset=0, size=9))
    row = sample(images=(staged,)).to_row()
    assert "data" not in row["images"][0]
    assert Sample.from_row(row) == sample(images=(staged,))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"messages": None}, "either content"),
        ({"content": (image(0),)}, "either content"),
        ({"images": ()}, "image parts must name"),
        ({"task": "No Dots"}, "task"),
        ({"messages": (Message(role="user", content=(image(0),)),)}, "must end with an assistant"),
    ],
)
def test_validation_names_what_is_wrong(changes: dict, named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        sample(**changes)


def test_only_an_assistant_may_think() -> None:
    with pytest.raises(ValidationError, match="only an assistant"):
        Message(role="user", content=(text("hi"),), reasoning_content="hm")


def test_size_is_as_seen_after_the_exif_orientation() -> None:
    exif = PILImage.Exif()
    exif[0x0112] = 6
    turned = Image.from_bytes(encoded((20, 10), exif=exif))
    assert (turned.width, turned.height) == (10, 20) == turned.open().size


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "not a picture"), (b"GIF89a but not", "picture"), (encoded((300, 300))[:900], "cannot be decoded")],
)
def test_broken_picture_is_refused_with_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Image.from_bytes(data)


def test_pointer_reads_its_slice_and_notices_a_cut_file(tmp_path: Path) -> None:
    path = tmp_path / "parts.bin"
    data = encoded()
    path.write_bytes(b"head" + data)
    picture = Image.from_bytes(data).pointed(Pointer(path=str(path), offset=4, size=len(data)))
    assert picture.read() == data
    path.write_bytes(b"head" + data[:-1])
    with pytest.raises(ValueError, match="the file was cut"):
        picture.read()
