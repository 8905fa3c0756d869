"""What is typed into a field fits what the field is for."""

import random

import pytest
from tests.pipelines.gui.test_hindsight import element, screen

from step3vl.pipelines.gui.field_texts import text_for
from step3vl.pipelines.gui.screen import TextLine


def text(name: str, role: str = "textbox", **fields: str) -> str:
    line = TextLine(text="The (green) kettle, 12.50", box=(0, 0, 9, 9), element=0, whole=True)
    page = screen(("heading", "Shop")).model_copy(update={"lines": (line,)})
    field = element(0, role, name).model_copy(update=fields)
    return text_for(field, page, random.Random(0))


@pytest.mark.parametrize(
    ("name", "typical"),
    [("Your e-mail", "@"), ("Hour", ":"), ("Phone", "0"), ("手机", "0"), ("Website", "https://"), ("City", "i")],
)
def test_a_text_is_of_the_kind_that_the_field_asks_for(name: str, typical: str) -> None:
    assert typical in text(name)


def test_a_device_is_not_named_like_a_person() -> None:
    assert " " not in text("Device name") and " " in text("Full name")


def test_one_searches_for_words_of_the_screen() -> None:
    assert {text("Find", role) for role in ("searchbox", "textbox")} <= {"green", "kettle"}
    assert text("", hint="Search documentation ...") in ("green", "kettle")
