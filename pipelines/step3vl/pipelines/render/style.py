"""Fonts, colours and backgrounds: what makes one rendered image differ from the next."""

import random
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

from PIL import Image as PILImage
from PIL import ImageFont

from step3vl.data.errors import UserError
from step3vl.data.sample import Size
from step3vl.pipelines.core.image_cache import ImageCache

Colour = tuple[int, int, int]
Background = Literal["plain", "gradient", "photo"]

# Names that a person would give without hesitating; the icons and their questions use these.
COLOURS: dict[str, Colour] = {
    "red": (214, 40, 40),
    "orange": (244, 132, 24),
    "yellow": (240, 205, 30),
    "green": (40, 150, 60),
    "blue": (35, 90, 210),
    "purple": (135, 60, 170),
    "pink": (240, 120, 175),
    "brown": (120, 75, 40),
    "black": (25, 25, 25),
    "white": (250, 250, 250),
    "grey": (130, 130, 130),
}
_ABSENT = "\U0010ffff"  # a code point without a glyph in any font: its glyph is the font's "missing" box


def luminance(colour: Colour) -> float:
    """Relative luminance in 0..1 after the ITU-R BT.709 weights, without gamma; enough to tell dark from light."""
    return (0.2126 * colour[0] + 0.7152 * colour[1] + 0.0722 * colour[2]) / 255


class FontFace:
    """A font file at any size."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._missing = bytes(self.at(24).getmask(_ABSENT))
        self._covered: dict[str, bool] = {" ": True, "\n": True}

    def at(self, size: int) -> ImageFont.FreeTypeFont:
        return _font(self.path, size)

    def covers(self, text: str) -> bool:
        """Whether every character has a glyph, so that no question shows empty boxes."""
        return all(self._covers(character) for character in set(text))

    def _covers(self, character: str) -> bool:
        if character not in self._covered:
            self._covered[character] = bytes(self.at(24).getmask(character)) != self._missing
        return self._covered[character]


@lru_cache(maxsize=512)
def _font(path: Path, size: int) -> ImageFont.FreeTypeFont:
    # The basic layout engine gives the same pixels whether or not Raqm is installed.
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


class PhotoBackgrounds:
    """Photographs to crop backgrounds from. Those used last are kept, decoded and scaled, in bounded memory.

    Raises:
        UserError: A file is no image.
    """

    ZOOM = 1.6  # how much larger than the image the photograph is, so that crops differ
    CACHE = 256 << 20  # bytes

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = list(paths)
        for path in self._paths:
            try:
                PILImage.open(path).close()  # reads the header alone
            except PILImage.UnidentifiedImageError:
                raise UserError(f"{path} is not an image; remove it from the pattern") from None
        self._cache = ImageCache(self.CACHE)

    def crop(self, size: Size, rng: random.Random) -> PILImage.Image:
        """A random window of a random photograph, of exactly `size`."""
        path = self._paths[rng.randrange(len(self._paths))]
        scaled = self._cache.get((path, size), lambda: self._scale(path, size))
        x, y = rng.randint(0, scaled.width - size[0]), rng.randint(0, scaled.height - size[1])
        return scaled.crop((x, y, x + size[0], y + size[1]))

    def _scale(self, path: Path, size: Size) -> PILImage.Image:
        photo = self._cache.get(path, lambda: _open_rgb(path))
        scale = max(size[0] / photo.width, size[1] / photo.height) * self.ZOOM
        wide, high = max(size[0], round(photo.width * scale)), max(size[1], round(photo.height * scale))
        return photo.resize((wide, high), PILImage.Resampling.BILINEAR)


def _open_rgb(path: Path) -> PILImage.Image:
    with PILImage.open(path) as photo:
        return photo.convert("RGB")


def plain(size: Size, colour: Colour) -> PILImage.Image:
    return PILImage.new("RGB", size, colour)


def gradient(size: Size, first: Colour, second: Colour, vertical: bool) -> PILImage.Image:
    """A linear change from one colour to another."""
    ramp = PILImage.linear_gradient("L")  # 256 x 256, black at the top
    mask = (ramp if vertical else ramp.rotate(90)).resize(size, PILImage.Resampling.BILINEAR)
    return PILImage.composite(plain(size, second), plain(size, first), mask)


def pastel(rng: random.Random) -> Colour:
    """A light colour that dark ink reads well on."""
    return rng.randint(200, 255), rng.randint(200, 255), rng.randint(200, 255)


def paper(
    kind: Background, size: Size, photos: PhotoBackgrounds | None, rng: random.Random
) -> tuple[PILImage.Image, bool]:
    """A background for text, and whether it is dark. Photographs are faded so that the text stays readable."""
    dark = rng.random() < 0.25
    if kind == "photo" and photos is not None:
        overlay = plain(size, (10, 10, 10) if dark else (250, 250, 250))
        return PILImage.blend(photos.crop(size, rng), overlay, rng.uniform(0.6, 0.75)), dark
    first, second = pastel(rng), pastel(rng)
    if dark:
        first, second = (tuple(255 - value for value in colour) for colour in (first, second))  # type: ignore[assignment]
    if kind == "gradient":
        return gradient(size, first, second, rng.random() < 0.5), dark
    return plain(size, first), dark


def ink(dark: bool, rng: random.Random) -> Colour:
    """A colour of text that contrasts with a dark or a light background."""
    shade = (rng.randint(0, 70), rng.randint(0, 70), rng.randint(0, 70))
    return (255 - shade[0], 255 - shade[1], 255 - shade[2]) if dark else shade
