"""Hashes of images: of the decoded pixels, and two perceptual ones that agree on what looks alike.

The 64-bit hash is the low frequencies of a DCT against their median (Zauner 2010, as in ImageHash); the 256-bit one is
PDQ, by its authors' library. Grey conversion, filter and orientation are fixed, for other choices change bits.
"""

from functools import cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from xxhash import xxh3_128_intdigest

from step3vl.data.sample.images import open_image, upright
from step3vl.data.sample.parts import require_pixels
from step3vl.pipelines.curation.words import U64, high_and_low, mix

SIDE = 32  # pixels of the thumbnail whose DCT is taken
_LOW = 8  # frequencies of each direction that count
_PDQ_SIDE = 64  # pixels of the image whose frequencies PDQ takes
IMAGE_DTYPE = np.dtype(
    [
        ("pixels", "<u8", 2),  # hash of size and RGB bytes
        ("phash", "<u8"),
        ("pdq", "<u8", 4),
        ("quality", "u1"),  # of PDQ: how much structure there is, 0..100
    ]
)
ImageHashes = NDArray[np.void]


def hash_encoded(data: bytes) -> ImageHashes:
    """The record of an image by its encoded bytes alone."""
    record = np.zeros((), IMAGE_DTYPE)
    record["pixels"] = high_and_low(xxh3_128_intdigest(data))
    return record


def hash_image(data: bytes) -> ImageHashes:
    """The record of an encoded image.

    Raises:
        ImageError: It cannot be decoded, or has more pixels than the model reads.
    """
    return hash_pixels(decode(data))


def decode(data: bytes) -> PILImage.Image:
    """The upright RGB image of encoded bytes.

    Raises:
        ImageError: It cannot be decoded, or has more pixels than the model reads.
    """
    opened = open_image(data)
    require_pixels(opened)
    return upright(opened)


def hash_pixels(rgb: PILImage.Image) -> ImageHashes:
    """The record of a decoded image."""
    record = np.zeros((), IMAGE_DTYPE)
    grey = rgb.convert("L")
    record["pixels"] = high_and_low(xxh3_128_intdigest(rgb.tobytes(), seed=rgb.width))
    record["phash"] = phash(grey)
    record["pdq"], record["quality"] = _pdq(grey)
    return record


def phash(image: PILImage.Image) -> int:
    """The 64-bit DCT hash of an RGB or grey image: which low frequencies are above the median."""
    thumbnail = _thumbnail(image.convert("L"), SIDE, PILImage.Resampling.LANCZOS)
    return dct_hash(np.asarray(thumbnail, np.float64))


def dct_hash(grey: NDArray[np.float64]) -> int:
    """The same of grey levels [32, 32]."""
    low = (_dct() @ grey @ _dct().T).ravel()
    middle = np.partition(low, (31, 32))[31:33]
    return int.from_bytes(np.packbits(low > middle.mean()).tobytes(), "big")


@cache
def _dct() -> NDArray[np.float64]:
    """The first rows of the DCT-II matrix."""
    frequency, place = np.arange(_LOW)[:, None], np.arange(SIDE)[None, :]
    return np.cos(np.pi * frequency * (2 * place + 1) / (2 * SIDE))


def _pdq(grey: PILImage.Image) -> tuple[NDArray[np.uint64], int]:
    import pdqhash  # of the extra `pipelines`

    # Filtered first: of images that differ in size alone, the library's own reduction differs in up to 32 bits.
    thumbnail = _thumbnail(grey, _PDQ_SIDE, PILImage.Resampling.BILINEAR)
    # The frequencies and not their signs, which the library gives as a list of 256 Python numbers.
    values, quality = pdqhash.compute_float(np.broadcast_to(np.asarray(thumbnail)[:, :, None], (*thumbnail.size, 3)))
    return np.packbits(values > np.partition(values, 127)[127]).view(">u8").astype(np.uint64), int(quality)


def _thumbnail(grey: PILImage.Image, side: int, filter: PILImage.Resampling) -> PILImage.Image:
    """A grey image as a square. It is first reduced to twice the size by means of whole pixels, which is four times as
    fast as the filter and moves next to no bit of a hash."""
    return grey.resize((side, side), filter, reducing_gap=2.0)


def distances(first: ImageHashes, second: ImageHashes) -> tuple[int, int]:
    """In how many bits the 64-bit and the 256-bit hashes of two images differ."""
    near = int(np.bitwise_count(first["phash"] ^ second["phash"]))
    return near, int(np.bitwise_count(first["pdq"] ^ second["pdq"]).sum())


def chunk_keys(hashes: U64, *, selective: bool) -> U64:
    """Keys [hashes, keys] of which two hashes share one at least if they differ in at most 4 bits (pigeonhole).

    Args:
        hashes: Of 64 bits.
        selective: Give 35 keys of 27 or 28 bits, three of seven chunks each, in place of the five chunks. For images
            that nothing else tells apart, of which 10^9 would put 10^5 into a bucket of 13 bits.
    """
    parts, together = (7, 3) if selective else (5, 1)
    chunks = [_chunk(hashes, number, parts) for number in range(parts)]
    keys = []
    for number, members in enumerate(combinations(range(parts), together)):
        key = np.full(len(hashes), number, np.uint64)
        for member in members:
            key = mix(key) ^ chunks[member]
        keys.append(key)
    return np.stack(keys, axis=1)


def _chunk(values: U64, number: int, count: int) -> U64:
    low, high = number * 64 // count, (number + 1) * 64 // count
    return values >> np.uint64(low) & np.uint64((1 << (high - low)) - 1)
