"""Text on a picture: breaking it into lines that fit, and drawing them."""

import random

from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from step3vl.data.geometry import Size
from step3vl.pipelines.render.style import Colour, Face

SPACING = 1.25  # distance of baselines, in font sizes


def wrap(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str] | None:
    """Break at spaces, and between characters where a script has none, so that no line is wider than `width` pixels.

    None when a single word is too wide. Line breaks that the text has are kept.
    """
    lines = []
    for paragraph in text.split("\n"):
        line = ""
        for word in _words(paragraph):
            longer = line + word
            if font.getlength(longer.rstrip()) <= width:
                line = longer
                continue
            if not line.strip():
                return None
            lines.append(line.rstrip())
            line = word.lstrip()
            if font.getlength(line.rstrip()) > width:
                return None
        lines.append(line.rstrip())
    return lines


def _words(text: str) -> list[str]:
    """Pieces that a line may break before and that join to the text again. Chinese marks stay with their character."""
    pieces: list[str] = []
    for character in text:
        breaks = not pieces or _is_cjk(character) or (pieces[-1].endswith(" ") and character != " ")
        if not breaks and _is_cjk(pieces[-1][-1]) and not _is_cjk_mark(character):
            breaks = True
        if breaks and not (pieces and _is_cjk_mark(character)):
            pieces.append(character)
        else:
            pieces[-1] += character
    return pieces


def _is_cjk(character: str) -> bool:
    return "\u3400" <= character <= "\u9fff"


def _is_cjk_mark(character: str) -> bool:
    return "\u3000" <= character <= "\u303f" or "\uff00" <= character <= "\uffef"


def block_size(lines: list[str], font: ImageFont.FreeTypeFont) -> Size:
    """Width and height in pixels that the lines take when drawn by `draw_lines`."""
    width = max(font.getlength(line) for line in lines)
    return int(width + 1), round(font.size * SPACING) * len(lines)


def draw_lines(
    picture: PILImage.Image, lines: list[str], font: ImageFont.FreeTypeFont, at: tuple[int, int], colour: Colour
) -> None:
    """Draw lines from the top left corner `at` downwards, in place."""
    draw = ImageDraw.Draw(picture)
    step = round(font.size * SPACING)
    for number, line in enumerate(lines):
        draw.text((at[0], at[1] + number * step), line, font=font, fill=colour)


def draw_tilted(
    picture: PILImage.Image,
    lines: list[str],
    font: ImageFont.FreeTypeFont,
    centre: tuple[int, int],
    colour: Colour,
    degrees: float,
) -> None:
    """Draw lines around `centre`, turned counter-clockwise, in place."""
    width, height = block_size(lines, font)
    stencil = PILImage.new("L", (width, height))
    draw = ImageDraw.Draw(stencil)
    step = round(font.size * SPACING)
    for number, line in enumerate(lines):
        draw.text((0, number * step), line, font=font, fill=255)
    turned = stencil.rotate(degrees, PILImage.Resampling.BICUBIC, expand=True)
    picture.paste(colour, (centre[0] - turned.width // 2, centre[1] - turned.height // 2), turned)


def fit(
    text: str, face: Face, size: Size, font_range: tuple[int, int], rng: random.Random, one_line: bool = False
) -> tuple[list[str], ImageFont.FreeTypeFont] | None:
    """Lines and font: at a random size of the range, or the largest below it at which the text fits into `size`.

    None when it does not fit at the smallest size, or not without breaking although `one_line` asks for that.
    """
    low, high = font_range
    for points in range(rng.randint(low, high), low - 1, -1):
        font = face.at(points)
        lines = wrap(text, font, size[0])
        if lines is None or (one_line and len(lines) > 1):
            continue
        if block_size(lines, font)[1] <= size[1]:
            return lines, font
    return None
