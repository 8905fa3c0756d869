from collections.abc import Callable
from typing import Any

import pytest

from step3vl.data.sample import Sample
from step3vl.grading import grade_answer
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.domains.ocr_synthetic import RenderText, SyntheticEntry


@pytest.mark.parametrize(
    ("unit", "options"),
    [
        ("digits", {"characters": (1, 3), "font_size": (20, 60)}),
        ("characters", {"characters": (1, 3), "font_size": (20, 60), "tilt": 8}),
        ("words", {"characters": (2, 12), "font_size": (10, 24)}),
        ("lines", {"characters": (1, 90), "font_size": (7, 14), "lines": (1, 2)}),
    ],
)
def test_the_answer_is_the_rendered_text(
    generate: Callable[..., list[Sample]], context: StepContext, unit: Any, options: dict[str, Any]
) -> None:
    entry = SyntheticEntry(
        domain="ocr.image_to_text", name="t", count=1, text=unit, width=(112, 150), height=(80, 112), **options
    )
    samples = generate(RenderText(entry, context), 40)
    assert len(samples) > 20
    low, high = entry.characters
    for sample in samples:
        assert sample.truth is not None
        assert grade_answer(sample.truth, sample.answer()).verdict == "correct"
        assert 112 <= sample.images[0].width <= 150
        if unit != "lines":
            assert "\n" not in sample.answer()
        if unit == "digits":
            assert sample.answer().isdigit() and len(sample.answer()) <= 3
        assert low <= len(sample.answer().replace("\n", " ")) <= high + 8
    assert len({sample.id for sample in samples}) > 15


def test_the_same_record_gives_the_same_bytes(generate: Callable[..., list[Sample]], context: StepContext) -> None:
    entry = SyntheticEntry(domain="ocr.image_to_text", name="t", count=1)
    first, second = generate(RenderText(entry, context), 6), generate(RenderText(entry, context), 6)
    assert [sample.id for sample in first] == [sample.id for sample in second]


def test_a_language_without_a_text_is_pointed_out() -> None:
    with pytest.raises(ValueError, match="no file for 'zh'"):
        SyntheticEntry(domain="ocr.image_to_text", name="t", count=1, texts={"en": "en.txt"})


def test_only_what_is_shown_is_an_asset() -> None:
    options: dict[str, Any] = {"languages": ("en",), "backgrounds": ("plain",), "font_files": ("mine/*.ttf",)}
    entry = SyntheticEntry(domain="ocr.image_to_text", name="t", count=1, **options)
    assert entry.assets() == ("assets:text/en.txt", "mine/*.ttf")
