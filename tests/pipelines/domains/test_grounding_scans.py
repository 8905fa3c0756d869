"""Grounding on pages without text of their own: what two readings agree on, where its ink is, and its check."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont
from tests.pipelines.through_steps import relabelled, through_steps

from step3vl.data.sample import Box, BoxTruth, Sample, TextTruth, format_boxes
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import Unchecked
from step3vl.pipelines.documents.lines import around
from step3vl.pipelines.documents.scans import ink_box, scan_words
from step3vl.pipelines.documents.two_readings import Readings
from step3vl.pipelines.domains.grounding_check import CheckObjects
from step3vl.pipelines.domains.grounding_documents import DOMAIN, DocumentObjectsEntry
from step3vl.pipelines.models.ocr import OcrLine
from step3vl.pipelines.sources.documents.pdf_text import UNNAMED

SIZE = (860, 560)
LINES = {
    "On the habits of the common otter": (60, 40),
    "The otter is at home in rivers and lakes, where it": (60, 120),
    "hunts for fish by night and sleeps by day among the": (60, 152),
    "roots of old trees. Its fur keeps the water away, so": (60, 184),
    "that it never freezes.": (60, 216),
    "Printed in the year 1904 at the sign of the heron": (60, 480),
}
TWICE = ("See the plate on page seven", ((60, 320), (60, 400)))


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Box]]:
    """A page of text as an image, and where the ink of each line is that only one has."""
    image = PILImage.new("RGB", SIZE, (250, 248, 240))
    (file,) = StepContext(seed=0, base=".").assets(["assets:fonts/DejaVuSans.ttf"])
    font, canvas = ImageFont.truetype(str(file), 24), ImageDraw.Draw(image)
    boxes = {}
    for text, place in (*LINES.items(), *((TWICE[0], place) for place in TWICE[1])):
        canvas.text(place, text, (30, 30, 34), font)
        boxes[text] = Box(*canvas.textbbox(place, text, font), "pixels", SIZE)
    path = tmp_path_factory.mktemp("scan") / "page.png"
    image.save(path)
    return path, {text: boxes[text] for text in LINES}


@pytest.fixture(scope="module")
def built(scan: tuple[Path, dict[str, Box]]) -> tuple[list[Sample], CheckObjects]:
    path, _ = scan
    sources = [{"files": [path.name], "licence": "CC0-1.0"}]
    fields = {"domain": "grounding.documents", "name": "t", "sources": sources, "questions": 24}
    entry = DocumentObjectsEntry.model_validate(fields)
    context = StepContext(seed=0, base=str(path.parent))
    samples, lost = through_steps(DOMAIN, entry, context)
    assert not lost
    return samples, CheckObjects(entry, context)


@pytest.mark.slow
def test_lines_of_a_scan_have_the_boxes_of_their_ink(
    built: tuple[list[Sample], CheckObjects], scan: tuple[Path, dict[str, Box]]
) -> None:
    _, check = built
    image = check._image("page.png#1")
    lines = {item.attributes["text"]: image.box(item) for item in image.of_label("text line")}
    assert lines.keys() == scan[1].keys()
    for text, box in scan[1].items():
        assert lines[text].iou(box) > 0.9
    (paragraph,) = image.of_label("paragraph")
    assert paragraph.attributes["start"] == "The otter is at home"
    assert [region.reason for region in image.ignored if region.label == "text line"].count("not_clear") == 2


@pytest.mark.slow
def test_what_may_have_been_missed_is_not_counted(built: tuple[list[Sample], CheckObjects]) -> None:
    samples, _ = built
    tasks = {sample.task for sample in samples}
    assert {"grounding.box", "grounding.point", "grounding.absent", "grounding.description"} <= tasks
    assert not tasks & {
        "counting.objects",
        "counting.points",
        "grounding.boxes",
        "grounding.points",
        "grounding.detection",
    }
    assert {sample.source.traits["text_layer"] for sample in samples} == {"no"}
    assert not any(TWICE[0] in sample.model_dump_json() for sample in samples)


@pytest.mark.slow
def test_a_third_reading_confirms_right_labels_and_finds_wrong_ones(built: tuple[list[Sample], CheckObjects]) -> None:
    samples, check = built
    reasons = {}
    for sample in samples:
        try:
            reasons[sample.id] = check(sample)
        except Unchecked as unchecked:
            reasons[sample.id] = unchecked.reason
    assert set(reasons.values()) == {None}
    image = check._image("page.png#1")
    lines = [image.box(item) for item in image.of_label("text line")]
    cut = BoxTruth(boxes=(Box(lines[0].x1, lines[0].y1, 0.7 * lines[0].x2, lines[0].y2, "pixels", SIZE).milli(),))
    both = BoxTruth(boxes=(around(lines[1:3]).milli(),))
    scans = check._scans
    assert scans.reason(image.image, cut, lines, ()) == "another_extent"
    assert scans.reason(image.image, both, lines, ()) is None
    assert scans.reason(image.image, both, [Box(*both.boxes[0], "milli", SIZE)], ()) == "several_lines"
    assert scans.reason(image.image, TextTruth(text="none"), (), ["sleeps by day among the"]) == "is_there"
    with pytest.raises(Unchecked, match="not_read"):
        scans.reason(image.image, BoxTruth(boxes=((700, 20, 900, 60),)), lines, ())
    located = next(s for s in samples if s.task == "grounding.box" and isinstance(s.truth, BoxTruth))
    assert check(relabelled(located, cut, format_boxes([Box(*cut.boxes[0], "milli", SIZE)]))) == "another_box"


def _line(text: str, y: float, score: float = 0.99, x: float = 10) -> OcrLine:
    return OcrLine(text=text, score=score, box=Box(x, y, x + 150, y + 20, "pixels", (200, 200)))


def _page() -> PILImage.Image:
    image = PILImage.new("RGB", (200, 200), "white")
    for y in (10, 50, 90, 130):
        for x in range(14, 150, 8):  # strokes of letters that are high, and that are low
            top = y + 4 + x // 8 % 2 * 3
            ImageDraw.Draw(image).rectangle((x, top, x + 2, top + 8), fill="black")
    return image


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([_line("Main Street", 50)], [_line("Main Streel", 50)]),
        ([_line("Main Street", 50, score=0.5)], [_line("Main Street", 50)]),
        ([_line("Main Street", 50)], []),
        ([_line("Main Street", 50), _line("Main Street.", 90)], [_line("Main Street", 50), _line("Main Street.", 90)]),
    ],
    ids=["read differently", "not sure", "read once", "like another"],
)
def test_doubtful_lines_take_their_place_without_a_text(first: list[OcrLine], second: list[OcrLine]) -> None:
    sure = _line("A heading", 10)
    words = scan_words(_page(), Readings((sure, *first), (sure, *second)), 0.9)
    assert [word.text for word in words] == ["A heading", *([UNNAMED] * len(first))]


def test_a_line_of_the_second_reading_alone_is_there_too() -> None:
    sure, late = _line("A heading", 10), _line("Nearly missed", 90)
    words = scan_words(_page(), Readings((sure,), (sure, late)), 0.9)
    assert [word.text for word in words] == ["A heading", UNNAMED]


def test_a_line_in_two_pieces_is_doubtful() -> None:
    image = _page()
    ImageDraw.Draw(image).rectangle((60, 10, 100, 30), fill="white")  # a gap wider than the line is high
    sure = _line("1 Heading", 10)
    assert [word.text for word in scan_words(image, Readings((sure,), (sure,)), 0.9)] == [UNNAMED]


def test_text_on_its_side_has_no_lines() -> None:
    box = Box(10, 10, 30, 160, "pixels", (200, 200))
    line = OcrLine(text="Sideways text", score=0.99, box=box)
    assert scan_words(_page(), Readings((line,), (line,)), 0.9) == []


def test_the_box_of_ink_is_that_of_its_pixels() -> None:
    pixels = np.asarray(_page().convert("L"))
    box = ink_box(pixels, Box(10, 10, 160, 30, "pixels", (200, 200)))
    assert box is not None and (box.x1, box.y1, box.x2, box.y2) == (14, 14, 145, 26)
    assert ink_box(pixels, Box(160, 10, 190, 30, "pixels", (200, 200))) is None
