from collections.abc import Callable
from typing import Any

import pytest

from step3vl.data.sample import Sample
from step3vl.grading import grade_answer
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
    generate: Callable[..., list[Sample]], unit: Any, options: dict[str, Any]
) -> None:
    entry = SyntheticEntry(
        domain="ocr.image_to_text", name="t", count=1, text=unit, width=(112, 150), height=(80, 112), **options
    )
    samples = generate(RenderText(entry), 40)
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


def test_the_same_record_gives_the_same_bytes(generate: Callable[..., list[Sample]]) -> None:
    entry = SyntheticEntry(domain="ocr.image_to_text", name="t", count=1)
    first, second = generate(RenderText(entry), 6), generate(RenderText(entry), 6)
    assert [sample.id for sample in first] == [sample.id for sample in second]
