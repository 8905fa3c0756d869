"""Whether an image shows a formula: its ink beside that of the label, typeset again by every engine that can.

Two images of one formula in one font agree symbol by symbol; where a single symbol is another one, it has no match in
its place. Typst sets formulas in the font of TeX, so that pdflatex, an independent engine, gives the same symbols.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from statistics import median

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage

from step3vl.pipelines.core.domain import MissingProgramError, Unchecked
from step3vl.pipelines.render.figures.figure import read_png
from step3vl.pipelines.render.figures.table_kinds import page_setup
from step3vl.pipelines.render.figures.typeset import TypesetRenderer
from step3vl.pipelines.render.web.latex import LatexRenderer

Ink = npt.NDArray[np.float32]
"""The ink of an image without its margins, [height, width], 0..1."""

MATHTEXT_FACES = ("cm", "stix", "stixsans", "dejavusans", "dejavuserif")
TYPST_FONTS = ("Libertinus Serif", "New Computer Modern")

_RESOLUTION = 144  # pixels per inch of a first rendering
_HEIGHT = 3  # pixels, below which an image has no formula
_INK = 0.35  # of the darkest pixel
_FINE = 2.0  # times the pixels of the image, in which images are compared
_BLUR = 0.6  # pixels of the image: symbols may lie between two of them
_SCALES = (1.0, 0.96, 1.04, 0.92, 1.09)  # times that of whole images, and of their usual symbols
_ASPECT = 1.5  # times that one image may be longer
_SPECK = 3  # pixels of ink: noise of JPEG
_PAD = 3  # pixels around a symbol
# In heights of the usual symbol: how far symbols may be displaced to the side, where both images have the same shape
# and at most, and up or down; and the sizes of those that are compared. Points are too small, and radicals, brackets
# and fraction bars have no length of their own.
_ASIDE, _FARTHEST, _UP = 0.35, 1.1, 0.8
_LEAST, _TALLEST, _LONGEST = 0.4, 2.4, 1.6
_HIGH, _NARROW, _HOLLOW = 1.6, 0.4, 0.2  # height of what may be a bracket, by its width, or a radical, by its ink
_COMPACT = 2.0  # times its height: a component that is no bar
_BAR = 3.5  # times its height: a bar
_SAME, _OTHER = 0.87, 0.8  # agreement of images of one formula, at least, and of two, at most


def ink_of(image: PILImage.Image) -> Ink:
    """The ink of an image. Raises Unchecked where there is none."""
    grey = np.asarray(image.convert("L"), np.float32)
    ink: Ink = np.abs(grey - np.float32(np.median(grey)))
    ink /= np.float32(max(1.0, float(ink.max())))
    rows, columns = np.nonzero(ink.max(1) > _INK)[0], np.nonzero(ink.max(0) > _INK)[0]
    if len(rows) < _HEIGHT:
        raise Unchecked("no_ink")
    trimmed: Ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return trimmed


def agreement(first: Ink, second: Ink) -> float:
    """How well the worst symbol of either image agrees with what is near its place in the other one, -1..1.

    Args:
        first: Of an image.
        second: Of another one, at any scale.
    """
    aspect = (first.shape[1] / first.shape[0]) / (second.shape[1] / second.shape[0])
    if not 1 / _ASPECT < aspect < _ASPECT:
        return -1.0
    image, best = _resized(first, _FINE), -1.0
    # Radicals and limits may make one of the images higher, and not its symbols larger.
    whole, symbols = (_FINE * height(first) / height(second) for height in (len, _usual_height))
    for scale in dict.fromkeys(round(base * times, 3) for times in _SCALES for base in (whole, symbols)):
        other = _resized(second, scale)
        best = max(best, min(_worst(image, other), _worst(other, image)))
        if best >= _SAME:
            break
    return best


def _resized(ink: Ink, scale: float) -> Ink:
    size = max(1, round(ink.shape[1] * scale)), max(1, round(ink.shape[0] * scale))
    resized = cv2.resize(ink, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    blurred: Ink = cv2.GaussianBlur(resized, (0, 0), _BLUR * _FINE)
    return blurred


def _components(ink: Ink) -> list[Sequence[int]]:
    """Left, top, width, height and area of what hangs together. Raises Unchecked where there is nothing."""
    count, _, stats, _ = cv2.connectedComponentsWithStats((ink > _INK).astype(np.uint8), connectivity=8)
    boxes = [stats[number].tolist() for number in range(1, count) if stats[number, cv2.CC_STAT_AREA] >= _SPECK]
    if not boxes:
        raise Unchecked("no_ink")
    return boxes


def _usual_height(ink: Ink) -> float:
    """The height of the usual component that is no bar, in pixels."""
    boxes = _components(ink)
    return median([height for _, _, width, height, _ in boxes if width < _COMPACT * height] or [boxes[0][3]])


def _worst(ink: Ink, other: Ink) -> float:
    """The correlation of the worst symbol of an image with the best place near its own in another one."""
    boxes, usual = _components(ink), _usual_height(ink)
    longer = abs(np.log((ink.shape[1] / ink.shape[0]) / (other.shape[1] / other.shape[0])))
    aside = min(_FARTHEST, _ASIDE + float(longer) * ink.shape[1] / usual / 2)  # as other spaces between symbols add up
    reach = _PAD + round(_FARTHEST * usual)
    padded, others = np.pad(ink, reach), np.pad(other, reach)
    worst = 1.0
    for left, top, width, height, area in boxes:
        if not _is_symbol(width / usual, height / usual, area / (width * height)):
            continue
        symbol = padded[_span(top, height, 0, reach), _span(left, width, 0, reach)]
        x = (left + width / 2) * other.shape[1] / ink.shape[1] - width / 2
        y = (top + height / 2) * other.shape[0] / ink.shape[0] - height / 2
        near = others[_span(y, height, _UP * usual, reach), _span(x, width, aside * usual, reach)]
        if near.shape[0] < symbol.shape[0] or near.shape[1] < symbol.shape[1]:
            return -1.0
        worst = min(worst, float(cv2.matchTemplate(near, symbol, cv2.TM_CCOEFF_NORMED).max()))
    return worst


def _span(start: float, size: float, around: float, offset: int) -> slice:
    """The pixels of a symbol and of some space around it, in an array that begins `offset` before the image."""
    return slice(max(0, round(start - around) + offset - _PAD), round(start + size + around) + offset + _PAD)


def _is_symbol(width: float, height: float, filled: float) -> bool:
    """Whether a component of this size, in usual heights, and with this share of ink has one size and one shape."""
    is_long_bar = width > _BAR * height and width > _LONGEST
    may_grow = height > _HIGH and (width < _NARROW * height or filled < _HOLLOW)
    return max(width, height) >= _LEAST and height <= _TALLEST and not is_long_bar and not may_grow


class FormulaImages:
    """Typesets formulas as images, by Typst, matplotlib and pdflatex."""

    @cached_property
    def _typeset(self) -> TypesetRenderer:
        return TypesetRenderer([])

    @cached_property
    def _latex(self) -> LatexRenderer:
        return LatexRenderer()

    def typst(self, label: str, height: int) -> Iterator[Ink]:
        """A formula in Typst, with its dollars.

        Args:
            label: The formula.
            height: Of the image in pixels; small letters are rendered with other edges than large ones.
        """
        for font in TYPST_FONTS:
            source = f"{page_setup(font, 18, '#ffffff', '#000000', 4)}{label}\n"
            yield _of_height(height, partial(self._typeset.png, source))

    def mathtext(self, label: str, height: int) -> Iterator[Ink]:
        """A formula in LaTeX without dollars, by matplotlib; nothing where it does not know a command.

        Args:
            label: The formula.
            height: Of the image in pixels.
        """
        for face in MATHTEXT_FACES:
            try:
                yield _of_height(height, partial(self._mathtext_png, label, face))
            except ValueError:
                return

    def _mathtext_png(self, label: str, face: str, resolution: int) -> bytes:
        return self._typeset.latex_figure(label, face, 18, resolution, ("#ffffff", "#000000"), 4).png

    def pdflatex(self, label: str, height: int, font: str = "Latin Modern", size: int = 10) -> Iterator[Ink]:
        """A formula in LaTeX without dollars, by pdflatex; nothing where it is not installed or does not compile.

        Args:
            label: The formula.
            height: Of the image in pixels.
            font: As `LatexRenderer` calls it.
            size: Of the font in points.
        """
        try:
            pdf = self._latex.page(label, "formula", font, size)
        except MissingProgramError:
            return
        if pdf is not None:
            yield _of_height(height, pdf.png)


def _of_height(height: int, render: Callable[[int], bytes]) -> Ink:
    """The ink of a rendering whose resolution makes it about as high as an image."""
    first = ink_of(read_png(render(_RESOLUTION)))
    return ink_of(read_png(render(max(24, round(_RESOLUTION * height / first.shape[0])))))


def check_formula(image: PILImage.Image, renderings: Iterator[Ink]) -> str | None:
    """What is wrong with the label of a formula; None for a right one.

    Args:
        image: Of the formula.
        renderings: Of the label, until one is close enough.

    Raises:
        Unchecked: No engine can typeset the label, or none in a font that is near enough to tell.
    """
    best = closest(ink_of(image), renderings)
    if best is None:
        raise Unchecked("not_typeset")
    if _OTHER <= best < _SAME:
        raise Unchecked("no_close_font")
    return None if best >= _SAME else "formula_looks_different"


def closest(ink: Ink, renderings: Iterator[Ink]) -> float | None:
    """The best agreement of an image with a rendering, the last of which may be one that is close enough."""
    best = None
    for rendering in renderings:
        best = max(-1.0 if best is None else best, agreement(ink, rendering))
        if best >= _SAME:
            break
    return best
