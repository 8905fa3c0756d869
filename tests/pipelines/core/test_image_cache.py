"""Decoded images are kept in bounded memory, however many sizes there are."""

from pathlib import Path

import pytest
from PIL import Image as PILImage

from step3vl.data.errors import UserError
from step3vl.pipelines.core.image_cache import ImageCache
from step3vl.pipelines.core.steps import rng_for
from step3vl.pipelines.render.style import PhotoBackgrounds
from step3vl.pipelines.sources.icons import IconSet

PHOTOS = sorted(Path("data/step3vl/data/assets/photos").glob("*.jpg"))


def test_the_images_used_last_are_kept() -> None:
    made: list[str] = []
    cache = ImageCache(3 * 4 * 100)

    def use(key: str, side: int = 10) -> None:
        def make() -> PILImage.Image:
            made.append(key)
            return PILImage.new("RGB", (side, side))

        assert cache.get(key, make).size == (side, side)
        assert cache.size <= 1200

    for key in "abcabadac":
        use(key)
    assert "".join(made) == "abcdc", "d removed c, which was used longest ago"
    use("large", side=100)
    use("a")
    assert made[-1] == "large", "what is larger than the cache removes nothing"


def test_backgrounds_of_any_number_of_sizes_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PhotoBackgrounds, "CACHE", 8 << 20)
    photos = PhotoBackgrounds(PHOTOS)
    fresh = PhotoBackgrounds(PHOTOS)
    for number in range(60):
        size = 100 + 7 * number, 80 + 5 * number
        crop = photos.crop(size, rng_for(number))
        assert photos._cache.size <= 8 << 20
        fresh._cache = ImageCache(0)
        assert crop.tobytes() == fresh.crop(size, rng_for(number)).tobytes(), "the cache changes no pixel"


def test_icons_of_any_number_of_sizes_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("step3vl.pipelines.sources.icons._CACHE", 1 << 16)
    icons = IconSet(sorted(Path("data/step3vl/data/assets/icons").glob("*.svg"))[:2])
    for side in range(4, 190):
        for name in icons.names:
            icons.stencil(name, side)
            assert icons._stencils.size <= 1 << 16


def test_a_photograph_that_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.jpg").write_text("no image")
    with pytest.raises(UserError, match=r"p\.jpg is not an image"):
        PhotoBackgrounds([tmp_path / "p.jpg"])
