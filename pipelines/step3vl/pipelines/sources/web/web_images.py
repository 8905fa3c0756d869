"""Which images of a page are worth keeping, and the addresses that they are known by."""

import base64
import binascii
import re
from urllib.parse import unquote_to_bytes, urlsplit

import numpy as np
import zxingcpp
from PIL import Image as PILImage
from xxhash import xxh3_64_hexdigest

from step3vl.data.sample import FORMAT, MAX_PIXELS, Image, ImageError, open_image, to_rgb
from step3vl.pipelines.sources.web.main_body import ImageNode

_DECORATION = re.compile(
    r"(?:^|[-_.])(?:logos?|icons?|ico|sprites?|avatars?|gravatar|spacer|buttons?|btn|badges?|emojis?|smil(?:ey|ie)s?|"
    r"favicon|placeholder|bullets?)(?:[-_.\d]|$)"
    r"|^(?:pixel|blank|clear|transparent|rss|load(?:ing|er)|arrows?|banner|widget|plugin|shim|dot|line)[-_\d]*(?:\.|$)",
    re.IGNORECASE,
)
_VECTOR = (".svg", ".svgz")
_SMALLEST_SHOWN = 64  # pixels; what a page shows smaller is an icon
_QR_SIDE = 1000  # pixels to which an image is reduced before codes are looked for
_CODES = zxingcpp.BarcodeFormats([zxingcpp.BarcodeFormat.QRCode, zxingcpp.BarcodeFormat.MicroQRCode])


def address_key(address: str) -> str:
    """What an image's address is looked up by: http and https are one."""
    return xxh3_64_hexdigest(address.partition("://")[2].encode())


def is_decoration(node: ImageNode) -> bool:
    """Whether an image is an icon, a logo or a part of the layout, by its address and the size that it is shown at."""
    if node.size is not None and max(node.size) < _SMALLEST_SHOWN:
        return True
    paths = [urlsplit(address).path for address in node.addresses if not address.startswith("data:")]
    return any(_DECORATION.search(path.rpartition("/")[2]) for path in paths)


def is_vector(address: str) -> bool:
    """Whether an address is one of a vector image, by its name."""
    return urlsplit(address).path.lower().endswith(_VECTOR) or address.startswith("data:image/svg")


def decode_data_url(address: str, limit: int) -> bytes:
    """The bytes of a `data:` URL; none where it is damaged or longer than the limit."""
    header, _, body = address.partition(",")
    if len(body) > 2 * limit:
        return b""
    data = unquote_to_bytes(body)
    if header.rstrip().lower().endswith(";base64"):
        try:
            data = base64.b64decode(b"".join(data.split()) + b"==")
        except binascii.Error:
            return b""
    return data if len(data) <= limit else b""


def load_image(data: bytes, sides: tuple[int, int], max_aspect: float) -> tuple[Image | None, str]:
    """An image as a sample holds it, decoded once, or why it is left out.

    Args:
        data: The encoded image.
        sides: The shortest and the longest side, in pixels.
        max_aspect: The longer side over the shorter one.

    Returns:
        The image and an empty reason, or None and `damaged`, `unsupported`, `too_small`, `too_large`, `aspect_ratio`
        or `qr_code`.
    """
    try:
        opened = open_image(data)
        if reason := _unwanted(opened, sides, max_aspect):
            return None, reason
        name, pixels = FORMAT[opened.format or ""], to_rgb(opened)
    except ImageError:
        return None, "damaged"
    if has_qr_code(pixels):
        return None, "qr_code"
    return Image.from_decoded(data, name, pixels), ""


def _unwanted(image: PILImage.Image, sides: tuple[int, int], max_aspect: float) -> str:
    if image.format not in FORMAT:
        return "unsupported"
    width, height = image.size
    if min(width, height) < sides[0]:
        return "too_small"
    if max(width, height) > sides[1] or width * height > MAX_PIXELS:
        return "too_large"
    return "aspect_ratio" if max(width, height) > max_aspect * min(width, height) else ""


def has_qr_code(image: PILImage.Image) -> bool:
    """Whether a QR code is in a decoded image."""
    return qr_code_area(image) > 0


def qr_code_area(image: PILImage.Image) -> float:
    """The share of a decoded image that the QR codes in it cover, 0..1."""
    pixels = image.convert("L")
    pixels.thumbnail((_QR_SIDE, _QR_SIDE))
    codes = zxingcpp.read_barcodes(np.asarray(pixels), formats=_CODES, try_downscale=False)
    return min(1.0, sum(map(_area, codes)) / (pixels.width * pixels.height))


def _area(code: zxingcpp.Barcode) -> float:
    """Of the quadrangle that a code fills, in pixels: half of the cross product of its diagonals."""
    place = code.position
    first = place.bottom_right.x - place.top_left.x, place.bottom_right.y - place.top_left.y
    second = place.bottom_left.x - place.top_right.x, place.bottom_left.y - place.top_right.y
    return max(1.0, abs(first[0] * second[1] - first[1] * second[0]) / 2)
