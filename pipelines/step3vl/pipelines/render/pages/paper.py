"""Paper, tables and walls: textures that are computed, so that no two images have the same ground."""

import random
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from step3vl.data.sample import Size

Pixels = npt.NDArray[np.uint8]

_TILE = 512


@lru_cache(maxsize=1)
def _noise() -> npt.NDArray[np.int16]:
    """A tile of Gaussian noise of standard deviation 32, the same in every process."""
    noise = np.random.Generator(np.random.PCG64(20260101)).standard_normal((_TILE, _TILE))
    return np.asarray((noise * 32).round(), np.int16)


def noise(size: Size, rng: random.Random) -> npt.NDArray[np.int16]:
    """Gaussian noise of standard deviation 32: a window of the tile, turned and mirrored at random."""
    tile = _noise()
    tile = tile[:: rng.choice((1, -1)), :: rng.choice((1, -1))]
    tile = tile.T if rng.random() < 0.5 else tile
    tile = np.roll(tile, (rng.randrange(_TILE), rng.randrange(_TILE)), (0, 1))
    return np.tile(tile, (-(-size[1] // _TILE), -(-size[0] // _TILE)))[: size[1], : size[0]]


def clouds(size: Size, grain: float, rng: random.Random) -> npt.NDArray[np.uint8]:
    """Smooth random grey, 0..255 around 128.

    Args:
        size: Width and height in pixels.
        grain: Pixels from one light place to the next.
        rng: Chooses.
    """
    small = max(2, round(size[0] / grain)), max(2, round(size[1] / grain))
    nodes = np.clip(128 + noise(small, rng), 0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(nodes, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def paper(size: Size, rng: random.Random) -> Pixels:
    """The texture of paper (height, width, 3): what of the light it leaves, 0..255, with fibres, stains and folds."""
    kind = rng.choice(("white", "white", "recycled", "aged", "tinted"))
    strength = {"white": 2, "recycled": 9, "aged": 12, "tinted": 4}[kind]
    base = {
        "white": (rng.randint(244, 255),) * 3,
        "recycled": (rng.randint(222, 238), rng.randint(220, 236), rng.randint(208, 224)),
        "aged": (rng.randint(228, 246), rng.randint(214, 232), rng.randint(176, 206)),
        "tinted": tuple(rng.randint(218, 255) for _ in range(3)),
    }[kind]
    grain = noise(size, rng) * strength // 96
    uneven = (clouds(size, size[0] / rng.uniform(2, 6), rng).astype(np.int16) - 128) * strength // 48
    texture = grain + uneven
    if rng.random() < 0.15:
        texture += _folds(size, rng)
    out = np.empty((size[1], size[0], 3), np.int16)
    for channel in range(3):
        out[:, :, channel] = texture + base[channel]
    return np.clip(out, 0, 255).astype(np.uint8)


def _folds(size: Size, rng: random.Random) -> npt.NDArray[np.int16]:
    """A dark and a light line beside each other where a sheet was folded."""
    folds = np.zeros((size[1], size[0]), np.int16)
    for _ in range(rng.randint(1, 2)):
        depth = rng.randint(8, 20)
        if rng.random() < 0.5:
            place = round(size[0] * rng.uniform(0.3, 0.7))
            folds[:, max(0, place - 2) : place] -= depth
            folds[:, place : place + 2] += depth
        else:
            place = round(size[1] * rng.uniform(0.3, 0.7))
            folds[max(0, place - 2) : place] -= depth
            folds[place : place + 2] += depth
    return folds


def surface(size: Size, rng: random.Random) -> Pixels:
    """What a sheet lies on (height, width, 3): wood, cloth, stone or a plain colour."""
    kind = rng.choice(("wood", "cloth", "stone", "plain"))
    colour = np.array([rng.randint(30, 210) for _ in range(3)], np.int16)
    if kind == "wood":
        colour = np.array((rng.randint(90, 190), rng.randint(60, 130), rng.randint(30, 90)), np.int16)
        grain = clouds((size[0], size[1]), size[0] / 3, rng)
        fibres = cv2.resize(noise((max(2, size[0] // 64), size[1]), rng).astype(np.int16), size)
        texture = (grain.astype(np.int16) - 128) // 4 + fibres // 4
    elif kind == "cloth":
        weave = np.add.outer(np.arange(size[1]) % 4 // 2, np.arange(size[0]) % 4 // 2) % 2
        texture = (weave * rng.randint(6, 16)).astype(np.int16) + noise(size, rng) // 8
    elif kind == "stone":
        texture = (clouds(size, 9, rng).astype(np.int16) - 128) // 5 + (
            clouds(size, 60, rng).astype(np.int16) - 128
        ) // 5
    else:
        texture = (clouds(size, size[0], rng).astype(np.int16) - 128) // 8 + noise(size, rng) // 24
    return np.clip(texture[:, :, None] + colour, 0, 255).astype(np.uint8)
