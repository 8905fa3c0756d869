from pathlib import Path

import numpy as np

from step3vl.pipelines.core.steps import rng_for
from step3vl.pipelines.render.style import FontFace, PhotoBackgrounds, gradient, ink, luminance, paper

FONTS = Path("data/step3vl/data/assets/fonts")


def test_a_font_knows_which_characters_it_lacks() -> None:
    face = FontFace(FONTS / "DejaVuSans.ttf")
    assert face.covers("Read 12 × √9 = ⁷")
    assert not face.covers("月")
    assert FontFace(FONTS / "NotoSerifSC.otf").covers("月落乌啼霜满天")


def test_text_contrasts_with_every_background() -> None:
    photos = PhotoBackgrounds(sorted(Path("data/step3vl/data/assets/photos").glob("*.jpg"))[:2])
    for number in range(60):
        rng = rng_for(number)
        image, dark = paper(("plain", "gradient", "photo")[number % 3], (60, 40), photos, rng)
        assert image.size == (60, 40)
        background = luminance(tuple(np.asarray(image).reshape(-1, 3).mean(axis=0)))  # type: ignore[arg-type]
        assert abs(background - luminance(ink(dark, rng))) > 0.25


def test_a_gradient_runs_between_its_colours() -> None:
    pixels = np.asarray(gradient((8, 64), (0, 0, 0), (255, 255, 255), vertical=True)).mean(axis=(1, 2))
    assert abs(pixels[0] - pixels[-1]) > 240
    assert len(set(np.sign(np.diff(pixels))) - {0}) == 1
