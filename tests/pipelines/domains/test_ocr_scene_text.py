import random
from pathlib import Path
from typing import Any

import pytest

from step3vl.data.sample import Box, Sample
from step3vl.data.storage import DEFAULT_STORE
from step3vl.grading import grade_answer
from step3vl.pipelines.core.assets import packaged_assets
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import FileSource
from step3vl.pipelines.core.inputs import list_pattern
from step3vl.pipelines.core.samples import encode_jpeg
from step3vl.pipelines.core.steps import Dropped, Record, rng_for
from step3vl.pipelines.documents.two_readings import agreed_lines
from step3vl.pipelines.domains.ocr_scene_text import (
    LabelPhotos,
    OpenPhotos,
    Photo,
    PhotoReader,
    ReadPhoto,
    SceneTextEntry,
    agreement,
    in_reading_order,
)
from step3vl.pipelines.models.ocr import OcrLine
from step3vl.pipelines.render.pages.sheet import Pen, Sheet
from step3vl.pipelines.render.pages.typefaces import TypefaceLibrary

SIZE = (400, 300)


def _line(text: str, x: float, y: float, score: float = 0.99, width: float = 100, height: float = 20) -> OcrLine:
    return OcrLine(text=text, score=score, box=Box(x, y, x + width, y + height, "pixels", SIZE))


def _entry(**options: Any) -> SceneTextEntry:
    source = FileSource(files=("data/samples/scans/*",), licence="public domain")
    return SceneTextEntry(domain="ocr.scene_text", name="t", sources=(source,), **options)


def _label(first: list[OcrLine], second: list[OcrLine], **options: Any) -> list[Sample]:
    image = encode_jpeg(Sheet(SIZE, (255, 255, 255)).rendered())
    worker = LabelPhotos(_entry(**options), StepContext(seed=0, base="/"))
    worker.setup()
    photo = ReadPhoto(image=image, licence="CC0-1.0", first=tuple(first), second=tuple(second))
    return list(worker.process(Record("p", photo), rng_for(0, len(first))))


@pytest.mark.parametrize(
    ("other", "agrees"),
    [
        (_line("Main Street", 12, 11), True),
        (_line("main street", 10, 10), False),
        (_line("MainStreet", 10, 10), False),
        (_line("Main Streel", 10, 10), False),
        (_line("Main Street", 10, 60), False),
        (_line("Main Street", 10, 10, score=0.5), False),
    ],
)
def test_a_line_is_kept_if_both_readings_have_it(other: OcrLine, agrees: bool) -> None:
    line = _line("Main Street", 10, 10)
    assert agreed_lines([line], [other], 0.85) == ([line] if agrees else [])


def test_small_print_is_not_agreed_on() -> None:
    lines = [_line("small", 10, 10, height=12), _line("large", 10, 50)]
    assert agreed_lines(lines, lines, 0.85, min_height=16) == lines[1:]


def test_agreement_counts_what_either_reading_has() -> None:
    lines = [_line("abcdef", 10, 10), _line("gh", 10, 50)]
    assert agreement(lines, lines, lines) == 1.0
    assert agreement(lines[:1], lines, lines) == 0.75
    assert agreement([], [], []) == 0.0


def test_lines_beside_each_other_are_read_from_the_left() -> None:
    lines = [_line("right", 200, 12), _line("below", 10, 50), _line("left", 10, 10)]
    ordered = in_reading_order(lines)
    assert ordered is not None and [line.text for line in ordered] == ["left", "right", "below"]


@pytest.mark.parametrize(
    "lines",
    [
        [_line("a1", 10, 10), _line("b1", 200, 12), _line("a2", 10, 40), _line("b2", 200, 42)],
        [_line("upright", 10, 10, width=20, height=120)],
    ],
)
def test_an_order_that_may_be_wrong_is_none(lines: list[OcrLine]) -> None:
    assert in_reading_order(lines) is None


def test_a_transcript_needs_readings_that_agree_on_all() -> None:
    lines = [_line("first line", 10, 10), _line("second line", 10, 50)]
    tasks = {"transcribe": 1.0}
    (sample,) = _label(lines, lines, tasks=tasks)
    assert sample.answer() == "first line\nsecond line" and sample.scores["ocr_agreement"] == 1.0
    with pytest.raises(Dropped) as dropped:
        _label(lines, [lines[0], _line("another one", 10, 50)], tasks=tasks)
    assert dropped.value.reason == "no_task_fits"


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ([], [], "no_text_found"),
        ([_line("abc", 1, 1)], [_line("xyz", 1, 1)], "readings_disagree"),
        ([_line("same", 1, 1), _line("same", 1, 80)], [_line("same", 1, 1), _line("same", 1, 80)], "no_task_fits"),
    ],
)
def test_an_image_without_a_sure_label_is_dropped(first: list[OcrLine], second: list[OcrLine], reason: str) -> None:
    with pytest.raises(Dropped) as dropped:
        _label(first, second, tasks={"locate": 1.0})
    assert dropped.value.reason == reason


def test_an_image_gives_different_questions() -> None:
    words = ("opening", "hours", "bakery", "street", "closed", "market")
    lines = [_line(word, 10, 10 + 40 * i) for i, word in enumerate(words)]
    samples = _label(lines, lines, questions=4, tasks={"region": 1.0, "locate": 1.0})
    assert len({sample.answer() for sample in samples}) == len(samples) > 1
    for sample in samples:
        assert sample.truth is not None and grade_answer(sample.truth, sample.answer()).verdict == "correct"


@pytest.mark.parametrize(
    ("options", "reason"), [({"sides": (5000, 6000)}, "too_small"), ({"sides": (10, 50)}, "too_large")]
)
def test_images_of_other_sizes_are_dropped(context: StepContext, options: dict[str, Any], reason: str) -> None:
    files = list_pattern("data/samples/scans/*.jpg", "x", entry="t", base=str(Path.cwd()), store=DEFAULT_STORE)
    file = next(iter(files))
    with pytest.raises(Dropped) as dropped:
        list(OpenPhotos(_entry(**options), context).process(Record(file.key, file), random.Random(0)))
    assert dropped.value.reason == reason


@pytest.mark.slow
def test_the_real_reader_labels_a_page_whose_text_is_known() -> None:
    sheet = Sheet((640, 320), (255, 255, 255))
    font = packaged_assets("assets:fonts/DejaVuSans.ttf")["assets:fonts/DejaVuSans.ttf"]
    pen = Pen(TypefaceLibrary([font]).faces[0], 36, (0, 0, 0))
    texts = ["Opening hours", "Monday to Friday", "closed on holidays"]
    for number, text in enumerate(texts):
        sheet.write(sheet.block("part"), text, pen, 40, 80 + 90 * number)
    image = encode_jpeg(sheet.rendered())
    entry = _entry(tasks={"transcribe": 1.0})
    (photo,) = PhotoReader(entry)([Photo(image=image, licence="CC0-1.0")])
    (sample,) = LabelPhotos(entry, StepContext(seed=0, base="/")).process(Record("p", photo), rng_for(0, 0))
    assert sample.answer().split("\n") == texts
    for line, box in zip(photo.first, (line.box for line in sheet.lines()), strict=True):
        assert line.box.iou(Box(*box, "pixels", (image.width, image.height))) > 0.5
