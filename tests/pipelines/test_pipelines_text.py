"""Drawn text and drawn problems."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.errors import UserError
from step3vl.data.sample import Sample
from step3vl.pipelines.domains.education import EducationEntry, PoseProblems
from step3vl.pipelines.domains.ocr_synthetic import DrawText, SyntheticEntry
from step3vl.pipelines.render.page import block_size, draw_lines, wrap
from step3vl.pipelines.render.style import Face, plain
from step3vl.pipelines.sources.problems import MATHGENERATOR, REASONING_GYM, _equal, make_problem, plain_maths
from step3vl.pipelines.steps import Dropped, Record, rng_for

FONTS = Path("data/samples/fonts")


def run(worker: Any, count: int) -> list[Sample]:
    worker.setup()
    samples = []
    for number in range(count):
        try:
            samples += worker.process(Record(f"t/{number}", number), rng_for(0, number))
        except Dropped:
            continue
    return samples


@pytest.fixture(scope="module")
def face() -> Face:
    return Face(Path(__file__).parents[2] / FONTS / "DejaVuSans.ttf")


@given(st.lists(st.text("abc,", min_size=1, max_size=9), min_size=1, max_size=12), st.integers(20, 300))
def test_wrapping_keeps_every_word_and_no_line_is_too_wide(face: Face, words: list[str], width: int) -> None:
    font = face.at(13)
    lines = wrap(" ".join(words), font, width)
    if lines is None:
        assert max(font.getlength(word) for word in words) > width
    else:
        assert " ".join(lines).split() == words
        assert max(font.getlength(line) for line in lines) <= width


def test_chinese_breaks_between_characters_but_not_before_its_marks() -> None:
    font = Face(FONTS / "NotoSansSC.otf").at(20)
    lines = wrap("床前明月光，疑是地上霜。", font, 105)
    assert lines is not None and len(lines) > 2
    assert "".join(lines) == "床前明月光，疑是地上霜。"
    assert not any(line.startswith(("，", "。")) for line in lines)


def test_lines_are_drawn_within_the_size_they_claim(face: Face) -> None:
    font = face.at(21)
    lines = ["Quay, jumpy", "gjpqy"]
    picture = plain((300, 120), (255, 255, 255))
    draw_lines(picture, lines, font, (10, 10), (0, 0, 0))
    rows, columns = np.nonzero(np.asarray(picture)[..., 0] < 128)
    width, height = block_size(lines, font)
    assert columns.max() <= 10 + width and rows.max() <= 10 + height and columns.min() >= 8


def test_a_font_knows_what_it_lacks(face: Face) -> None:
    assert face.covers("Read 12 × √9 = ⁷")
    assert not face.covers("月")
    assert Face(FONTS / "NotoSerifSC.otf").covers("月落乌啼霜满天")


@pytest.mark.parametrize(
    ("unit", "options"),
    [
        ("digits", {"characters": (1, 3), "font": (20, 60)}),
        ("letters", {"characters": (1, 3), "font": (20, 60), "tilt": 8}),
        ("words", {"characters": (2, 12), "font": (10, 24)}),
        ("lines", {"characters": (1, 90), "font": (7, 14), "lines": (1, 2)}),
    ],
)
def test_drawn_text_is_what_the_answer_says(unit: Any, options: dict[str, Any]) -> None:
    entry = SyntheticEntry(
        domain="ocr.image_to_text", name="t", count=1, text=unit, width=(112, 150), height=(80, 112), **options
    )
    samples = run(DrawText(entry), 40)
    assert len(samples) > 20
    for sample in samples:
        assert sample.truth is not None
        assert sample.truth.score(sample.answer()).verdict == "correct"
        assert 112 <= sample.images[0].width <= 150
        if unit != "lines":
            assert "\n" not in sample.answer()
        if unit == "digits":
            assert sample.answer().isdigit() and len(sample.answer()) <= 3
        low, high = entry.characters
        assert low <= len(sample.answer().replace("\n", " ")) <= high + 8
    assert len({sample.id for sample in samples}) > 15


def test_the_same_record_gives_the_same_bytes() -> None:
    entry = SyntheticEntry(domain="ocr.image_to_text", name="t", count=1)
    first, second = run(DrawText(entry), 6), run(DrawText(entry), 6)
    assert [sample.id for sample in first] == [sample.id for sample in second]


def test_every_family_gives_problems_whose_answers_stand() -> None:
    families = {name: {} for name in REASONING_GYM} | {f"mathgenerator.{name}": {} for name in MATHGENERATOR}
    for name in families:
        entry = EducationEntry(domain="education", name="t", count=1, families={name: {}}, form="text")
        samples = run(PoseProblems(entry, seed=5), 3)
        assert samples, name
        for sample in samples:
            assert sample.truth is not None
            assert sample.truth.score(sample.answer()).verdict == "correct", (name, sample.answer())
            assert not sample.images


def test_a_wrong_answer_is_not_verified() -> None:
    assert _equal(r"\frac{6}{5}\div\frac{8}{5}", r"\frac{3}{4}")
    assert not _equal("16+28", "45")
    assert not _equal("16+28", r"\infty")


def test_problems_do_not_disturb_anyone_elses_random_numbers() -> None:
    random.seed(7)
    expected = random.Random(7).random()
    make_problem("mathgenerator.addition", {}, 0, rng_for(0))
    assert random.random() == expected


@pytest.mark.parametrize(
    ("latex", "plain_text"),
    [
        (r"16+28", "16 + 28"),
        (r"|4--52|", "|4 - -52|"),
        (r"\frac{2}{8}\cdot\frac{6}{7}", "2/8 × 6/7"),
        (r"\sqrt{49}", "√49"),
        (r"15^12", "15¹²"),
        (r"144\div18", "144 ÷ 18"),
    ],
)
def test_formulas_become_plain_text(latex: str, plain_text: str) -> None:
    assert plain_maths(latex) == plain_text


def test_a_formula_stays_on_one_line_of_its_picture() -> None:
    options = {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}
    entry = EducationEntry(
        domain="education", name="t", count=1, families={"chain_sum": options}, picture=(112, 112), font=(12, 40)
    )
    samples = run(PoseProblems(entry, seed=1), 15)
    assert len(samples) == 15
    assert {sample.task for sample in samples} == {"education.chain_sum"}


def test_an_unknown_family_is_named() -> None:
    entry = EducationEntry(domain="education", name="t", count=1, families={"alchemy": {}})
    with pytest.raises(UserError, match="alchemy"):
        entry.files()
