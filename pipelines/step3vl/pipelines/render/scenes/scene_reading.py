"""Reading a rendered scene back from its pixels: which icons it shows, of what colour, and where.

The reading knows the empty background and the stencils, but not what was placed. So it tells when an icon is hidden by
its background, or looks like another one.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage

from step3vl.data.sample import Box
from step3vl.pipelines.render.scenes.scene import PlacedIcon
from step3vl.pipelines.render.style import COLOURS
from step3vl.pipelines.sources.icons import IconSet

_SIDE = 48  # pixels of the longer side at which shapes are compared
_TOLERANCE = 4  # pixels by which the proportions of two like shapes differ
_LIKE = 0.5  # likeness of a shape to its icon, at least: the area that both cover in that which either covers
_MARGIN = 0.02  # of the likeness; with less between the best two icons, neither is told


def read_scene(
    scene: PILImage.Image, background: PILImage.Image, spots: Sequence[Box], icons: IconSet
) -> list[PlacedIcon] | None:
    """The icons of a scene, in the order of the spots.

    Args:
        scene: With icons.
        background: The same without them.
        spots: Where to look, in pixels; each is to hold one icon and reach to its border.
        icons: Those that there may be.

    Returns:
        None when an icon cannot be told, or when there is one besides the spots.
    """
    names = list(COLOURS)
    values, empty = _packed(scene), _packed(background)
    painted = np.full(values.shape, -1, np.int8)
    for number, name in enumerate(names):
        red, green, blue = COLOURS[name]
        value = red << 16 | green << 8 | blue
        painted[(values == value) & (empty != value)] = number
    pixels = np.asarray(scene)
    read = []
    for spot in spots:
        x1, y1, x2, y2 = (round(side) for side in (spot.x1, spot.y1, spot.x2, spot.y2))
        inside = painted[y1:y2, x1:x2]
        colours, counts = np.unique(inside[inside >= 0], return_counts=True)
        if not len(colours):
            return None
        colour = colours[counts.argmax()]
        icon = _icon_of(_opacity(pixels[y1:y2, x1:x2], names[colour]), icons)
        if icon is None:
            return None
        rows, columns = np.nonzero(inside == colour)
        box = Box(
            float(x1 + columns.min()),
            float(y1 + rows.min()),
            float(x1 + columns.max() + 1),
            float(y1 + rows.max() + 1),
            "pixels",
            scene.size,
        )
        read.append(PlacedIcon(icon, names[colour], box))
        painted[y1:y2, x1:x2] = -1
    return None if _holds_a_shape(painted) else read


def _packed(image: PILImage.Image) -> npt.NDArray[np.uint32]:
    """A number for each pixel of an RGB image."""
    red, green, blue = (np.asarray(channel).astype(np.uint32) for channel in image.split())
    return np.asarray(red << 16 | green << 8 | blue, np.uint32)


def _opacity(pixels: npt.NDArray[np.uint8], colour: str) -> npt.NDArray[np.float32]:
    """About how much of a pixel is paint, 0..1, by its distance from the colour."""
    distance = np.abs(pixels.astype(np.int16) - np.array(COLOURS[colour], np.int16)).max(axis=2)
    return np.clip(1 - distance / 48, 0, 1).astype(np.float32)


def _icon_of(shape: npt.NDArray[np.float32], icons: IconSet) -> str | None:
    """The icon whose stencil is most like a shape, if it is clearly so and has its proportions."""
    image = PILImage.fromarray((shape * 255).astype(np.uint8))
    scale = _SIDE / max(image.size)
    image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    grey = np.asarray(image).astype(np.float32)
    likeness = []
    for name in icons.names:
        stencil = icons.stencil(name, _SIDE)
        if abs(stencil.width - image.width) > _TOLERANCE or abs(stencil.height - image.height) > _TOLERANCE:
            continue
        mask = np.asarray(stencil.resize(image.size)).astype(np.float32)
        likeness.append((np.minimum(mask, grey).sum() / max(np.maximum(mask, grey).sum(), 1.0), name))
    likeness.sort(reverse=True)
    if not likeness or likeness[0][0] < _LIKE:
        return None
    if len(likeness) > 1 and likeness[0][0] - likeness[1][0] < _MARGIN:
        return None
    return likeness[0][1]


def _holds_a_shape(painted: npt.NDArray[np.int8]) -> bool:
    """Whether pixels of paint remain besides those that a halo happens to leave."""
    return bool((painted >= 0).sum() > 0.002 * painted.size)
