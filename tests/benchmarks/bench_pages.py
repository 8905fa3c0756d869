"""Synthetic pages: ours beside a plain one of SynthDoG's kind, with the same lines of text on pages of the same size.

The peer does what SynthDoG's public configuration does, in the way of SynthTIGER: each glyph is rendered by itself and
laid over a page of floating-point pixels; then come elastic distortion, noise, perspective and blur. It knows no box.
Ours also looks every character up in the font, keeps boxes and ink, and proves that they are legible.
"""

import io
import random
from functools import partial
from typing import Any

import cv2
import numpy as np
from measure import Row, race
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from step3vl.pipelines.core.assets import packaged_assets
from step3vl.pipelines.core.samples import encode_jpeg
from step3vl.pipelines.render.pages.camera import shoot
from step3vl.pipelines.render.pages.legible import contrast, inside, overlaps
from step3vl.pipelines.render.pages.page_style import Copy, PageStyle
from step3vl.pipelines.render.pages.prose_layouts import article
from step3vl.pipelines.render.pages.sheet import Sheet
from step3vl.pipelines.render.pages.typefaces import TypefaceLibrary
from step3vl.pipelines.render.style import PhotoBackgrounds

PAGES = 8
SIZE = (900, 1100)
FONT_SIZE = 18
TEXT = "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness. "


def ours(sheets: list[Sheet], library: TypefaceLibrary, photos: PhotoBackgrounds) -> int:
    characters = 0
    for number in range(len(sheets)):
        sheet = set_page(number, library)
        lines = sheet.lines()
        shot = shoot(sheet, "photo", FONT_SIZE, photos, random.Random(number))
        boxes = [shot.box([line.box]) for line in lines]
        if not overlaps(lines) and all(map(inside, boxes)):
            contrast(shot, boxes)
        encode_jpeg(shot.image, shot.quality)
        characters += sum(len(line.text) for line in lines)
    return characters


def set_page(number: int, library: TypefaceLibrary) -> Sheet:
    rng = random.Random(number)
    copy = Copy(TEXT * 16, rng)
    return article(SIZE, copy, PageStyle(copy, library, (FONT_SIZE, FONT_SIZE), rng), rng)


def synthdog_like(sheets: list[Sheet], font: str, photos: PhotoBackgrounds) -> int:
    """Pages with the lines of `sheets` at the places that these have."""
    characters = 0
    for number, sheet in enumerate(sheets):
        rng = np.random.default_rng(number)
        width, height = sheet.size
        page = np.asarray(photos.crop(sheet.size, random.Random(number)), np.float32) * 0.3 + 178
        for line in sheet.lines():
            characters += len(line.text)
            x, y, face = line.box[0], line.box[1], ImageFont.truetype(font, line.size)
            for character in line.text:
                x += render_glyph(page, character, face, int(x), int(y))
        page = distorted(page, rng)
        page += rng.normal(0, rng.uniform(0, 8), page.shape).astype(np.float32)
        corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
        moved = corners + rng.uniform(-0.05, 0.05, (4, 2)).astype(np.float32) * min(sheet.size)
        page = cv2.warpPerspective(page, cv2.getPerspectiveTransform(corners, moved), sheet.size)
        kernel = np.eye(3, dtype=np.float32) / 3
        page = cv2.GaussianBlur(cv2.filter2D(page, -1, kernel), (0, 0), 0.7)
        image = PILImage.fromarray(np.clip(page, 0, 255).astype(np.uint8))
        image.save(io.BytesIO(), "JPEG", quality=90)
    return characters


def render_glyph(page: np.ndarray, character: str, font: ImageFont.FreeTypeFont, x: int, y: int) -> float:
    """Lay one glyph over the page; gives how far the next is."""
    left, top, right, bottom = map(int, font.getbbox(character))
    if right > left and bottom > top:
        layer = PILImage.new("RGBA", (right - left, bottom - top))
        ImageDraw.Draw(layer).text((-left, -top), character, font=font, fill=(20, 20, 20, 255))
        glyph = np.asarray(layer, np.float32)
        target = page[y + top : y + bottom, x + left : x + right]
        glyph = glyph[: target.shape[0], : target.shape[1]]
        alpha = glyph[:, :, 3:] / 255
        target[:] = target * (1 - alpha) + glyph[:, :, :3] * alpha
    return float(font.getlength(character))


def distorted(page: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    height, width = page.shape[:2]
    shifts = [cv2.GaussianBlur(rng.uniform(-1, 1, (height, width)).astype(np.float32), (0, 0), 0.5) for _ in range(2)]
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return cv2.remap(page, columns + shifts[0], rows + shifts[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def rows(rounds: int) -> list[Row]:
    fonts = packaged_assets("assets:fonts/DejaVuSerif.ttf")
    library = TypefaceLibrary(list(fonts.values()))
    photos = PhotoBackgrounds(sorted(packaged_assets("assets:photos/*.jpg").values()))
    sheets = [set_page(number, library) for number in range(PAGES)]
    contenders: dict[str, Any] = {
        "ours": partial(ours, sheets, library, photos),
        "peer": partial(synthdog_like, sheets, str(*fonts.values()), photos),
    }
    seconds = race(contenders, rounds)
    characters = contenders["peer"]() / PAGES
    return [
        Row(
            f"pages of {SIZE[0]} pixels' width with {characters:.0f} characters, photographed",
            PAGES / seconds["ours"],
            PAGES / seconds["peer"],
            "pages/cpu-s",
            "SynthDoG's effects over glyphs rendered one by one, no box; ours with boxes, lookup of glyphs and proof",
        )
    ]
