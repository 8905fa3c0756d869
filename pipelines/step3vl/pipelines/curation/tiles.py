"""Tiles of images, by which a crop of an image is found in it: perceptual hashes of what lies around its key points.

A hash of a whole image says nothing of its crops, and a fixed grid of tiles nothing of crops that begin elsewhere.
SIFT (Lowe, 2004) finds the same points with the same sizes in an image and in its crops and copies of other sizes, so
a tile is the upright square around such a point, of a side in proportion to its size. Two images share a part where
several tiles have nearly equal hashes and lie alike, up to one scale and one shift.
"""

from functools import cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from step3vl.pipelines.curation.image_hashes import SIDE, chunk_keys, dct_hash
from step3vl.pipelines.curation.words import U64

TILE = np.dtype([("hash", "<u8"), ("x", "<f4"), ("y", "<f4"), ("size", "<f4")])
Tiles = NDArray[np.void]
TILES_VERSION = 1  # raised with every change of tiles
_LONGER = 512  # pixels of the longer side at which points are looked for
_TIMES = 4.0  # half the side of a tile, in sizes of its point: less has too little structure to be told apart
_SMALLEST = 4.0  # size of a point, in pixels: smaller ones do not survive compression
_CONTRAST = 12.0  # standard deviation of the grey levels of a tile, of 255
_RADIUS = 6  # bits of 64 in which hashes of one tile differ in copies of an image
_SHIFT = 0.25  # of a tile's half side: how far it may lie from where the others say
_SCALE = 1.2  # how many times the ratio of two sizes may be that of the others
_LEAST = 4  # tiles that have to lie alike
_EXTENT = 0.12  # what they enclose at least, in one of the images: less is a word or a logo that both have


class TileMatch(NamedTuple):
    """What two images share.

    Attributes:
        tiles: How many lie alike.
        scale: Of the second image, in pixels for a pixel of the first one, each at the size at which it was looked at.
    """

    tiles: int
    scale: float


def tiles_of(rgb: PILImage.Image, most: int) -> Tiles:
    """The tiles of an image, the strongest points first, in pixels of an image with a longer side of 512.

    Args:
        rgb: Decoded.
        most: Tiles.
    """
    factor = _LONGER / max(rgb.size)
    size = max(1, round(rgb.width * factor)), max(1, round(rgb.height * factor))
    grey = np.asarray(
        rgb.convert("L").resize(size, PILImage.Resampling.BOX if factor < 1 else PILImage.Resampling.BICUBIC)
    )
    tiles: list[tuple[int, float, float, float]] = []
    seen: set[tuple[int, int, int]] = set()
    points = sorted(_detector().detect(grey), key=lambda point: (-point.response, point.pt, point.size))
    for point in points:
        half = point.size * _TIMES
        x, y = point.pt
        place = round(x), round(y), round(point.size)  # a point has an entry for each of its directions
        if point.size < _SMALLEST or place in seen or not (half <= x < size[0] - half and half <= y < size[1] - half):
            continue
        seen.add(place)
        side = max(1, round(2 * half))
        tile = cv2.getRectSubPix(grey, (side, side), (x, y))
        if tile.std() < _CONTRAST:
            continue
        small = cv2.resize(tile, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        tiles.append((dct_hash(small.astype(np.float64)), x, y, point.size))
        if len(tiles) == most:
            break
    return np.array(tiles, TILE)


@cache
def _detector() -> Any:
    return cv2.SIFT.create(contrastThreshold=0.03)


def match_tiles(first: Tiles, second: Tiles) -> TileMatch | None:
    """What two images share; None where too few tiles lie alike."""
    if len(first) < _LEAST or len(second) < _LEAST:
        return None
    distances = np.bitwise_count(first["hash"][:, None] ^ second["hash"][None, :])
    ones, others = np.nonzero(distances <= _RADIUS)
    if len(ones) < _LEAST:
        return None
    left, right = first[ones], second[others]
    scales = right["size"] / left["size"]
    best = TileMatch(0, 1.0)
    for index in range(len(left)):
        scale = scales[index]
        shift_x = right["x"][index] - scale * left["x"][index]
        shift_y = right["y"][index] - scale * left["y"][index]
        allowed = _SHIFT * _TIMES * right["size"]
        alike = (
            (np.abs(right["x"] - scale * left["x"] - shift_x) <= allowed)
            & (np.abs(right["y"] - scale * left["y"] - shift_y) <= allowed)
            & (np.abs(np.log(scales / scale)) <= np.log(_SCALE))
        )
        count = min(len(np.unique(ones[alike])), len(np.unique(others[alike])))
        if count > best.tiles and max(_extent(left[alike]), _extent(right[alike])) >= _EXTENT:
            best = TileMatch(count, round(float(scale), 3))
    return best if best.tiles >= _LEAST else None


def _extent(tiles: Tiles) -> float:
    """The area that tiles enclose, of the square of the longer side."""
    half = tiles["size"] * _TIMES
    sides = [float((tiles[name] + half).max() - (tiles[name] - half).min()) for name in ("x", "y")]
    return sides[0] * sides[1] / _LONGER**2


class TileIndex:
    """Tiles of many images, by which those are found that share a part with another one.

    Args:
        tiles: Of all images, back to back.
        counts: Of each image.
    """

    def __init__(self, tiles: Tiles, counts: NDArray[np.int64]) -> None:
        self._tiles = tiles
        self._ends = np.cumsum(counts)
        self._owners = np.repeat(np.arange(len(counts)), counts)
        keys = chunk_keys(tiles["hash"].astype(np.uint64), selective=False).ravel()
        order = np.argsort(keys, kind="stable")
        self._keys: U64 = keys[order]
        self._places = order // 5 if len(keys) else order

    def find(self, tiles: Tiles) -> tuple[int, TileMatch] | None:
        """The image that shares most with one of these tiles, and what they share."""
        if not len(tiles) or not len(self._keys):
            return None
        keys = chunk_keys(tiles["hash"].astype(np.uint64), selective=False).ravel()
        starts, stops = (np.searchsorted(self._keys, keys, side=side) for side in ("left", "right"))
        sizes = stops - starts
        rows = np.repeat(np.arange(len(keys)) // 5, sizes)
        hits = self._places[np.repeat(starts - (np.cumsum(sizes) - sizes), sizes) + np.arange(sizes.sum())]
        near = np.bitwise_count(tiles["hash"][rows] ^ self._tiles["hash"][hits]) <= _RADIUS
        pairs = np.unique(np.stack([self._owners[hits[near]], rows[near]]), axis=1)
        owners, counts = np.unique(pairs[0], return_counts=True)
        best: tuple[int, TileMatch] | None = None
        for owner in owners[counts >= _LEAST].tolist():
            start = int(self._ends[owner - 1]) if owner else 0
            shared = match_tiles(tiles, self._tiles[start : int(self._ends[owner])])
            if shared is not None and (best is None or shared.tiles > best[1].tiles):
                best = owner, shared
        return best
