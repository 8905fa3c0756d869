"""The label check of screens: by PaddleOCR, by the outline of boxes, and by what differs between two screens."""

from typing import Any

import pytest
from PIL import Image as PILImage
from PIL import ImageDraw, ImageOps

from step3vl.data.sample import Box, BoxTruth, OptionTruth, Sample, Source, TranscriptTruth, format_boxes
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import Unchecked
from step3vl.pipelines.core.samples import compose, encode_jpeg
from step3vl.pipelines.domains.gui import DOMAIN
from step3vl.pipelines.domains.gui_annotated import DOMAIN as ANNOTATED
from step3vl.pipelines.domains.gui_annotated import AnnotatedGuiEntry
from step3vl.pipelines.domains.gui_check import CheckScreens
from step3vl.pipelines.domains.gui_entry import GuiEntry
from step3vl.pipelines.render.fonts import load_families

pytestmark = pytest.mark.slow
HERE, ELSEWHERE = (100, 150, 900, 400), (100, 650, 900, 900)


@pytest.fixture(scope="module")
def check() -> CheckScreens:
    return CheckScreens(GuiEntry.model_validate({"domain": "gui", "name": "t", **DOMAIN.example}), StepContext(0, "."))


@pytest.fixture
def screen(context: StepContext) -> PILImage.Image:
    """`Save the report` at `HERE`, `Weather tomorrow` at `ELSEWHERE`."""
    font = load_families(context.assets(["assets:fonts/Roboto*.ttf"]))[0].regular.at(24)
    image = PILImage.new("RGB", (300, 160), "white")
    canvas = ImageDraw.Draw(image)
    canvas.text((40, 30), "Save the report", "black", font)
    canvas.text((40, 110), "Weather tomorrow", "black", font)
    return image


def sample_of(screen: PILImage.Image, task: str, question: str, answer: str, truth: Any, style: str = "") -> Sample:
    return compose(
        kind="conversation", domain="gui", task=task, question=question, answer=answer, truth=truth,
        images=[encode_jpeg(screen, 95)],
        source=Source(uri="t", licence="CC0-1.0", collected_by="step3vl/t", traits={"phrase": style} if style else {}),
    )  # fmt: skip


def boxed(screen: PILImage.Image, box: tuple[int, int, int, int], task: str, style: str) -> Sample:
    question = "Give the box of the button that says “Save the report”."
    answer = format_boxes([Box(*box, "milli", screen.size)])
    return sample_of(screen, task, question, answer, BoxTruth(boxes=(box,)), style)


def test_a_text_is_looked_for_in_its_box(check: CheckScreens, screen: PILImage.Image) -> None:
    assert check(boxed(screen, HERE, "gui.ocr.place", "")) is None
    assert check(boxed(screen, ELSEWHERE, "gui.grounding.box", "text")) == "text_not_in_place"


def test_a_box_that_tells_no_text_must_follow_what_is_seen(check: CheckScreens, screen: PILImage.Image) -> None:
    assert check(boxed(screen, ELSEWHERE, "gui.grounding.box", "name")) is None  # an icon's name stands nowhere
    assert check(boxed(screen, HERE, "gui.grounding.box", "position")) is None
    cut = (250, 250, 700, 700)
    assert check(boxed(screen, cut, "gui.grounding.box", "position")) == "box_cuts_through"
    with pytest.raises(Unchecked, match="told_by_other_means"):  # of other sets, boxes may be loose
        entry = AnnotatedGuiEntry.model_validate({"domain": "gui.annotated", "name": "t", **ANNOTATED.example})
        CheckScreens(entry, StepContext(0, "."))(boxed(screen, cut, "gui.grounding.box", "position"))


def happened(before: PILImage.Image, after: PILImage.Image, right: int, options: tuple[str, ...]) -> Sample:
    """A question for the action between two screens."""
    labelled = tuple(f"{letter}. {option}" for letter, option in zip("ABC", options, strict=False))
    return compose(
        kind="conversation", domain="gui", task="gui.knowledge.happened", question="What was done?",
        answer=labelled[right], truth=OptionTruth(option=labelled[right], options=labelled),
        images=[encode_jpeg(before, 95), encode_jpeg(after, 95)],
        source=Source(uri="t", licence="CC0-1.0", collected_by="step3vl/t"),
    )  # fmt: skip


def test_two_screens_differ_as_the_action_between_them_makes_them(check: CheckScreens, screen: PILImage.Image) -> None:
    long = PILImage.new("RGB", (300, 320), "white")
    long.paste(screen, (0, 0))
    long.paste(ImageOps.flip(screen), (0, 160))
    top, lower = long.crop((0, 0, 300, 160)), long.crop((0, 45, 300, 205))
    scrolls = ("scroll down", "scroll up", "type “red” into the text field “A”")
    assert check(happened(top, lower, 0, scrolls)) is None
    assert check(happened(top, lower, 1, scrolls)) == "another_change"
    assert check(happened(top, lower, 2, scrolls)) == "another_action"
    field = screen.copy()
    field.paste("white", (0, 100, 300, 160))
    typed = ("在输入框“Name”中输入“Weather tomorrow”", "点击按钮“Save”", "点击链接“Home”")
    assert check(happened(field, screen, 0, typed)) is None
    assert check(happened(field, screen, 2, typed)) == "another_action"
    with pytest.raises(Unchecked, match="told_by_other_means"):  # a click may lead to anything
        check(happened(top, lower, 0, ("click the tab “A”", "scroll down", "click the button “B”")))


def test_a_transcript_and_a_presence_are_read(check: CheckScreens, screen: PILImage.Image) -> None:
    read = "Save the report"
    assert check(sample_of(screen, "gui.ocr.text", f"Read {list(HERE)}.", read, TranscriptTruth(text=read))) is None
    no = OptionTruth(option="no", options=("yes", "no"))
    lie = sample_of(screen, "gui.grounding.exists", "Is there a link “Weather tomorrow”?", "no", no)
    assert check(lie) == "is_there"
