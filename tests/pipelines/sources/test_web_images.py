import base64
import io

import numpy as np
import pytest
import zxingcpp
from PIL import Image as PILImage

from step3vl.pipelines.sources.web.main_body import ImageNode
from step3vl.pipelines.sources.web.web_images import (
    address_key,
    decode_data_url,
    has_qr_code,
    is_decoration,
    is_vector,
    load_image,
)

SIDES = (100, 4000)


def encoded(image: PILImage.Image, name: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name)
    return buffer.getvalue()


def photo(width: int, height: int, seed: int = 0) -> PILImage.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    return PILImage.fromarray(pixels).resize((width, height))


def qr_code(side: int) -> PILImage.Image:
    code = zxingcpp.create_barcode("https://a.example/follow-us", zxingcpp.BarcodeFormat.QRCode)
    return PILImage.fromarray(np.array(code.to_image(scale=8))).convert("L").resize((side, side))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (encoded(photo(300, 200)), ""),
        (encoded(photo(300, 200), "JPEG"), ""),
        (encoded(photo(300, 90)), "too_small"),
        (encoded(photo(4100, 2000), "JPEG"), "too_large"),
        (encoded(photo(800, 200)), "aspect_ratio"),
        (encoded(photo(300, 200), "PPM"), "unsupported"),
        (encoded(photo(300, 200))[:5000], "damaged"),
        (b"<html>404</html>", "damaged"),
        (encoded(qr_code(300)), "qr_code"),
        (encoded(qr_code(300).convert("RGB"), "JPEG"), "qr_code"),
    ],
)
def test_images_are_kept_or_left_out_for_a_reason(data: bytes, reason: str) -> None:
    image, actual = load_image(data, SIDES, 3.0)
    assert actual == reason
    assert (image is None) == bool(reason)
    assert image is None or image.data == data


@pytest.mark.parametrize("angle", [0, 90, 180, 20])
def test_qr_codes_are_found_in_larger_images(angle: int) -> None:
    image = photo(1600, 1200)
    image.paste(qr_code(260).rotate(angle, expand=True, fillcolor=255), (1000, 700))
    assert has_qr_code(image)


def test_photographs_have_no_qr_code() -> None:
    assert not any(has_qr_code(photo(600, 400, seed)) for seed in range(10))


@pytest.mark.parametrize(
    ("path", "size", "expected"),
    [
        ("img/site-logo.png", None, True),
        ("icons/arrow.gif", None, True),
        ("a/photo.jpg", (16, 16), True),
        ("a/photo.jpg", (640, 2), False),
        ("catalogo.jpg", None, False),
        ("logo/eiffel-tower.jpg", None, False),
        ("a/button2.png", None, True),
        ("a/pixel.gif", None, True),
        ("a/plot_pixel_graphs.png", None, False),
    ],
)
def test_decoration_is_known_by_name_and_size(path: str, size: tuple[int, int] | None, expected: bool) -> None:
    assert is_decoration(ImageNode((f"https://a.example/{path}",), "", size)) == expected


def test_addresses() -> None:
    assert (
        address_key("http://a.example/x") == address_key("https://a.example/x") != address_key("https://a.example/y")
    )
    assert (
        is_vector("https://a.example/x.SVG?v=1") and is_vector("data:image/svg+xml,<svg>") and not is_vector("x.png")
    )


def test_data_urls_are_decoded_within_limits() -> None:
    body = base64.b64encode(b"image").decode()
    assert decode_data_url(f"data:image/png;base64,{body}", 10) == b"image"
    assert decode_data_url("data:image/png;base64,aW1h\n Z2U", 10) == b"image"
    assert decode_data_url("data:image/gif,%47IF", 10) == b"GIF"
    assert decode_data_url(f"data:image/png;base64,{body}", 3) == b""
    assert decode_data_url("data:image/png;base64,a", 10) == b""
