"""How a sheet becomes an image: by a screenshot, a scanner or a camera; and what each does to pixels and places."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage

from step3vl.data.sample import Box, Size
from step3vl.pipelines.render.pages import paper
from step3vl.pipelines.render.pages.sheet import Extent, Sheet
from step3vl.pipelines.render.pages.warp import Bend, Warp, apply, quarter_turned
from step3vl.pipelines.render.style import PhotoBackgrounds

Capture = Literal["screenshot", "scan", "photo"]
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Shot:
    """An image of a sheet.

    Attributes:
        image: In colour.
        ink: Where the text is in it, 0..255.
        warp: How places of the sheet moved.
        quality: Of the JPEG that it is to be encoded as.
        turns: Quarters that the image was turned by afterwards, clockwise.
    """

    image: PILImage.Image
    ink: Pixels
    warp: Warp
    quality: int
    turns: int = 0

    def turned(self, turns: int) -> "Shot":
        """The shot of a camera that was held sideways or upside down."""
        ink = np.ascontiguousarray(np.rot90(self.ink, -turns))
        return replace(self, image=quarter_turned(self.image, turns), ink=ink, turns=turns)

    def box(self, extents: Sequence[Extent]) -> Box:
        """The box in the image, in pixels, of boxes on the sheet."""
        points = np.concatenate([self.warp.outline(extent) for extent in extents])
        width, height = self.warp.image
        for _ in range(self.turns):
            points = np.stack([height - points[:, 1], points[:, 0]], 1)
            width, height = height, width
        (x1, y1), (x2, y2) = points.min(0), points.max(0)
        return Box(float(x1), float(y1), float(x2), float(y2), "pixels", (width, height))


def shoot(sheet: Sheet, capture: Capture, smallest: int, photos: PhotoBackgrounds | None, rng: random.Random) -> Shot:
    """An image of a sheet.

    Args:
        sheet: With its text.
        capture: How the image is taken.
        smallest: The smallest font size on the sheet, in pixels; what the camera blurs is relative to it.
        photos: Grounds beside the computed ones.
        rng: Chooses.
    """
    page = sheet.rendered()
    ink = np.asarray(sheet.ink())
    if capture == "screenshot":
        return Shot(page, ink, _upright(sheet.size), rng.randint(80, 95))
    printed = _printed(np.asarray(page), ink, smallest, rng)
    if capture == "scan":
        return _scan(printed, ink, smallest, rng)
    return _photograph(printed, ink, smallest, photos, rng)


def _upright(size: Size) -> Warp:
    width, height = size
    return Warp(size, size, [(0, 0), (width, 0), (width, height), (0, height)])


def _printed(page: Pixels, ink: Pixels, smallest: int, rng: random.Random) -> Pixels:
    """A page on paper: its colours times those of the paper, with worn ink and what shows through from the back."""
    size = page.shape[1], page.shape[0]
    out = page.astype(np.uint16)
    if rng.random() < 0.35:  # ink that is worn, or did not take
        spots = paper.clouds(size, max(3.0, smallest * 0.3), rng).astype(np.int16)
        worn = np.clip((spots - rng.randint(150, 185)) * 3, 0, rng.randint(60, 130)).astype(np.uint16)
        out = out + (255 - out) * worn[:, :, None] // 255 * (ink > 0)[:, :, None]
    out = out * paper.paper(size, rng) // 255
    if rng.random() < 0.12 and page.mean() > 160:  # the text of the other side
        back = cv2.GaussianBlur(np.ascontiguousarray(ink[:, ::-1]), (0, 0), smallest * 0.12)
        out = out * (255 - back.astype(np.uint16)[:, :, None] * rng.randint(4, 9) // 100) // 255
    return np.asarray(out, np.uint8)


def _scan(page: Pixels, ink: Pixels, smallest: int, rng: random.Random) -> Shot:
    """A scanner or a copier: nearly upright, in colour, in grey or in black and white, with dust and streaks."""
    height, width = page.shape[:2]
    angle = rng.gauss(0, 0.7) if rng.random() < 0.7 else 0.0
    warp = _turned((width, height), angle)
    sampling = warp.sampling()
    rim = rng.choice((255, 250, 235, 30)) if angle else 255
    image = _on_ground(apply(page, sampling), apply(np.full_like(ink, 255), sampling),
                       np.full((height, width, 3), rim, np.uint8))  # fmt: skip
    moved = apply(ink, sampling)
    look = rng.choice(("colour", "colour", "grey", "copy"))
    if look != "colour":
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        if look == "copy":  # steep contrast with the grain of toner
            steep = (grey.astype(np.int16) - 128) * rng.choice((2, 3)) + 128
            grey = np.clip(steep + paper.noise((width, height), rng) // 3, 0, 255).astype(np.uint8)
        image = cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)
    out = image.astype(np.int16)
    if rng.random() < 0.1:
        column = rng.randrange(width)
        out[:, column : column + rng.randint(1, 2)] -= rng.randint(20, 60)
    out = _dusted(out, rng)
    return _finished(np.clip(out, 0, 255).astype(np.uint8), moved, warp, smallest, 0.05, rng)


def _dusted(image: npt.NDArray[np.int16], rng: random.Random) -> npt.NDArray[np.int16]:
    """Specks, none larger than two pixels."""
    height, width = image.shape[:2]
    for _ in range(rng.choice((0, 0, 5, 40, 120))):
        x, y, shade = rng.randrange(width), rng.randrange(height), rng.choice((-90, -50, 60))
        image[y : y + rng.randint(1, 2), x : x + rng.randint(1, 2)] += shade
    return image


def _photograph(page: Pixels, ink: Pixels, smallest: int, photos: PhotoBackgrounds | None, rng: random.Random) -> Shot:
    """A camera: perspective, a bent sheet, what it lies on, light and shadow, blur and grain."""
    height, width = page.shape[:2]
    border = rng.uniform(0.02, 0.12)
    bend = Bend()
    if rng.random() < 0.45:
        bend = Bend(rng.uniform(-0.035, 0.035), rng.uniform(0.6, 2.2), rng.uniform(0, 6.28))
    room = round(max(width, height) * border + abs(bend.height) * width)
    size = width + 2 * room, height + 2 * room
    corners = [(room, room), (room + width, room), (room + width, room + height), (room, room + height)]
    reach = 0.05 * min(width, height)
    tilt = _turned(size, rng.gauss(0, 1.5)) if rng.random() < 0.6 else None
    moved = np.array(
        [(x + rng.uniform(-reach, reach) * 0.7, y + rng.uniform(-reach, reach) * 0.7) for x, y in corners]
    )
    corners = [tuple(corner) for corner in (tilt.forward(moved) if tilt else moved).tolist()]
    warp = Warp((width, height), size, corners, bend)
    sampling = warp.sampling()
    if photos is not None and rng.random() < 0.4:
        ground = np.asarray(photos.crop(size, rng))
    else:
        ground = paper.surface(size, rng)
    cover = apply(np.full_like(ink, 255), sampling)
    shade = cv2.GaussianBlur(cover, (0, 0), max(2.0, 0.01 * width)) if rng.random() < 0.7 else np.zeros_like(cover)
    darker = ground.astype(np.uint16) * (255 - shade.astype(np.uint16)[:, :, None] // 2) // 255
    image = _on_ground(apply(page, sampling), cover, darker.astype(np.uint8))
    lit = image.astype(np.uint32) * _light(size, rng)[:, :, None] // 255
    out = np.clip(lit, 0, 255).astype(np.int16)
    if rng.random() < 0.5:  # white balance
        out += np.array([rng.randint(-14, 14) for _ in range(3)], np.int16)
    return _finished(np.clip(out, 0, 255).astype(np.uint8), apply(ink, sampling), warp, smallest, 0.075, rng)


def _turned(size: Size, degrees: float) -> Warp:
    width, height = size
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    corners = np.array([(0, 0, 1), (width, 0, 1), (width, height, 1), (0, height, 1)]) @ matrix.T
    return Warp(size, size, [(float(x), float(y)) for x, y in corners])


def _on_ground(page: Pixels, cover: Pixels, ground: Pixels) -> Pixels:
    """A page over what it lies on; `page` is dark where the cover ends, as both were sampled with nothing around."""
    rest = (255 - cover.astype(np.uint16))[:, :, None]
    return np.asarray(np.minimum(page + ground * rest // 255, 255), np.uint8)


def _light(size: Size, rng: random.Random) -> npt.NDArray[np.uint16]:
    """How bright each pixel is lit, 255 as it is: a slope, and at times the edge of a shadow."""
    width, height = size
    small = 48
    angle = rng.uniform(0, 6.28)
    ys, xs = np.mgrid[0:small, 0:small] / (small - 1) - 0.5
    slope = xs * np.cos(angle) + ys * np.sin(angle)
    level = 255 * (1.0 + slope * rng.uniform(0, 0.5) - rng.uniform(0, 0.15))
    if rng.random() < 0.35:
        side = xs * np.cos(angle + 1) + ys * np.sin(angle + 1) > rng.uniform(-0.3, 0.3)
        level = np.where(side, level * rng.uniform(0.55, 0.8), level)
        level = cv2.GaussianBlur(level, (0, 0), rng.uniform(0.6, 3))
    return np.asarray(cv2.resize(np.clip(level, 60, 330).round(1), (width, height)), np.uint16)


def _finished(image: Pixels, ink: Pixels, warp: Warp, smallest: int, blur: float, rng: random.Random) -> Shot:
    """Blur and grain within what small text can bear, and the quality of the file."""
    if rng.random() < 0.6:
        sigma = rng.uniform(0.3, 1.0) * smallest * blur
        if sigma > 0.25:
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)
    if rng.random() < 0.12 and smallest >= 16:
        length = max(2, round(smallest * rng.uniform(0.08, 0.16)))
        kernel = np.zeros((length, length), np.float32)
        kernel[length // 2] = 1 / length
        image = np.asarray(cv2.filter2D(image, -1, kernel if rng.random() < 0.5 else kernel.T), np.uint8)
    if rng.random() < 0.6:
        grain = paper.noise((image.shape[1], image.shape[0]), rng) * rng.randint(1, 9) // 32
        image = np.clip(image.astype(np.int16) + grain[:, :, None], 0, 255).astype(np.uint8)
    quality = rng.randint(45, 95) if smallest >= 14 else rng.randint(70, 95)
    return Shot(PILImage.fromarray(image), ink, warp, quality)
