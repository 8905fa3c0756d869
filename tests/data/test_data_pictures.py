"""Pictures in every guise: modes, orientations, encodings, arrays; and what is refused, before it is decoded."""

import base64
import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from step3vl.data.crops import ImageSpec, PictureError
from step3vl.data.pictures import open_picture, to_rgb, upright, upright_size

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5  # 0..235
COLOUR = np.stack([GREY, GREY[::-1], np.full_like(GREY, 90)], axis=-1)


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def shown(picture: Image.Image) -> np.ndarray:
    assert picture.mode == "RGB"
    return np.asarray(picture)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "RGBX", "P", "PA", "YCbCr", "HSV", "CMYK", "LAB", "RGBa"])
def test_colours_survive_whatever_mode_they_are_kept_in(mode: str) -> None:
    original = Image.new("RGB", (8, 6), (200, 40, 90))
    if mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        kept = ImageCms.profileToProfile(original, *profiles, outputMode="LAB")
    elif mode in ("P", "PA"):
        kept = original.quantize(8).convert(mode)
    else:
        kept = (original.convert("RGBA") if mode == "RGBa" else original).convert(mode)
    assert kept.mode == mode
    difference = np.abs(shown(to_rgb(kept)).astype(int) - shown(original))
    assert difference.max() <= 4  # of a coarse hue


@pytest.mark.parametrize("mode", ["L", "LA", "La", "1"])
def test_grey_modes_become_equal_channels(mode: str) -> None:
    grey = Image.fromarray(GREY)
    kept = grey.convert("LA").convert("La") if mode == "La" else grey.convert(mode)
    rgb = shown(to_rgb(kept))
    assert (rgb == rgb[..., :1]).all()
    assert np.array_equal(rgb[..., 0], np.asarray(kept.convert("L")) if mode in ("L", "1") else GREY)


def test_transparency_is_dropped_and_not_laid_over_a_colour() -> None:
    clear = Image.new("RGBA", (8, 6), (10, 200, 30, 0))
    assert (shown(to_rgb(clear)) == (10, 200, 30)).all()
    indexed = Image.new("P", (8, 6), 1)
    indexed.putpalette([0, 0, 0, 10, 200, 30])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = open_picture(encoded(indexed, transparency=b"\xff\x00"))
        assert (shown(to_rgb(loaded)) == (10, 200, 30)).all()


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I", "F"])
def test_deep_greys_are_scaled_where_pillow_would_clip_them_to_white(mode: str) -> None:
    deep = GREY.astype(np.uint16) * 257
    if mode == "F":
        kept = Image.fromarray(GREY.astype(np.float32) / 255)
    elif mode == "I":
        kept = Image.fromarray(deep.astype(np.int32))
    else:
        kept = Image.frombytes(mode, (8, 6), deep.astype(">u2" if mode.endswith("B") else "<u2").tobytes())
    assert kept.mode == mode
    assert np.array_equal(shown(to_rgb(kept))[..., 0], GREY)


def test_integers_and_floats_of_eight_bits_stay_what_they_are() -> None:
    for values in (GREY.astype(np.int32), GREY.astype(np.float32)):
        assert np.array_equal(shown(to_rgb(Image.fromarray(values)))[..., 0], GREY)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_upright(orientation: int) -> None:
    original = Image.fromarray(COLOUR)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(original, exif=exif)
    stored = open_picture(data)
    assert upright_size(stored) == ((6, 8) if orientation >= 5 else (8, 6))
    turned = to_rgb(stored)
    assert turned.size == upright_size(turned)
    assert np.array_equal(shown(turned), shown(ImageOps.exif_transpose(Image.open(io.BytesIO(data)))))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_damaged_exif_block_leaves_the_picture_as_it_lies() -> None:
    picture = open_picture(encoded(Image.fromarray(COLOUR), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"))
    assert upright_size(picture) == (8, 6)
    assert to_rgb(picture).size == (8, 6)


def test_an_rgb_picture_is_not_copied() -> None:
    picture = Image.fromarray(COLOUR)
    assert to_rgb(picture) is picture


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "TGA", "JPEG2000", "AVIF"])
def test_bytes_in_every_format_that_is_read(kind: str) -> None:
    assert upright(encoded(Image.fromarray(COLOUR), kind)).size == (8, 6)


def test_bytes_path_text_data_url_and_base64_are_the_same_picture(tmp_path: Path) -> None:
    data = encoded(Image.fromarray(COLOUR))
    file = tmp_path / "a picture.png"
    file.write_bytes(data)
    url = "data:image/png;base64," + base64.b64encode(data).decode()
    wrapped = base64.encodebytes(data).decode()  # with line ends
    for source in (data, bytearray(data), memoryview(data), file, str(file), url, wrapped, COLOUR):
        assert np.array_equal(shown(upright(source)), COLOUR), type(source)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (GREY, GREY),
        (GREY[..., None], GREY),
        (GREY[None], GREY),
        (COLOUR, COLOUR),
        (COLOUR.transpose(2, 0, 1), COLOUR),
        (np.dstack([COLOUR, GREY]), COLOUR),
        (COLOUR / 255, COLOUR),
        ((COLOUR / 255).astype(np.float16), COLOUR),
        (COLOUR.astype(np.uint16) * 257, COLOUR),
        (GREY > 100, (GREY > 100) * np.uint8(255)),
    ],
)
def test_arrays_of_every_layout_and_depth(values: np.ndarray, expected: np.ndarray) -> None:
    rgb = shown(upright(values))
    assert np.array_equal(rgb, expected if expected.ndim == 3 else np.dstack([expected] * 3))


def test_an_array_that_could_be_either_has_its_channels_last() -> None:
    assert upright(np.zeros((3, 5, 3), np.uint8)).size == (5, 3)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros((2, 5, 5), np.uint8), r"shape \[2, 5, 5\] is no picture"),
        (np.zeros((0, 5, 3), np.uint8), "no picture"),
        (np.zeros(5, np.uint8), "no picture"),
        (np.full((4, 4), 2.0), "float64 array from 2.0 to 2.0 is no picture: give uint8"),
        (np.full((4, 4), np.nan), "float64 array from nan"),
        (np.full((4, 4), 300), "int64 array from 300"),
        (b"not a picture", r"data of 13 bytes is in no known format of pictures \(PNG, JPEG"),
        (b"", "data of 0 bytes"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no known format"),
        ("nowhere/picture.png", "'nowhere/picture.png' is no file, and read as base64 it"),
        ("https://example.org/a.png", "https://example.org/a.png is not fetched here: read it and give its bytes"),
        ("file:///etc/passwd", "file:///etc/passwd is not fetched here"),
        ("data:image/png,abc", "holds no base64"),
        ("data:image/png;base64,@@@", "the data URL cannot be decoded"),
        (7, "a int is no picture: give a PIL image, bytes"),
    ],
)
def test_what_is_no_picture_is_one_line(source: object, message: str) -> None:
    with pytest.raises(PictureError, match=message) as refused:
        upright(source)  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)


def test_a_folder_and_a_text_too_long_for_a_path_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="cannot be opened"):
        upright(tmp_path)
    with pytest.raises(PictureError, match="is no file, and read as base64 it"):
        upright("no picture " * 1000)


def test_a_file_that_ends_early_is_refused() -> None:
    data = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)))
    for cut in (len(data) // 2, len(data) // 4):
        with pytest.raises(PictureError, match="damaged or cut short"):
            upright(data[:cut])


def bomb(width: int, height: int) -> bytes:
    """A PNG that says it is large; there is nothing behind its header."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b""))]
    body = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def test_limits_are_checked_on_the_header() -> None:
    with pytest.raises(PictureError, match="9000x9000 pixels is more than max_pixels=67108864"):
        upright(bomb(9000, 9000), ImageSpec())
    with pytest.raises(PictureError, match="needs 3024 crops"):
        upright(bomb(100_000, 40), ImageSpec())
    with pytest.raises(PictureError, match="damaged or cut short"):
        upright(bomb(900, 900), ImageSpec())
    with pytest.raises(PictureError, match=r"decompression bomb.*raise PIL.Image.MAX_IMAGE_PIXELS"):
        upright(bomb(50_000, 50_000))


def test_a_png_that_was_cut_is_refused_whatever_was_asked_of_it_first() -> None:
    file = io.BytesIO()
    Image.effect_noise((64, 64), 60).convert("RGB").save(file, "PNG")
    picture = open_picture(file.getvalue()[:-2000])
    for look in (upright_size, to_rgb):
        with pytest.raises(PictureError, match="cut short"):
            look(picture)
