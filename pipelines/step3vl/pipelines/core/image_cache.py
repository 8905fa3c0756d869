"""A cache of decoded images that is bounded in bytes, because sizes and numbers of images have no bound."""

from collections import OrderedDict
from collections.abc import Callable, Hashable

from PIL import Image as PILImage


class ImageCache:
    """Keeps the images that were used last.

    Args:
        limit: Bytes of pixels that are kept. An image that is larger by itself is never kept.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._images: OrderedDict[Hashable, PILImage.Image] = OrderedDict()
        self.size = 0

    def get(self, key: Hashable, make: Callable[[], PILImage.Image]) -> PILImage.Image:
        """The image of a key, which `make` returns when it is not kept. The caller must not change it."""
        if key in self._images:
            self._images.move_to_end(key)
            return self._images[key]
        image = make()
        size = _bytes_of(image)
        if size <= self._limit:
            self._images[key] = image
            self.size += size
            while self.size > self._limit:
                _, oldest = self._images.popitem(last=False)
                self.size -= _bytes_of(oldest)
        return image


def _bytes_of(image: PILImage.Image) -> int:
    """The memory of an image; Pillow keeps four bytes a pixel for RGB."""
    return image.width * image.height * (1 if image.mode in ("L", "P", "1") else 4)
