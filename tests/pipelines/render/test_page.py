from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.pipelines.core.steps import rng_for
from step3vl.pipelines.render.pages.page import block_size, fit, render_lines, wrap
from step3vl.pipelines.render.style import FontFace, plain

FONTS = Path("data/step3vl/data/assets/fonts")


@pytest.fixture(scope="module")
def face() -> FontFace:
    return FontFace(Path(__file__).parents[3] / FONTS / "DejaVuSans.ttf")


@given(st.lists(st.text("abc,", min_size=1, max_size=9), min_size=1, max_size=12), st.integers(20, 300))
def test_wrapping_keeps_every_word_and_no_line_is_too_wide(face: FontFace, words: list[str], width: int) -> None:
    font = face.at(13)
    lines = wrap(" ".join(words), font, width)
    if lines is None:
        assert max(font.getlength(word) for word in words) > width
    else:
        assert " ".join(lines).split() == words
        assert max(font.getlength(line) for line in lines) <= width


def test_chinese_breaks_between_characters_but_not_before_its_marks() -> None:
    font = FontFace(FONTS / "NotoSansSC.otf").at(20)
    lines = wrap("床前明月光，疑是地上霜。", font, 105)
    assert lines is not None and len(lines) > 2
    assert "".join(lines) == "床前明月光，疑是地上霜。"
    assert not any(line.startswith(("，", "。")) for line in lines)


def test_lines_are_rendered_within_their_block_size(face: FontFace) -> None:
    font = face.at(21)
    lines = ["Quay, jumpy", "gjpqy"]
    image = plain((300, 120), (255, 255, 255))
    render_lines(image, lines, font, (10, 10), (0, 0, 0))
    rows, columns = np.nonzero(np.asarray(image)[..., 0] < 128)
    width, height = block_size(lines, font)
    assert columns.max() <= 10 + width and rows.max() <= 10 + height and columns.min() >= 8


def test_text_is_fitted_at_a_size_of_the_range_or_not_at_all(face: FontFace) -> None:
    fitted = fit("two words", face, (100, 40), (10, 30), rng_for(0))
    assert fitted is not None
    lines, font = fitted
    assert 10 <= font.size <= 30 and block_size(lines, font)[1] <= 40
    assert fit("two words", face, (40, 90), (10, 12), rng_for(0)) is not None
    assert fit("two words", face, (40, 90), (10, 12), rng_for(0), single_line=True) is None
