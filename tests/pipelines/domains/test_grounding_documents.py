"""Grounding on pages of PDFs: lines and paragraphs by the rectangles that the files state."""

from collections import Counter

import pytest
from tests.pipelines.through_steps import through_steps

from step3vl.data.sample import Box, Sample, TextPart
from step3vl.grading import grade_answer
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.samples import encode_jpeg
from step3vl.pipelines.core.steps import Dropped, Record, rng_for
from step3vl.pipelines.domains.grounding_documents import DOMAIN, DocumentObjectsEntry, GroundPages, TwiceReadPage
from step3vl.pipelines.render.style import plain
from step3vl.pipelines.sources.documents.pdf_text import PageWord

FIELDS = {"domain": "grounding.documents", "name": "t", **DOMAIN.example}


@pytest.fixture
def built(context: StepContext) -> tuple[list[Sample], Counter[str]]:
    fields = {"max_pages": 2, "questions": 8, "languages": ["en"], "tasks": {"grounding.box": 3, "grounding.point": 3}}
    entry = DocumentObjectsEntry.model_validate({**FIELDS, **fields})
    return through_steps(DOMAIN, entry, context)


def page(words: tuple[PageWord, ...], turn: int | None = 0) -> TwiceReadPage:
    image = encode_jpeg(plain((600, 400), (255, 255, 255)))
    return TwiceReadPage(image=image, words=words, turn=turn, labels=(), licence="CC0-1.0")


def word(text: str, y: float) -> PageWord:
    return PageWord(text=text, box=Box(50, y, 50 + 8 * len(text), y + 10, "pixels", (600, 400)))


def test_lines_and_paragraphs_of_real_pages_are_asked_about(built: tuple[list[Sample], Counter[str]]) -> None:
    samples, lost = built
    assert set(lost) <= {"beyond_max_pages", "nothing_to_ask"}
    assert {sample.task for sample in samples} == {"grounding.box", "grounding.point"}
    assert {sample.source.traits["text_layer"] for sample in samples} == {"yes"}
    for sample in samples:
        assert sample.truth is not None
        assert grade_answer(sample.truth, sample.answer()).verdict == "correct"
    questions = ["".join(p.text for p in sample.parts() if isinstance(p, TextPart)) for sample in samples]
    assert any("paragraph that begins with" in question for question in questions)
    assert any("text line" in question for question in questions)


def test_pages_without_upright_text_are_dropped(context: StepContext) -> None:
    worker = GroundPages(DocumentObjectsEntry.model_validate(FIELDS), context)
    lines = tuple(word("text", y) for y in (20, 60, 100))
    (record,) = worker.process(Record("t", page(lines)), rng_for(0))
    assert [item.label for item in record.value.objects] == ["text line"] * 3
    unfit = {"no_upright_text": [page(lines, 90), page(lines, None)], "too_few_lines": [page(lines[:2])]}
    for reason, pages in unfit.items():
        for each in pages:
            with pytest.raises(Dropped, match=reason):
                list(worker.process(Record("t", each), rng_for(0)))


def test_a_line_that_reads_like_one_that_is_not_clear_is_not_asked_about(context: StepContext) -> None:
    worker = GroundPages(DocumentObjectsEntry.model_validate(FIELDS), context)
    words = (word("Contents", 20), word("Results", 60), word("Contents", 100), word("overlaps", 104))
    (record,) = worker.process(Record("t", page(words)), rng_for(0))
    assert [item.attributes["text"] for item in record.value.objects] == ["Results"]
    lines = [region.reason for region in record.value.ignored if region.label == "text line"]
    assert sorted(lines) == ["not_clear", "not_clear", "reads_alike"]


def test_texts_that_no_line_has_are_asked_for_where_they_are_like_none(context: StepContext) -> None:
    worker = GroundPages(DocumentObjectsEntry.model_validate(FIELDS), context)
    lines = [
        "The first line of this page says",
        "Nobody has ever read the second one",
        "A third and last line is here",
    ]
    record = Record("t", page(tuple(word(text, 20 + 40 * number) for number, text in enumerate(lines))))
    absent = {
        text
        for seed in range(9)
        for r in worker.process(record, rng_for(seed))
        for text in r.value.absent_texts["text line"]
    }
    assert "The first line the second one" in absent
    assert all(text[:5] in {line[:5] for line in lines} and text not in lines for text in absent)
