"""Text on an image: breaking it into lines that fit, and rendering them."""

import random

from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from step3vl.data.sample import Size
from step3vl.pipelines.render.style import Colour, FontFace

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
    """Width and height in pixels that the lines take when rendered by `render_lines`."""
    width = max(font.getlength(line) for line in lines)
    return int(width + 1), round(font.size * SPACING) * len(lines)


def render_lines(
    image: PILImage.Image, lines: list[str], font: ImageFont.FreeTypeFont, at: tuple[int, int], colour: Colour | int
) -> None:
    """Render lines from the top left corner `at` downwards, in place; the colour of a grey image is a number."""
    canvas = ImageDraw.Draw(image)
    step = round(font.size * SPACING)
    for number, line in enumerate(lines):
        canvas.text((at[0], at[1] + number * step), line, font=font, fill=colour)


def render_tilted_lines(
    image: PILImage.Image,
    lines: list[str],
    font: ImageFont.FreeTypeFont,
    centre: tuple[int, int],
    colour: Colour,
    degrees: float,
) -> None:
    """Render lines around `centre`, turned counter-clockwise by `degrees`, in place."""
    width, height = block_size(lines, font)
    stencil = PILImage.new("L", (width, height))
    render_lines(stencil, lines, font, (0, 0), 255)
    turned = stencil.rotate(degrees, PILImage.Resampling.BICUBIC, expand=True)
    image.paste(colour, (centre[0] - turned.width // 2, centre[1] - turned.height // 2), turned)


def fit(
    text: str, face: FontFace, size: Size, font_size: tuple[int, int], rng: random.Random, single_line: bool = False
) -> tuple[list[str], ImageFont.FreeTypeFont] | None:
    """Break a text into lines and choose its font size, so that it fits.

    Args:
        text: To render.
        face: The font.
        size: Width and height in pixels that the text must fit into.
        font_size: Smallest and largest size in pixels. A random one is tried first, then smaller ones.
        rng: Chooses the first size.
        single_line: Whether the text must fit without a line break.

    Returns:
        The lines and the font, or None when the text does not fit at the smallest size.
    """
    low, high = font_size
    for points in range(rng.randint(low, high), low - 1, -1):
        font = face.at(points)
        lines = wrap(text, font, size[0])
        if lines is None or (single_line and len(lines) > 1):
            continue
        if block_size(lines, font)[1] <= size[1]:
            return lines, font
    return None
