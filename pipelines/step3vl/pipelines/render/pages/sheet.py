"""A sheet on which text is set: every line and word keeps its exact box, its place in the reading order, and its ink.

Text is set on masks, one for each colour, so that what is ink and what is not is known for every pixel.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from PIL import Image as PILImage
from PIL import ImageChops, ImageDraw, ImageFont

from step3vl.data.sample import Size
from step3vl.pipelines.render.pages.line_breaks import break_lines
from step3vl.pipelines.render.pages.typefaces import Typeface
from step3vl.pipelines.render.style import Colour
from step3vl.pipelines.sources.text.scripts import is_right_to_left, is_shaped

Align = Literal["left", "centre", "right", "justify"]
Extent = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels."""


@dataclass(frozen=True)
class Word:
    """A word of a line, and the box of its ink."""

    text: str
    box: Extent


@dataclass(frozen=True)
class TextLine:
    """A line as it is set.

    Attributes:
        text: As it is read.
        box: Of its ink.
        words: With boxes of their own; empty where glyphs of several words may mix, as in bidirectional text.
        size: Of the font, in pixels.
        colour: Of the ink.
    """

    text: str
    box: Extent
    words: tuple[Word, ...]
    size: int
    colour: Colour


@dataclass
class Block:
    """Lines that belong together: a paragraph, a table, the rows of a receipt.

    Attributes:
        kind: `prose`, `title`, `table`, `row`, `furniture` (running heads, page numbers), `part` (a text that stands
            alone) and the like.
        rows: Each row holds the lines that stand beside each other: cells of a table, a label and its value.
    """

    kind: str
    rows: list[list[TextLine]] = field(default_factory=list)

    @property
    def separator(self) -> str:
        """What stands between the texts of a row."""
        return " | " if self.kind == "table" else " "

    def text(self) -> str:
        """The rows on lines."""
        return "\n".join(self.separator.join(line.text for line in row) for row in self.rows)


@dataclass(frozen=True)
class Field:
    """A label and the value that it has on a form, a receipt or a card."""

    label: str
    value: str


@dataclass(frozen=True)
class Pen:
    """How text is set: a face at a size in a colour."""

    face: Typeface
    size: int
    colour: Colour
    leading: float = 1.35
    """Distance of baselines, in font sizes."""

    @property
    def step(self) -> int:
        """Distance of baselines in pixels."""
        return round(self.size * self.leading)

    def width(self, text: str) -> float:
        """Pixels that a text takes."""
        return _width(self.face, self.size, text)


@lru_cache(maxsize=1 << 15)
def _width(face: Typeface, size: int, text: str) -> float:
    return float(face.at(size, is_shaped(text)).getlength(text))


@dataclass(frozen=True)
class _Stamp:
    """A piece of text as a mask, where it is printed, and the box of its ink there."""

    mask: PILImage.Image
    at: tuple[int, int]
    ink: Extent

    @classmethod
    def of(cls, text: str, font: ImageFont.FreeTypeFont, at: tuple[int, int], anchor: str,
           direction: str | None = None) -> "_Stamp":  # fmt: skip
        left, top, right, bottom = map(int, font.getbbox(text, direction=direction, anchor=anchor))
        mask = PILImage.new("L", (max(1, right - left + 2), max(1, bottom - top + 2)))
        ImageDraw.Draw(mask).text((1 - left, 1 - top), text, font=font, fill=255, direction=direction, anchor=anchor)
        x, y = at[0] + left - 1, at[1] + top - 1
        x1, y1, x2, y2 = mask.getbbox() or (0, 0, 0, 0)
        return cls(mask, (x, y), (x + x1, y + y1, x + x2, y + y2))


class Sheet:
    """A page in the making.

    Attributes:
        image: Its paper, with rules, boxes and images on it, but no text.
        blocks: The text in reading order.
        fields: Labels with their values.
        ordered: Whether the blocks have a reading order that every reader would agree on.
    """

    def __init__(self, size: Size, paper: Colour, right_to_left: bool = False) -> None:
        self.size = size
        self.paper = paper
        self.image = PILImage.new("RGB", size, paper)
        self.canvas = ImageDraw.Draw(self.image)
        self.right_to_left = right_to_left
        self.blocks: list[Block] = []
        self.fields: list[Field] = []
        self.ordered = True
        self._inks: dict[Colour, PILImage.Image] = {}

    def block(self, kind: str) -> Block:
        """A new block, the next to be read."""
        self.blocks.append(Block(kind))
        return self.blocks[-1]

    def write(
        self,
        block: Block,
        words: Sequence[str] | str,
        pen: Pen,
        x: float,
        baseline: float,
        width: float = 0.0,
        align: Align = "left",
        new_row: bool = True,
    ) -> TextLine | None:
        """Set one line; None, and nothing is set, where it would leave the sheet.

        Args:
            block: That the line belongs to.
            words: The pieces of the line, or its text.
            pen: How.
            x: Where the room for the line begins, from the left; from the right on a sheet of a script that runs so.
            baseline: From the top.
            width: Of the room; only `left` does without.
            align: In the room.
            new_row: Whether the line begins a row of the block.
        """
        pieces = [words] if isinstance(words, str) else list(words)
        pieces[-1] = pieces[-1].rstrip()
        text = "".join(pieces)
        length = sum(map(pen.width, pieces))
        spare = width - length
        start = x + (0.0 if align in ("left", "justify") else spare / 2 if align == "centre" else spare)
        if self.right_to_left:
            start = self.size[0] - start - length
        gap = 0.0
        whole = len(pieces) == 1 or is_shaped(text) or self.right_to_left or is_right_to_left(text)
        if align == "justify" and not whole and 0 < spare < 0.35 * width:
            gap = spare / (len(pieces) - 1)
        # The masks have whole pixels, and so have the places of words: boxes are then those of the ink itself.
        placed: list[tuple[str, int]] = []
        if whole:
            placed.append((text, round(start)))
        else:
            for piece in pieces if gap else _merged(pieces):
                placed.append((piece.rstrip(), round(start)))
                start += pen.width(piece) + gap
        line = self._set(text, placed, pen, round(baseline))
        if line is not None:
            if new_row or not block.rows:
                block.rows.append([])
            block.rows[-1].append(line)
        return line

    def _set(self, text: str, placed: Sequence[tuple[str, int]], pen: Pen, baseline: int) -> TextLine | None:
        font = pen.face.at(pen.size, is_shaped(text))
        stamps = [_Stamp.of(piece, font, (x, baseline), "ls") for piece, x in placed]
        if not self._print(stamps, pen.colour):
            return None
        words = tuple(Word(piece, stamp.ink) for (piece, _), stamp in zip(placed, stamps, strict=True))
        return TextLine(text, _around([stamp.ink for stamp in stamps]), words if len(words) > 1 else (), pen.size,
                        pen.colour)  # fmt: skip

    def _print(self, stamps: Sequence["_Stamp"], colour: Colour) -> bool:
        """Print stamps, if all have ink and lie on the sheet."""
        for stamp in stamps:
            x1, y1, x2, y2 = stamp.ink
            if x2 <= x1 or x1 < 0 or y1 < 0 or x2 > self.size[0] or y2 > self.size[1]:
                return False
        mask = self._ink(colour)
        for stamp in stamps:
            x, y = stamp.at
            extent = (x, y, x + stamp.mask.width, y + stamp.mask.height)
            mask.paste(ImageChops.lighter(mask.crop(extent), stamp.mask), extent)
        return True

    def write_down(self, block: Block, text: str, pen: Pen, x: float, top: float) -> TextLine | None:
        """Set one line from top to bottom, as Chinese and Japanese are; None where it would leave the sheet.

        Args:
            block: That the line belongs to.
            text: Of the line.
            pen: How.
            x: The middle of the line.
            top: Where it begins.
        """
        font = pen.face.at(pen.size, shaped=True)
        stamp = _Stamp.of(text, font, (round(x), round(top)), "mt", "ttb")
        if not self._print([stamp], pen.colour):
            return None
        line = TextLine(text, stamp.ink, (), pen.size, pen.colour)
        block.rows.append([line])
        return line

    def paragraph(
        self,
        block: Block,
        text: str,
        pen: Pen,
        x: float,
        top: float,
        width: float,
        bottom: float,
        align: Align = "left",
        indent: float = 0.0,
        new_row: bool = True,
    ) -> tuple[float, str]:
        """Set a paragraph as far as it fits.

        Args:
            block: That its lines belong to.
            text: One paragraph.
            pen: How.
            x: Where its lines begin, as `write` has it.
            top: Of its first line.
            width: Of its lines.
            bottom: No line is set beyond.
            align: Its last line is never justified.
            indent: Of its first line.
            new_row: Whether its first line begins a row; otherwise it stands beside what the block has last.

        Returns:
            Where the next paragraph begins, and what did not fit.
        """
        first = break_lines(text, width - indent, pen.width)[:1] if indent else []
        rest = text[len("".join(first[0])) :] if first else text
        lines = first + (break_lines(rest, width, pen.width) if rest else [])
        y = top
        for number, words in enumerate(lines):
            if y + pen.step > bottom:
                return y, "".join("".join(left) for left in lines[number:])
            shift = indent if number == 0 and first else 0.0
            last = number == len(lines) - 1
            side: Align = "left" if align == "justify" and last else align
            self.write(block, words, pen, x + shift, y + pen.size, width - shift, side, new_row or number > 0)
            y += pen.step
        return y, ""

    def rectangle(self, extent: Extent, fill: Colour | None = None, outline: Colour | None = None, width: int = 1,
                  radius: int = 0) -> None:  # fmt: skip
        """A box, mirrored where the script runs from the right."""
        x1, y1, x2, y2 = extent
        if self.right_to_left:
            x1, x2 = self.size[0] - x2, self.size[0] - x1
        if x2 - x1 >= 1 and y2 - y1 >= 1:
            self.canvas.rounded_rectangle(
                (x1, y1, x2, y2), min(radius, int(min(x2 - x1, y2 - y1) / 2)), fill, outline, width
            )

    def rule(self, x1: float, y1: float, x2: float, y2: float, colour: Colour, width: int = 1) -> None:
        """A straight line, mirrored where the script runs from the right."""
        if self.right_to_left:
            x1, x2 = self.size[0] - x1, self.size[0] - x2
        self.canvas.line((x1, y1, x2, y2), colour, width)

    def paste(self, image: PILImage.Image, x: float, y: float) -> None:
        """An image with its top left corner here, mirrored in place where the script runs from the right."""
        left = self.size[0] - x - image.width if self.right_to_left else x
        self.image.paste(image, (round(left), round(y)))

    def lines(self) -> list[TextLine]:
        """All lines in reading order."""
        return [line for block in self.blocks for row in block.rows for line in row]

    def ink(self) -> PILImage.Image:
        """Where text is, 0..255."""
        ink = PILImage.new("L", self.size)
        for mask in self._inks.values():
            ink = ImageChops.lighter(ink, mask)
        return ink

    def rendered(self) -> PILImage.Image:
        """The sheet with its text."""
        image = self.image.copy()
        for colour, mask in self._inks.items():
            image.paste(colour, (0, 0), mask)
        return image

    def cut_off(self, bottom: int) -> None:
        """Shorten the sheet, but not into its text."""
        lowest = max((line.box[3] for line in self.lines()), default=0)
        self.size = (self.size[0], min(self.size[1], max(bottom, int(lowest) + 4)))
        self.image = self.image.crop((0, 0, *self.size))
        self.canvas = ImageDraw.Draw(self.image)
        self._inks = {colour: mask.crop((0, 0, *self.size)) for colour, mask in self._inks.items()}

    def _ink(self, colour: Colour) -> PILImage.Image:
        if colour not in self._inks:
            self._inks[colour] = PILImage.new("L", self.size)
        return self._inks[colour]


def _merged(pieces: Sequence[str]) -> list[str]:
    """Pieces that no space parts, such as Chinese characters, as one."""
    merged: list[str] = []
    for piece in pieces:
        if merged and not merged[-1].endswith(" "):
            merged[-1] += piece
        else:
            merged.append(piece)
    return merged


def _around(boxes: Sequence[Extent]) -> Extent:
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)
