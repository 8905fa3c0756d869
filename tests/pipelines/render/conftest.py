from pathlib import Path

import pytest

from step3vl.pipelines.render.fonts import FontFamily, load_families

FONTS = Path(__file__).parents[3] / "data/step3vl/data/assets/fonts"


@pytest.fixture(scope="session")
def families() -> list[FontFamily]:
    return load_families(sorted([*FONTS.glob("*.ttf"), *FONTS.glob("*.otf")]))
