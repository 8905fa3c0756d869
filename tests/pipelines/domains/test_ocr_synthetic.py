from collections.abc import Callable
from typing import Any

import pytest

from step3vl.data.sample import Sample
from step3vl.grading import grade_answer
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.phrasings import Language
from step3vl.pipelines.domains.ocr_synthetic import RenderText, SyntheticEntry
from step3vl.pipelines.domains.text_page_check import CheckTextPages
from step3vl.pipelines.domains.text_page_questions import phrasings
from step3vl.pipelines.sources.text.words import is_chinese


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


def test_a_text_is_asked_for_in_its_own_language(generate: Callable[..., list[Sample]], context: StepContext) -> None:
    samples = generate(RenderText(SyntheticEntry(domain="ocr.image_to_text", name="t", count=1), context), 8)
    asked = set()
    for sample in samples:
        assert sample.messages is not None
        (question,) = [part.text for part in sample.messages[0].content if part.type == "text"]
        language: Language = "zh" if is_chinese(question) else "en"
        assert question in phrasings("transcribe", language)
        assert is_chinese(sample.answer()) == (language == "zh")
        asked.add(language)
    assert asked == {"en", "zh"}


def test_the_label_check_reads_the_image(generate: Callable[..., list[Sample]], context: StepContext) -> None:
    fields: dict[str, Any] = {"languages": ("en",), "characters": (30, 80), "lines": (1, 1), "backgrounds": ("plain",)}
    entry = SyntheticEntry(
        domain="ocr.image_to_text", name="t", count=1, width=(400, 400), height=(100, 100), **fields
    )
    first, second = generate(RenderText(entry, context), 8)[:2]
    check = CheckTextPages(entry, context)
    assert check(first) is None
    assert check(first.model_copy(update={"truth": second.truth})) == "text_not_on_image"


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
