"""Image hashes beside ImageHash, under the edits that they should and should not survive."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage
from PIL import ImageDraw

from step3vl.data.sample.crops import ImageError
from step3vl.pipelines.curation.image_hashes import chunk_keys, distances, hash_encoded, hash_image, phash

PHOTOS = Path("data/step3vl/data/assets/photos")
NAMES = ["astronaut", "chelsea", "coffee", "rocket", "hubble", "camera"]


def photo(name: str) -> PILImage.Image:
    with PILImage.open(PHOTOS / f"{name}.jpg") as opened:
        return opened.convert("RGB")


def encoded(image: PILImage.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_the_hash_is_that_of_imagehash(name: str) -> None:
    import imagehash

    theirs = int(str(imagehash.phash(photo(name))), 16)
    assert (phash(photo(name)) ^ theirs).bit_count() <= 1  # a frequency that equals the median


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("edit", ["half", "jpeg", "webp", "brighter"])
def test_an_edited_image_is_near(name: str, edit: str) -> None:
    image = photo(name)
    data = {
        "half": lambda: encoded(image.resize((image.width // 2, image.height // 2), PILImage.Resampling.BICUBIC)),
        "jpeg": lambda: encoded(image, "JPEG", quality=50),
        "webp": lambda: encoded(image, "WEBP", quality=60),
        "brighter": lambda: encoded(image.point(lambda value: min(255, value * 11 // 10))),
    }[edit]()
    near, far = distances(hash_image(encoded(image)), hash_image(data))
    assert near <= 4
    assert far <= 31


def test_different_images_are_far() -> None:
    hashes = [hash_image(encoded(photo(name))) for name in NAMES]
    for index, first in enumerate(hashes):
        for second in hashes[index + 1 :]:
            near, far = distances(first, second)
            assert near > 4
            assert far > 31


def test_equal_pixels_in_other_formats_have_one_hash() -> None:
    image = photo("chelsea")
    first, second = hash_image(encoded(image)), hash_image(encoded(image, "BMP"))
    assert np.array_equal(first, second)
    assert not np.array_equal(hash_encoded(encoded(image))["pixels"], hash_encoded(encoded(image, "BMP"))["pixels"])


def test_a_transposed_size_is_another_image() -> None:
    wide, high = (hash_image(encoded(PILImage.new("RGB", size))) for size in ((8, 4), (4, 8)))
    assert not np.array_equal(wide["pixels"], high["pixels"])


def test_blank_images_and_nearly_blank_ones_have_no_structure() -> None:
    blank = PILImage.new("RGB", (400, 300), "white")
    page = blank.copy()
    ImageDraw.Draw(page).text((20, 20), "page 7", fill="black")
    assert hash_image(encoded(blank))["quality"] < 50
    assert hash_image(encoded(page))["quality"] < 50
    assert hash_image(encoded(photo("astronaut")))["quality"] >= 50


def test_a_damaged_image_is_an_error() -> None:
    with pytest.raises(ImageError):
        hash_image(encoded(photo("coffee"))[:2000])


@settings(max_examples=30)
@given(st.integers(0, 2**64 - 1), st.sets(st.integers(0, 63), max_size=4), st.booleans())
def test_hashes_within_four_bits_share_a_key(value: int, flipped: set[int], selective: bool) -> None:
    other = value
    for bit in flipped:
        other ^= 1 << bit
    first, second = chunk_keys(np.array([value, other], np.uint64), selective=selective)
    assert set(first.tolist()) & set(second.tolist())


def test_chunks_of_one_value_at_different_places_are_different_keys() -> None:
    (keys,) = chunk_keys(np.zeros(1, np.uint64), selective=True)
    assert len(set(keys.tolist())) == 35


def test_the_hashes_are_frozen() -> None:
    """Indexes of earlier builds hold them: a change must raise `FEATURES_VERSION`."""
    record = hash_image(encoded(photo("chelsea")))
    assert f"{int(record['phash']):016x}" == "b15fe6465121175e"
    assert f"{int(record['pdq'][0]):016x}" == "5feb5321f05da15e"
