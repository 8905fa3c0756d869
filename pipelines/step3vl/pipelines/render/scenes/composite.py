"""Composites: cut-outs on a photograph or a texture, with occlusion, shadows and light, and the exact visible masks.

Nothing surrounds a cut-out that is not in the background: outside of its own pixels and of its soft shadow, the image
is the background, to the bit. Its light follows that of the place it lies in, so that neither an edge nor a shade that
is always the same gives it away.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage
from PIL import ImageFilter

from step3vl.data.sample import Box
from step3vl.pipelines.grounding.masks import Mask, box_of_mask
from step3vl.pipelines.render.style import COLOURS

Pixels = npt.NDArray[np.float32]
_TRIES = 25  # places that are tried for a cut-out
_OPAQUE = 0.5  # opacity from which a pixel belongs to a cut-out
_LIGHT = (0.8, 1.15)  # of the place over that of the whole background, as far as it is followed
_CONTRAST = 40.0  # grey levels or more between a cut-out and what is behind it, in the channel that differs most


class Request(NamedTuple):
    """A cut-out to place.

    Attributes:
        label: What it is.
        colour: The name of what it is painted in; empty for its own colours.
        pixels: RGBA, cropped to what is opaque.
    """

    label: str
    colour: str
    pixels: PILImage.Image


class Placed(NamedTuple):
    """A cut-out in a composite.

    Attributes:
        label: What it is.
        colour: As requested.
        box: Of what is visible of it, in pixels.
        mask: What is visible of it, in the window of its box.
        visible: The share of it that is visible, 0..1.
    """

    label: str
    colour: str
    box: Box
    mask: Mask
    visible: float


@dataclass(frozen=True)
class Look:
    """How cut-outs are laid and lit.

    Attributes:
        min_visible: Of each cut-out, at least; below it, what covers it lies elsewhere.
        turn: Degrees by which cut-outs are turned, at most.
        shadow: Opacity of shadows, 0..1.
        shadow_offset: x and y in pixels; one light for the whole image.
        shadow_blur: Radius in pixels.
        harmony: How far the light of the place is followed, 0..1.
        blur: Radius in pixels, as if the camera had not been quite sharp.
    """

    min_visible: float
    turn: float
    shadow: float
    shadow_offset: tuple[int, int]
    shadow_blur: float
    harmony: float
    blur: float


class _Layer(NamedTuple):
    """A cut-out at its place: its pixels, its opacity, and x and y of its window."""

    colours: Pixels
    opacity: Pixels
    x: int
    y: int


def compose(
    background: PILImage.Image, requests: Sequence[Request], look: Look, rng: random.Random
) -> tuple[PILImage.Image, list[Placed]] | None:
    """Lay cut-outs on a background, later ones over earlier ones.

    Args:
        background: RGB; it is not changed.
        requests: In the order from back to front.
        look: How they are laid and lit.
        rng: Chooses the places.

    Returns:
        The image and what is visible of each cut-out; None where one finds no place.
    """
    size = background.size
    canvas = np.asarray(background, np.float32).copy()
    ground = canvas.copy()
    light = float(_grey(ground).mean())
    owners = np.full((size[1], size[0]), -1, np.int16)
    areas: list[int] = []
    for number, request in enumerate(requests):
        alike = [bool(request.colour) and other.colour == request.colour for other in requests[:number]]
        layer = _find_place(request, ground, light, owners, areas, alike, look, rng)
        if layer is None:
            return None
        _paint(canvas, layer, look)
        solid = layer.opacity >= _OPAQUE
        window = owners[layer.y : layer.y + solid.shape[0], layer.x : layer.x + solid.shape[1]]
        window[solid] = number
        areas.append(int(solid.sum()))
    pixels = np.clip(np.rint(canvas), 0, 255).astype(np.uint8)
    placed = []
    for number, request in enumerate(requests):
        whole = owners == number
        box = box_of_mask(whole, size)
        if box is None:
            return None
        mask = whole[int(box.y1) : int(box.y2), int(box.x1) : int(box.x2)].copy()
        if request.colour and _named_colour(pixels, whole, box) != request.colour:
            return None
        placed.append(Placed(request.label, request.colour, box, mask, float(mask.sum() / areas[number])))
    return PILImage.fromarray(pixels), placed


def _find_place(
    request: Request,
    ground: Pixels,
    light: float,
    owners: npt.NDArray[np.int16],
    areas: Sequence[int],
    alike: Sequence[bool],
    look: Look,
    rng: random.Random,
) -> _Layer | None:
    """A place in the image where a cut-out stands out, and covers no other one too much, nor one of its own colour."""
    height, width = owners.shape
    turned = request.pixels.rotate(rng.uniform(-look.turn, look.turn), PILImage.Resampling.BICUBIC, expand=True)
    if not request.colour and rng.random() < 0.5:
        turned = turned.transpose(PILImage.Transpose.FLIP_LEFT_RIGHT)
    if look.blur:
        turned = turned.convert("RGBa").filter(ImageFilter.GaussianBlur(look.blur)).convert("RGBA")
    opacity = np.asarray(np.asarray(turned.getchannel("A")) / 255, np.float32)
    solid = opacity >= _OPAQUE
    if turned.width >= width or turned.height >= height or not solid.any():
        return None
    colours = np.asarray(turned.convert("RGB"), np.float32)
    counts, same = np.asarray(areas, np.int64), np.asarray(alike, bool)
    for _ in range(_TRIES):
        x, y = rng.randint(0, width - turned.width), rng.randint(0, height - turned.height)
        window = (slice(y, y + turned.height), slice(x, x + turned.width))
        covered = owners[window][solid]
        covered = covered[covered >= 0]
        if len(covered) and (same[covered].any() or not _leaves_enough(owners, covered, counts, look.min_visible)):
            continue
        lit = _lit(colours, ground[window], light, look.harmony)
        difference = np.abs(lit[solid].mean(axis=0) - ground[window][solid].mean(axis=0)).max()
        if difference < _CONTRAST:
            continue
        return _Layer(lit, opacity, x, y)
    return None


def _leaves_enough(
    owners: npt.NDArray[np.int16], covered: npt.NDArray[np.int16], areas: npt.NDArray[np.int64], least: float
) -> bool:
    """Whether all of those covered are visible enough afterwards."""
    touched, hidden = np.unique(covered, return_counts=True)
    visible = np.bincount(owners[owners >= 0], minlength=len(areas))[touched] - hidden
    return bool((visible >= least * areas[touched]).all())


def _lit(colours: Pixels, place: Pixels, light: float, harmony: float) -> Pixels:
    """A cut-out in the light of its place: as bright or dark as that is beside the whole background."""
    ratio = float(np.clip((_grey(place).mean() + 1) / (light + 1), *_LIGHT))
    return np.asarray(np.clip(colours * (1 + harmony * (ratio - 1)), 0, 255), np.float32)


def _grey(pixels: Pixels) -> Pixels:
    return pixels @ np.array([0.2126, 0.7152, 0.0722], np.float32)


def _paint(canvas: Pixels, layer: _Layer, look: Look) -> None:
    """Cast the shadow of a cut-out and lay it on the image."""
    height, width = layer.opacity.shape
    if look.shadow:
        margin = int(2 * look.shadow_blur) + 2
        shade = PILImage.new("L", (width + 2 * margin, height + 2 * margin))
        shade.paste(PILImage.fromarray((layer.opacity * 255).astype(np.uint8)), (margin, margin))
        shade = shade.filter(ImageFilter.GaussianBlur(look.shadow_blur))
        left, top = layer.x - margin + look.shadow_offset[0], layer.y - margin + look.shadow_offset[1]
        x1, y1 = max(left, 0), max(top, 0)
        x2, y2 = min(left + shade.width, canvas.shape[1]), min(top + shade.height, canvas.shape[0])
        if x2 > x1 and y2 > y1:
            part = np.asarray(shade, np.float32)[y1 - top : y2 - top, x1 - left : x2 - left] / 255
            canvas[y1:y2, x1:x2] *= 1 - look.shadow * part[..., None]
    window = canvas[layer.y : layer.y + height, layer.x : layer.x + width]
    opacity = layer.opacity[..., None]
    window += opacity * (layer.colours - window)


def _named_colour(pixels: npt.NDArray[np.uint8], mask: Mask, box: Box) -> str:
    """The colour whose name fits what is visible of a cut-out best, by its median."""
    window = (slice(int(box.y1), int(box.y2)), slice(int(box.x1), int(box.x2)))
    median = np.median(pixels[window][mask[window]].astype(np.float32), axis=0)
    distances = {name: float(np.abs(median - np.array(colour)).sum()) for name, colour in COLOURS.items()}
    return min(distances, key=lambda name: distances[name])
