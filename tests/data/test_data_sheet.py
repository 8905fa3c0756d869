"""What is drawn into a sample's picture: the truth in red, the answer in green."""

import io

from PIL import Image as PILImage

from step3vl.data.action import Action
from step3vl.data.geometry import Box
from step3vl.data.sample import GuiStep, Image, Sample, Source, conversation, image, text, trajectory
from step3vl.data.sheet import contact_sheet, draw_truth
from step3vl.data.truth import ActionTruth, BoxTruth, format_boxes

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


def test_boxes_are_drawn_where_they_are() -> None:
    drawn = draw_truth(boxed())
    assert drawn.getpixel((20, 25)) == RED, "the left edge, at 100 of 1000 of 200 pixels"
    assert drawn.getpixel((100, 70)) == GREEN
    assert drawn.getpixel((50, 25)) == WHITE


def test_an_action_is_drawn_on_the_screen_that_it_is_done_on() -> None:
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
    drawn = draw_truth(sample)
    assert drawn.getpixel((100, 50)) == GREEN
    assert drawn.getpixel((80, 45)) == RED


def test_a_sheet_has_a_row_for_each_task_with_pictures() -> None:
    one = boxed()
    plain = Sample.make(domain="d", task="text.plain", source=SOURCE, content=(text("No picture."),))
    page = Sample.make(
        domain="d", task="ocr.page", source=SOURCE, content=(image(0), text("A page.")), images=(blank(),)
    )
    width, height = contact_sheet([one, one, plain]).size
    assert contact_sheet([one, one, plain, page]).size == (width, 2 * height)
