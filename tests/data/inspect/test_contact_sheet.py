"""Contact sheets: the truth in red, the answer in green."""

import io
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image as PILImage
from PIL import ImageFont

from step3vl.data.dataset.dataset import Dataset
from step3vl.data.inspect.contact_sheet import FONT, contact_sheet, render_truth, sheet_png
from step3vl.data.sample.action import Action
from step3vl.data.sample.answers import format_boxes
from step3vl.data.sample.conversations import GuiStep, conversation, trajectory
from step3vl.data.sample.geometry import Box
from step3vl.data.sample.parts import Image, image, text
from step3vl.data.sample.sample import Sample, Source
from step3vl.data.sample.truth import ActionTruth, BoxTruth

SOURCE = Source(uri="test:1", licence="CC0-1.0", collected_by="tests")

RED, GREEN, WHITE = (220, 0, 0), (0, 170, 0), (255, 255, 255)


def blank() -> Image:
    buffer = io.BytesIO()
    PILImage.new("RGB", (200, 100), "white").save(buffer, "PNG")
    return Image.from_bytes(buffer.getvalue())


def boxed() -> Sample:
    answer = format_boxes([Box(500, 500, 900, 900, "milli", (1000, 1000))], ["cat"])
    return Sample.make(
        domain="d",
        task="grounding.box",
        source=SOURCE,
        messages=conversation((image(0), text("Where?")), answer),
        images=(blank(),),
        truth=BoxTruth(boxes=((100, 100, 400, 400),), labels=("cat",)),
    )


def test_boxes_are_rendered_at_their_coordinates() -> None:
    rendered = render_truth(boxed())
    assert rendered.getpixel((20, 25)) == RED, "the left edge, at 100 of 1000 of 200 pixels"
    assert rendered.getpixel((100, 70)) == GREEN
    assert rendered.getpixel((50, 25)) == WHITE


def test_captions_have_every_chinese_character_that_our_domains_write() -> None:
    font = ImageFont.truetype(str(FONT), 11)
    sources = Path("pipelines").rglob("*.py")
    characters = {
        character for path in sources for character in path.read_text("utf-8") if "\u3400" <= character < "\u9fff"
    }
    missing = bytes(font.getmask("\ue000"))  # of no font
    assert len(characters) > 500
    assert [character for character in sorted(characters) if bytes(font.getmask(character)) == missing] == []


def test_action_is_rendered_on_its_screen() -> None:
    click = Action(action="click", point_2d=(500, 500))
    steps = [GuiStep(0, "", Action(action="wait")), GuiStep(1, "", click)]
    screens = (blank(), blank())
    sample = Sample.make(
        domain="gui",
        task="gui.trajectory",
        source=SOURCE,
        messages=trajectory("Go.", steps),
        images=screens,
        truth=ActionTruth(action=click, boxes=((400, 400, 600, 600),)),
    )
    rendered = render_truth(sample)
    assert rendered.getpixel((100, 50)) == GREEN
    assert rendered.getpixel((80, 45)) == RED


def test_sheet_has_a_row_for_each_task_with_images() -> None:
    sample = boxed()
    plain = Sample.make(domain="d", task="text.plain", source=SOURCE, content=(text("No image."),))
    page = Sample.make(
        domain="d", task="ocr.page", source=SOURCE, content=(image(0), text("A page.")), images=(blank(),)
    )
    width, height = contact_sheet([sample, sample, plain]).size
    silent = Sample.make(domain="d", task="ocr.silent", source=SOURCE, content=(image(0),), images=(blank(),))
    assert contact_sheet([sample, sample, plain, page, silent]).size == (width, 3 * height)


def test_captions_take_time_that_does_not_grow_with_the_text() -> None:
    page = Sample.make(
        domain="d",
        task="ocr.page",
        source=SOURCE,
        content=(image(0), text("All the text of a page. " * 40_000)),
        images=(blank(),),
    )
    turns = conversation((image(0), text("word " * 200_000)), "answer " * 150_000)
    dialogue = Sample.make(domain="d", task="ocr.turn", source=SOURCE, messages=turns, images=(blank(),))
    start = time.process_time()
    contact_sheet([page] * 6 + [dialogue] * 6)
    assert time.process_time() - start < 2, "cutting a character at a time took minutes"


def test_sheet_of_a_dataset_shows_every_task_and_source(tmp_path: Path, build_dataset: Callable[..., Dataset]) -> None:
    samples = []
    for number in range(60):
        task, folder = ("ocr.page", "scans") if number % 20 else ("ocr.rare", "rare")
        source = Source(uri=f"{folder}/{number}.png", licence="CC0-1.0", collected_by=f"tests/{folder}")
        content = (image(0), text(f"Page {number}."))
        samples.append(Sample.make(domain="d", task=task, source=source, content=content, images=(blank(),)))
    sheet = PILImage.open(io.BytesIO(sheet_png(build_dataset(tmp_path, samples))))
    assert sheet.size == (1200, 2 * 244)
    assert sheet.convert("L").crop((0, 0, 1200, 244)).getextrema()[0] < 100, "captions of ocr.page"
