"""Encoded images and pointers to them."""

import io
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PILImage

from step3vl.data.errors import InfrastructureError
from step3vl.data.sample.parts import Image, Pointer


def encoded(size: tuple[int, int] = (20, 10), format: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    PILImage.new("RGB", size, (200, 30, 30)).save(buffer, format, **options)
    return buffer.getvalue()


def claiming(width: int, height: int) -> bytes:
    """A PNG whose header states another size than its pixels have."""
    data = encoded(format="PNG")
    header = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


def test_size_is_measured_after_the_exif_orientation() -> None:
    exif = PILImage.Exif()
    exif[0x0112] = 6
    turned = Image.from_bytes(encoded((20, 10), exif=exif))
    assert (turned.width, turned.height) == (10, 20) == turned.open().size


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not in a known image format"),
        (b"GIF89a but not", "image"),
        (encoded((300, 300))[:900], "cannot be decoded"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not in a known image format"),
        (encoded(format="PPM"), "a PPM image is not one of jpeg, png"),
        (claiming(8193, 8193), "8193 x 8193 pixels are more than 67108864"),
    ],
)
def test_broken_image_is_refused_with_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Image.from_bytes(data)


@pytest.mark.filterwarnings("ignore")
@given(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"]), st.data())
def test_garbled_bytes_are_an_image_or_a_value_error(format: str, data: st.DataObject) -> None:
    garbled = bytearray(encoded((9, 7), format))
    for position in data.draw(st.lists(st.integers(0, len(garbled) - 1), max_size=6)):
        garbled[position] = data.draw(st.integers(0, 255))
    try:
        image = Image.from_bytes(bytes(garbled))
    except ValueError:
        return
    assert image.format == format.lower() and image.open().size == (image.width, image.height)


def test_pointer_reads_its_slice_and_detects_a_truncated_file(tmp_path: Path) -> None:
    path = tmp_path / "parts.bin"
    data = encoded()
    path.write_bytes(b"head" + data)
    image = Image.from_bytes(data).stored_at(Pointer(path=str(path), offset=4, size=len(data)))
    assert image.read() == data
    path.write_bytes(b"head" + data[:-1])
    with pytest.raises(InfrastructureError, match=r"parts\.bin .* it was truncated"):
        image.read()


def test_mpo_is_read_as_the_jpeg_of_its_first_image() -> None:
    file = io.BytesIO()
    first, second = (PILImage.new("RGB", (20, 10), colour) for colour in ("red", "blue"))
    first.save(file, "MPO", save_all=True, append_images=[second])
    image = Image.from_bytes(file.getvalue())
    assert image.format == "jpeg" and image.open().getpixel((5, 5))[0] > 200
