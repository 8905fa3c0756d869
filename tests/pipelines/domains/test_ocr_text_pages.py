import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from step3vl.data.errors import UserError
from step3vl.data.sample import BoxTruth, Sample, TranscriptTruth, parse_boxes
from step3vl.data.storage import DEFAULT_STORE
from step3vl.grading import grade_answer
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import FileSource
from step3vl.pipelines.core.inputs import InputFile, list_pattern
from step3vl.pipelines.core.steps import Dropped, Record, rng_for
from step3vl.pipelines.domains.ocr_text_pages import (
    LAYOUTS,
    CutSpans,
    Layout,
    RenderTextPages,
    SplitFiles,
    TextPagesEntry,
    TextPart,
    TextSpan,
)
from step3vl.pipelines.domains.text_page_check import CheckTextPages
from step3vl.pipelines.domains.text_page_questions import Language, Task, phrasings
from step3vl.pipelines.render.pages import typefaces
from step3vl.pipelines.sources.text.corpora import CorpusError

ENGLISH = (
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness. "
)


def _entry(**options: Any) -> TextPagesEntry:
    source = FileSource(files=("data/samples/texts/??.txt",), licence="public domain")
    small = {"width": (220, 320), "font_size": (12, 16), **options}
    return TextPagesEntry(domain="ocr.text_pages", name="t", sources=(source,), **small)


def _files() -> Iterator[InputFile]:
    yield from list_pattern(
        "data/samples/texts/??.txt", "public domain", entry="t", base=str(Path.cwd()), store=DEFAULT_STORE
    )


def _spans(entry: TextPagesEntry, context: StepContext) -> list[Record[TextSpan]]:
    parts: list[Record[TextPart]] = []
    for file in sorted(_files(), key=lambda file: file.key):
        parts += SplitFiles(entry, context).process(Record(file.key, file), rng_for(0, file.key))
    return [span for part in parts for span in CutSpans(entry, context).process(part, rng_for(0, part.key))]


def _render(worker: RenderTextPages, text: str, seed: int) -> list[Sample]:
    record = Record(f"t#{seed}", TextSpan(text=text, licence="public domain"))
    return list(worker.process(record, rng_for(0, seed)))


def test_a_line_that_cannot_be_read_costs_its_page_alone(context: StepContext, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(f'{{"text": "{ENGLISH}"}}\n{{"text": \n{{"text": "{ENGLISH}"}}\n')
    entry = _entry()
    (file,) = list_pattern(str(tmp_path / "a.jsonl"), "MIT", entry="t", base=context.base, store=DEFAULT_STORE)
    (part,) = SplitFiles(entry, context).process(Record(file.key, file), rng_for(0))
    spans = list(CutSpans(entry, context).process(part, rng_for(0)))
    assert [bool(span.value.problem) for span in spans].count(True) == 1 and len(spans) >= 3
    assert len({span.key for span in spans}) == len(spans)
    (broken,) = [span for span in spans if span.value.problem]
    with pytest.raises(CorpusError, match="no JSON"):
        list(RenderTextPages(entry, context).process(broken, rng_for(0)))


@pytest.fixture(scope="module")
def rendered() -> tuple[list[Sample], Counter[str]]:
    """Pages of the committed texts, and why others were dropped."""
    context = StepContext(seed=0, base=str(Path(__file__).parents[3]))
    entry = _entry(characters=(16, 500))
    worker = RenderTextPages(entry, context)
    worker.setup()
    samples: list[Sample] = []
    drops: Counter[str] = Counter()
    for span in _spans(entry, context):
        try:
            samples += worker.process(span, rng_for(0, span.key))
        except Dropped as dropped:
            drops[dropped.reason] += 1
    return samples, drops


def test_every_answer_is_correct_by_its_own_truth(rendered: tuple[list[Sample], Counter[str]]) -> None:
    samples, drops = rendered
    assert len(samples) > 60 and drops.total() < 0.25 * len(samples)
    for sample in samples:
        assert sample.truth is not None and grade_answer(sample.truth, sample.answer()).verdict == "correct"
        assert sample.source.licence == "public domain" and sample.scores["contrast"] >= 0.1
        if isinstance(sample.truth, BoxTruth):
            assert len(parse_boxes(sample.answer())) == 1


def test_pages_are_in_many_scripts_and_layouts(rendered: tuple[list[Sample], Counter[str]]) -> None:
    samples, _ = rendered
    scripts = {sample.source.traits["script"] for sample in samples}
    assert {"LATIN", "CYRILLIC", "CHINESE", "JAPANESE", "KOREAN", "ARABIC", "DEVANAGARI", "THAI"} <= scripts
    assert len({sample.source.traits["layout"] for sample in samples}) >= 10
    assert len({sample.task for sample in samples}) >= 3
    assert len({sample.images[0].sha256 for sample in samples}) == len(samples)


def test_each_record_takes_text_of_its_own(context: StepContext) -> None:
    spans = _spans(_entry(characters=(30, 200)), context)
    assert len({span.key for span in spans}) == len(spans)
    assert len({span.value.text for span in spans}) == len(spans) > 40


def test_a_share_of_the_spans_is_a_part_of_all(context: StepContext) -> None:
    every = _spans(_entry(), context)
    some = _spans(_entry(share=0.3), context)
    assert 0.15 * len(every) < len(some) < 0.5 * len(every)


def test_the_same_record_gives_the_same_bytes(context: StepContext) -> None:
    def ids() -> list[str]:
        worker = RenderTextPages(_entry(), context)
        worker.setup()
        return [sample.id for seed in range(6) for sample in _render(worker, ENGLISH * 2, seed)]

    assert ids() == ids()


@pytest.mark.parametrize("task", get_args(Task))
def test_a_task_asks_what_its_name_says(context: StepContext, task: Task) -> None:
    layouts: dict[Layout, float] = {"form": 1.0} if task == "field" else {"article": 1.0}
    worker = RenderTextPages(_entry(tasks={task: 1.0}, layouts=layouts, captures={"screenshot": 1.0}), context)
    worker.setup()
    story = "".join(f"It was day {i} of the best age, {i + 1} of wisdom and {i + 2} of the worst. " for i in range(9))
    (sample,) = _render(worker, story, 1)
    answer, question = sample.answer(), str(sample.messages[0].content[-1]) if sample.messages else ""
    if task == "transcribe":
        assert sample.task == "ocr.image_to_text" and answer.count("\n") > 3
        assert set(answer.split()) & {"best", "worst", "wisdom"}
    elif task == "region":
        assert sample.task == "ocr.region" and len(parse_boxes(question)) == 1
    elif task == "locate":
        assert sample.task == "ocr.locate" and "bbox_2d" in json.loads(answer)
    else:
        assert sample.task == "ocr.field" and "“" in question


@pytest.mark.parametrize(
    ("text", "options", "reason"),
    [
        ("ᚠᚢᚦᚨᚱᚲ ᚷᚹᚺᚾᛁᛃ", {}, "no_font_has_all_characters"),
        ("漢字" * 20, {"font_files": ("assets:fonts/Caveat.ttf",)}, "no_font_has_all_characters"),
        ("short text here", {"layouts": {"newspaper": 1.0}}, "no_layout_for_length"),
        ("a few words for a sign", {"layouts": {"sign": 1.0}, "min_contrast": 1.0}, "low_contrast"),
        ("plain words to set " * 6, {"tasks": {"field": 1.0}, "layouts": {"note": 1.0}}, "no_task_fits"),
    ],
)
def test_a_page_that_cannot_be_made_is_dropped_with_its_reason(
    context: StepContext, text: str, options: dict[str, Any], reason: str
) -> None:
    worker = RenderTextPages(_entry(**options), context)
    worker.setup()
    with pytest.raises(Dropped) as dropped:
        _render(worker, text, 0)
    assert dropped.value.reason == reason


def test_a_machine_that_cannot_shape_text_is_told_before_anything_runs(
    context: StepContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    _entry().check(context)
    monkeypatch.setattr(typefaces.features, "check", lambda name: False)
    with pytest.raises(UserError, match="libfribidi0"):
        _entry().check(context)


@pytest.mark.parametrize("language", get_args(Language))
@pytest.mark.parametrize("task", get_args(Task))
def test_a_task_has_fifty_phrasings_with_the_places_that_it_fills(task: Task, language: Language) -> None:
    sentences = phrasings(task, language)
    assert len(set(sentences)) == len(sentences) >= 50
    place = {"transcribe": "", "region": "{box}", "locate": "{text}", "field": "{label}"}[task]
    for sentence in sentences:
        assert place in sentence and sentence.count("{") == bool(place)
        assert sentence[0].isupper() or language == "zh" or sentence[0] in "“{"
        assert sentence[-1] in ".?。？"


def test_every_layout_has_a_range_of_lengths() -> None:
    assert set(LAYOUTS) == set(get_args(Layout))
    assert all(low < high for _, (low, high) in LAYOUTS.values())


@pytest.mark.slow
def test_the_second_opinion_tells_right_labels_from_wrong(context: StepContext) -> None:
    check = CheckTextPages(_entry(), context)

    def sample(task: Task) -> Sample:
        options: dict[str, Any] = {"layouts": {"slide": 1.0}, "captures": {"screenshot": 1.0}, "width": (600, 600)}
        font = ("assets:fonts/RobotoSlab.ttf",)
        worker = RenderTextPages(_entry(tasks={task: 1.0}, font_files=font, languages=("en",), **options), context)
        worker.setup()
        return _render(worker, "Seven bridges cross the river. Every autumn ships sail northward again.", 3)[0]

    page, place = sample("transcribe"), sample("locate")
    assert check(page) is None and check(place) is None
    other = TranscriptTruth(text="Quite other words than those that anybody sees printed upon this very slide here")
    assert check(page.model_copy(update={"truth": other})) == "text_not_on_image"
    corner = BoxTruth(boxes=((600, 900, 990, 990),))
    assert check(place.model_copy(update={"truth": corner})) == "text_not_in_place"
