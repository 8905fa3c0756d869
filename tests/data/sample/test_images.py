"""Images in all representations: modes, orientations, encodings, arrays; and what is refused before decoding."""

import base64
import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from step3vl.data.sample.crops import ImageError, ImageSpec
from step3vl.data.sample.images import open_image, to_rgb, upright, upright_size

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5  # 0..235

COLOUR = np.stack([GREY, GREY[::-1], np.full_like(GREY, 90)], axis=-1)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(image: Image.Image) -> np.ndarray:
    assert image.mode == "RGB"
    return np.asarray(image)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "RGBX", "P", "PA", "YCbCr", "HSV", "CMYK", "LAB", "RGBa"])
def test_colours_are_preserved_in_every_mode(mode: str) -> None:
    original = Image.new("RGB", (8, 6), (200, 40, 90))
    if mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        kept = ImageCms.profileToProfile(original, *profiles, outputMode="LAB")
    elif mode in ("P", "PA"):
        kept = original.quantize(8).convert(mode)
    else:
        kept = (original.convert("RGBA") if mode == "RGBa" else original).convert(mode)
    assert kept.mode == mode
    difference = np.abs(pixels(to_rgb(kept)).astype(int) - pixels(original))
    assert difference.max() <= 4  # of a coarse hue


@pytest.mark.parametrize("mode", ["L", "LA", "La", "1"])
def test_grey_modes_become_equal_channels(mode: str) -> None:
    grey = Image.fromarray(GREY)
    kept = grey.convert("LA").convert("La") if mode == "La" else grey.convert(mode)
    rgb = pixels(to_rgb(kept))
    assert (rgb == rgb[..., :1]).all()
    assert np.array_equal(rgb[..., 0], np.asarray(kept.convert("L")) if mode in ("L", "1") else GREY)


def hidden(kind: str, level: int) -> Image.Image:
    """An opaque green left half; in the right half a grey of this level, which is fully transparent."""
    alpha = Image.new("L", (8, 6), 255)
    alpha.paste(0, (4, 0, 8, 6))
    image = Image.new("RGB", (8, 6), (0, 120, 0))
    image.paste((level, level, level), (4, 0, 8, 6))
    if kind == "RGBA":
        image.putalpha(alpha)
    elif kind in ("LA", "La"):
        image = image.convert("L").convert("LA")
        image.putalpha(alpha)
        image = image.convert(kind)
    elif kind == "a key colour":
        image = Image.open(io.BytesIO(encoded(image, transparency=(level, level, level))))
    elif kind == "a grey key":
        image = Image.open(io.BytesIO(encoded(image.convert("L"), transparency=level)))
    else:
        indexed = Image.new("P", (8, 6), 0)
        indexed.paste(1, (4, 0, 8, 6))
        indexed.putpalette([0, 120, 0, level, level, level])
        options = {"palette": ("PNG", b"\xff\x00"), "palette index": ("PNG", 1), "GIF": ("GIF", 1)}
        format_, transparency = options[kind]
        image = Image.open(io.BytesIO(encoded(indexed, format_, transparency=transparency)))
    return image


KINDS = ["RGBA", "LA", "La", "palette", "palette index", "GIF", "a key colour", "a grey key"]


@pytest.mark.parametrize("kind", KINDS)
def test_colours_that_nobody_sees_never_matter(kind: str) -> None:
    """Else an image that looks the same is read differently on white and on black."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        on_black, on_white = (pixels(to_rgb(hidden(kind, level))) for level in (0, 255))
    assert np.array_equal(on_black, on_white)
    assert (on_black[:, 4:] == 255).all()
    assert (on_black[:, :4, 0] < 80).all()
    blue = pixels(to_rgb(hidden(kind, 0), (0, 0, 255)))
    assert (blue[:, 4:] == (0, 0, 255)).all()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "La"])  # premultiplied: the colours are gone
def test_without_a_background_alpha_is_dropped_as_in_the_released_processor(kind: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (pixels(to_rgb(hidden(kind, 7), None))[:, 4:] == 7).all()


def test_translucent_pixels_are_blended_as_by_vllm() -> None:
    levels = np.random.default_rng(0).integers(0, 256, (16, 16, 4), dtype=np.uint8)
    image = Image.fromarray(levels)
    converted = Image.new("RGB", image.size, (255, 255, 255))  # as `rgba_to_rgb` of vllm/multimodal/image.py
    converted.paste(image, mask=image.split()[3])
    assert np.array_equal(pixels(to_rgb(image)), np.asarray(converted))
    assert np.array_equal(pixels(to_rgb(open_image(levels))), np.asarray(converted))


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I", "F"])
def test_deep_greys_are_scaled_where_pillow_would_clip_them(mode: str) -> None:
    deep = GREY.astype(np.uint16) * 257
    if mode == "F":
        kept = Image.fromarray(GREY.astype(np.float32) / 255)
    elif mode == "I":
        kept = Image.fromarray(deep.astype(np.int32))
    else:
        kept = Image.frombytes(mode, (8, 6), deep.astype(">u2" if mode.endswith("B") else "<u2").tobytes())
    assert kept.mode == mode
    assert np.array_equal(pixels(to_rgb(kept))[..., 0], GREY)


def test_integers_and_floats_of_eight_bits_are_not_scaled() -> None:
    for values in (GREY.astype(np.int32), GREY.astype(np.float32)):
        assert np.array_equal(pixels(to_rgb(Image.fromarray(values)))[..., 0], GREY)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_becomes_upright(orientation: int) -> None:
    original = Image.fromarray(COLOUR)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(original, exif=exif)
    stored = open_image(data)
    assert upright_size(stored) == ((6, 8) if orientation >= 5 else (8, 6))
    turned = to_rgb(stored)
    assert turned.size == upright_size(turned)
    assert np.array_equal(pixels(turned), pixels(ImageOps.exif_transpose(Image.open(io.BytesIO(data)))))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_leaves_the_image_unrotated() -> None:
    image = open_image(encoded(Image.fromarray(COLOUR), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"))
    assert upright_size(image) == (8, 6)
    assert to_rgb(image).size == (8, 6)


def test_rgb_image_is_not_copied() -> None:
    image = Image.fromarray(COLOUR)
    assert to_rgb(image) is image


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "TGA", "JPEG2000", "AVIF"])
def test_bytes_of_every_supported_format(kind: str) -> None:
    assert upright(encoded(Image.fromarray(COLOUR), kind)).size == (8, 6)


def test_bytes_path_text_data_url_and_base64_give_the_same_image(tmp_path: Path) -> None:
    data = encoded(Image.fromarray(COLOUR))
    file = tmp_path / "an image.png"
    file.write_bytes(data)
    url = "data:image/png;base64," + base64.b64encode(data).decode()
    wrapped = base64.encodebytes(data).decode()  # with line ends
    for source in (data, bytearray(data), memoryview(data), file, str(file), url, wrapped, COLOUR):
        assert np.array_equal(pixels(upright(source)), COLOUR), type(source)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (GREY, GREY),
        (GREY[..., None], GREY),
        (GREY[None], GREY),
        (COLOUR, COLOUR),
        (COLOUR.transpose(2, 0, 1), COLOUR),
        (np.dstack([COLOUR, np.full_like(GREY, 255)]), COLOUR),
        (COLOUR / 255, COLOUR),
        ((COLOUR / 255).astype(np.float16), COLOUR),
        (COLOUR.astype(np.uint16) * 257, COLOUR),
        (GREY > 100, (GREY > 100) * np.uint8(255)),
    ],
)
def test_arrays_of_every_layout_and_depth(values: np.ndarray, expected: np.ndarray) -> None:
    rgb = pixels(upright(values))
    assert np.array_equal(rgb, expected if expected.ndim == 3 else np.dstack([expected] * 3))


def test_ambiguous_array_has_its_channels_last() -> None:
    assert upright(np.zeros((3, 5, 3), np.uint8)).size == (5, 3)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros((2, 5, 5), np.uint8), r"shape \[2, 5, 5\] is not an image"),
        (np.zeros((0, 5, 3), np.uint8), "not an image"),
        (np.zeros(5, np.uint8), "not an image"),
        (np.full((4, 4), 2.0), "float64 array from 2.0 to 2.0 is not an image: give uint8"),
        (np.full((4, 4), np.nan), "float64 array from nan"),
        (np.full((4, 4), 300), "int64 array from 300"),
        (b"not an image", r"data of 12 bytes is not in a known image format \(PNG, JPEG"),
        (b"", "data of 0 bytes"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not in a known image format"),
        ("nowhere/image.png", "'nowhere/image.png' is not a file, and as base64 it"),
        ("https://example.org/a.png", "https://example.org/a.png is not fetched here: read it and give its bytes"),
        ("file:///etc/passwd", "file:///etc/passwd is not fetched here"),
        ("data:image/png,abc", "has no base64"),
        ("data:image/png;base64,@@@", "the data URL cannot be decoded"),
        (7, "a int is not an image: give a PIL image, bytes"),
    ],
)
def test_error_for_other_data_is_one_line(source: object, message: str) -> None:
    with pytest.raises(ImageError, match=message) as refused:
        upright(source)  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)


def test_folder_and_overlong_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot be opened"):
        upright(tmp_path)
    with pytest.raises(ImageError, match="is not a file, and as base64 it"):
        upright("no image " * 1000)


def test_truncated_file_is_refused() -> None:
    data = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)))
    for cut in (len(data) // 2, len(data) // 4):
        with pytest.raises(ImageError, match="damaged or truncated"):
            upright(data[:cut])


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header states a large size, without pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b""))]
    body = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def test_limits_are_checked_on_the_header() -> None:
    with pytest.raises(ImageError, match="9000x9000 pixels is more than max_pixels=67108864"):
        upright(bomb(9000, 9000), ImageSpec())
    with pytest.raises(ImageError, match="needs 3024 crops"):
        upright(bomb(100_000, 40), ImageSpec())
    with pytest.raises(ImageError, match="damaged or truncated"):
        upright(bomb(900, 900), ImageSpec())
    with pytest.raises(ImageError, match=r"decompression bomb.*raise PIL.Image.MAX_IMAGE_PIXELS"):
        upright(bomb(50_000, 50_000))


def test_truncated_png_is_refused_by_every_function() -> None:
    file = io.BytesIO()
    Image.effect_noise((64, 64), 60).convert("RGB").save(file, "PNG")
    image = open_image(file.getvalue()[:-2000])
    for look in (upright_size, to_rgb):
        with pytest.raises(ImageError, match="truncated"):
            look(image)
